//! Keeps one grant: reads its two Secrets, asks the machine what to do, does it, and waits for the next deadline or
//! change. All knowledge about what is right is in [`crate::grant`]; here is only what it takes to act.

mod exchange;

pub(crate) use exchange::random;

use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::grant::Grant;
use agent_creds_core::names::{PROVIDER_LABEL, STATE_LABEL};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::grant::document::Document;
use crate::grant::machine::{Login, Step, Timing, View, is_stale, next};
use crate::grant::status::Trouble;
use crate::lifecycle::Phase;
use crate::metrics::Metrics;
use crate::outcome::Reason;
use crate::present::connect::Connector;
use crate::shelf::Shelf;
use crate::store::{Object, ObjectName, STATE_KEY, Store, StoreError};

/// Both Secrets are read again at least so often, besides the watch.
const REREAD: SignedDuration = SignedDuration::from_mins(10);
/// Pause after a store that did not answer, or a Secret that a person has to mend.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// Longest pause between two writes that the store refuses.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// Pause after a lost race, so that what the winner wrote is there to be read.
const RACE: SignedDuration = SignedDuration::from_millis(200);

/// What all keepers of a process share.
#[derive(Clone)]
pub struct Tools<S> {
    /// Where the Secrets are.
    pub store: S,
    /// The way to token endpoints.
    pub connector: Connector,
    /// The time.
    pub clock: Clock,
    /// Pod uid and process nonce: who holds a claim.
    pub holder: String,
    /// The protocol's times.
    pub timing: Timing,
    /// Whether the pod is going away.
    pub phase: watch::Receiver<Phase>,
    /// What on-call sees.
    pub metrics: Metrics,
}

/// One grant's keeper.
pub struct Keeper<S: Store> {
    tools: Tools<S>,
    shelf: Arc<Shelf>,
    state_name: ObjectName,
    /// A claim, and since when it was read unchanged.
    watched_claim: Option<(String, Instant)>,
    /// A claim of ours that was perhaps written, and under which nothing was sent.
    unsent: Option<String>,
    /// The last document with a login in it: a second copy, should the state Secret be emptied.
    memory: Option<Document>,
    /// A write that the store refused, and until when no other is tried.
    blocked: Option<Blocked>,
    /// The settings whose oddities were logged.
    noticed: String,
}

struct Blocked {
    trouble: Trouble,
    pause: SignedDuration,
    until: Timestamp,
}

/// Both Secrets as they were just read.
struct Read<V> {
    login: Login,
    document: Document,
    state: Object<V>,
}

impl<S: Store> Keeper<S> {
    /// Keeps the grant of `shelf`.
    pub fn new(tools: Tools<S>, shelf: Arc<Shelf>) -> Self {
        let secret = &shelf.secret;
        let name = format!("{}{}", secret.name, agent_creds_core::names::STATE_SUFFIX);
        let state_name = ObjectName { namespace: secret.namespace.clone(), name };
        let (watched_claim, unsent, memory, blocked) = (None, None, None, None);
        Self { tools, shelf, state_name, watched_claim, unsent, memory, blocked, noticed: String::new() }
    }

    /// Runs until the pod goes away and nothing is under way.
    pub async fn run(mut self) {
        let (grant_seen, mut grant_news) = watch::channel(None);
        let (state_seen, mut state_news) = watch::channel(None);
        let store = self.tools.store.clone();
        let (grant_name, state_name) = (self.shelf.secret.clone(), self.state_name.clone());
        let follow = async {
            tokio::join!(store.follow(&grant_name, grant_seen), store.follow(&state_name, state_seen));
        };
        let mut phase = self.tools.phase.clone();
        let work = async {
            while *phase.borrow_and_update() != Phase::Stopping {
                grant_news.mark_unchanged();
                state_news.mark_unchanged();
                let wake = self.turn().await;
                let now = self.tools.clock.now();
                let wait = Duration::try_from(wake.min(now + REREAD).duration_since(now)).unwrap_or_default();
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = grant_news.changed() => {}
                    _ = state_news.changed() => {}
                    _ = phase.changed() => {}
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = work => {}
        }
    }

    /// Reads, decides, acts. Returns when to look again.
    async fn turn(&mut self) -> Timestamp {
        let read = match self.read().await {
            Ok(read) => read,
            Err(trouble) => {
                // An outage of the store is no silence of a claim's holder.
                self.watched_claim = None;
                self.shelf.trouble(trouble, self.now());
                return self.now() + PAUSE;
            }
        };
        if let Some(repaired) = self.repaired(&read.document) {
            return self.write(&read, &repaired).await;
        }
        self.notice(&read);
        let silent = self.silent_claim(&read.document);
        let now = self.now();
        let view = View {
            login: &read.login,
            document: &read.document,
            now,
            silent_claim: silent.as_deref(),
            spread: self.spread(),
            draining: self.tools.phase.borrow().is_leaving(),
            timing: self.tools.timing,
        };
        let step = next(&view);
        let blocked = self.blocked.as_ref();
        let trouble = match &step {
            Step::Refuse(reason) => Some(trouble(&self.shelf.secret, *reason, reason.sentence())),
            _ => blocked.map(|blocked| blocked.trouble.clone()),
        };
        let until = blocked.map(|blocked| blocked.until).filter(|until| *until > now);
        self.shelf.put(&read.document, Some(&read.login), trouble, now);
        match (step, until) {
            (Step::Wait(Some(at)), _) => at,
            (Step::Wait(None), _) if read.document.claim.is_some() => now + self.tools.timing.term,
            (Step::Wait(None) | Step::Refuse(_), _) => now + REREAD,
            (_, Some(until)) => until,
            (Step::Write(document), None) => self.write(&read, &document).await,
            (Step::Claim(attempt), None) => self.exchange(read, *attempt).await,
        }
    }

    /// What has to be written before anything is decided: a claim of ours is taken back under which nothing was sent,
    /// and a state that was emptied is filled again from memory.
    fn repaired(&mut self, document: &Document) -> Option<Document> {
        let claim = document.claim.as_ref();
        if self.unsent.is_some() && self.unsent.as_ref() == claim.map(|claim| &claim.id) {
            return Some(Document { claim: None, ..document.clone() });
        }
        if document.seed.is_some() {
            self.memory = Some(Document { claim: None, ..document.clone() });
            return None;
        }
        self.memory.clone()
    }

    /// Writes once. Who loses the race reads what the winner wrote. Returns when to look again.
    async fn write(&mut self, read: &Read<S::Version>, document: &Document) -> Timestamp {
        match self.tools.store.write(&self.state_name, &read.state.version, document.to_json()).await {
            Ok(_) => {
                self.blocked = None;
                self.shelf.put(document, Some(&read.login), None, self.now());
                self.now()
            }
            Err(StoreError::Conflict) => self.now() + RACE,
            Err(error) => self.block(&error),
        }
    }

    /// The store refused a write: no other is tried for a while, and no provider is bothered. Returns until when.
    fn block(&mut self, error: &StoreError) -> Timestamp {
        let trouble = store_trouble(&self.state_name, error);
        let pause = self.blocked.as_ref().map_or(PAUSE, |blocked| (blocked.pause * 2).min(LONGEST_PAUSE));
        let until = self.now() + pause;
        self.shelf.trouble(trouble.clone(), self.now());
        self.blocked = Some(Blocked { trouble, pause, until });
        until
    }

    /// Logs what is odd about the settings, once.
    fn notice(&mut self, read: &Read<S::Version>) {
        let Login { grant, token_fp, config_fp, .. } = &read.login;
        let settings = format!("{token_fp} {config_fp}");
        if self.noticed == settings {
            return;
        }
        self.noticed = settings;
        let secret = &self.shelf.secret;
        if is_stale(&read.document, &read.login) {
            tracing::warn!(grant = %secret, "{}", Reason::StaleSeed.sentence());
        }
        if !grant.unknown_scopes.is_empty() {
            let scopes = grant.unknown_scopes.join(" ");
            tracing::warn!(grant = %secret, scopes, "scopes that this version does not know; check their spelling");
        }
    }

    /// Both Secrets, or what stands in the way. What can be read is shown even when the other cannot.
    async fn read(&self) -> Result<Read<S::Version>, Trouble> {
        let state = self.read_state().await;
        let login = self.read_grant().await;
        let login = match (login, &state) {
            (Err(trouble), Ok((_, document))) => {
                self.shelf.put(document, None, Some(trouble.clone()), self.now());
                return Err(trouble);
            }
            (login, _) => login?,
        };
        let (state, document) = state?;
        Ok(Read { login, document, state })
    }

    async fn read_grant(&self) -> Result<Login, Trouble> {
        let name = &self.shelf.secret;
        let found = self.tools.store.read(name).await.map_err(|error| store_trouble(name, &error))?;
        let object =
            found.ok_or_else(|| trouble(name, Reason::GrantMissing, Reason::GrantMissing.sentence()))?;
        let provider = object.labels.get(PROVIDER_LABEL).map(String::as_str);
        let grant = Grant::read(provider, &object.data)
            .map_err(|error| trouble(name, Reason::GrantInvalid, &error.to_string()))?;
        Ok(Login::new(grant))
    }

    async fn read_state(&self) -> Result<(Object<S::Version>, Document), Trouble> {
        let name = &self.state_name;
        let found = self.tools.store.read(name).await.map_err(|error| store_trouble(name, &error))?;
        let object = found.ok_or_else(|| {
            let (secret, state) = (&self.shelf.secret.name, &name.name);
            let namespace = if name.namespace.is_empty() { "" } else { &format!(" -n {}", name.namespace) };
            let command = format!(
                "does not exist; run: kubectl create secret generic {state}{namespace} && \
                 kubectl label secret {state}{namespace} {STATE_LABEL}={secret}"
            );
            trouble(name, Reason::StateMissing, &command)
        })?;
        let label = object.labels.get(STATE_LABEL);
        if label != Some(&self.shelf.secret.name) {
            let problem = format!(
                "label {STATE_LABEL}: found {}; write {}",
                if label.is_some() { "another value" } else { "no such label" },
                self.shelf.secret.name
            );
            return Err(trouble(name, Reason::StateInvalid, &problem));
        }
        let document = Document::parse(object.data.get(STATE_KEY).map(Vec::as_slice)).map_err(|error| {
            let problem = format!("key {STATE_KEY}: {error}; restore it, or remove the key and log in again");
            trouble(name, Reason::StateInvalid, &problem)
        })?;
        Ok((object, document))
    }

    /// The id of the claim, once it was read unchanged for a whole term with no failed read in between.
    fn silent_claim(&mut self, document: &Document) -> Option<String> {
        let claim = document.claim.as_ref();
        let since = match (&self.watched_claim, claim) {
            (_, None) => {
                self.watched_claim = None;
                return None;
            }
            (Some((id, since)), Some(claim)) if *id == claim.id => *since,
            (_, Some(claim)) => {
                let since = Instant::now();
                self.watched_claim = Some((claim.id.clone(), since));
                since
            }
        };
        // A holder of another version may have said that it takes longer.
        let said = SignedDuration::from_secs(claim.map_or(0, |claim| claim.term_s.clamp(0, 3600)));
        let term = Duration::try_from(self.tools.timing.term.max(said)).unwrap_or_default();
        (since.elapsed() >= term).then(|| claim.map(|claim| claim.id.clone())).flatten()
    }

    fn now(&self) -> Timestamp {
        self.tools.clock.now()
    }

    /// This process' place in the spread, from its holder's fingerprint.
    fn spread(&self) -> f64 {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.tools.holder.as_bytes());
        let place = digest.as_ref().first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        f64::from(place) / f64::from(u32::MAX)
    }
}

fn trouble(name: &ObjectName, reason: Reason, problem: &str) -> Trouble {
    Trouble { reason, message: format!("Secret {name}: {problem}") }
}

fn store_trouble(name: &ObjectName, error: &StoreError) -> Trouble {
    match error {
        StoreError::Forbidden { .. } => {
            trouble(name, Reason::StoreForbidden, &format!("{error}; {}", Reason::StoreForbidden.sentence()))
        }
        StoreError::Malformed(_) => {
            let state = name.name.ends_with(agent_creds_core::names::STATE_SUFFIX);
            trouble(name, if state { Reason::StateInvalid } else { Reason::GrantInvalid }, &error.to_string())
        }
        _ => trouble(name, Reason::StoreUnavailable, &error.to_string()),
    }
}
