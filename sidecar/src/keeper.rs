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
        Self { tools, shelf, state_name, watched_claim: None }
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
        self.shelf.put(&read.document, Some(&read.login), None, self.now());
        let silent = self.silent_claim(&read.document);
        if is_stale(&read.document, &read.login) {
            tracing::warn!(grant = %self.shelf.secret, "{}", Reason::StaleSeed.sentence());
        }
        let view = View {
            login: &read.login,
            document: &read.document,
            now: self.now(),
            silent_claim: silent.as_deref(),
            spread: self.spread(),
            draining: self.tools.phase.borrow().is_leaving(),
            timing: self.tools.timing,
        };
        match next(&view) {
            Step::Wait(Some(at)) => at,
            Step::Wait(None) if read.document.claim.is_some() => self.now() + self.tools.timing.term,
            Step::Wait(None) => self.now() + REREAD,
            Step::Refuse(reason) => {
                self.refuse(&read, reason);
                self.now() + REREAD
            }
            Step::Write(document) => {
                // Who loses this race reads what the winner wrote.
                let written =
                    self.tools.store.write(&self.state_name, &read.state.version, document.to_json()).await;
                if written.is_ok() { self.now() } else { self.now() + SignedDuration::from_secs(1) }
            }
            Step::Claim(attempt) => self.exchange(read, *attempt).await,
        }
    }

    fn refuse(&self, read: &Read<S::Version>, reason: Reason) {
        let message = format!("Secret {}: {}", self.shelf.secret, reason.sentence());
        self.shelf.put(&read.document, Some(&read.login), Some(Trouble { reason, message }), self.now());
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
        let term = Duration::try_from(self.tools.timing.term).unwrap_or_default();
        (since.elapsed() >= term).then(|| claim.map(|claim| claim.id.clone())).flatten()
    }

    fn now(&self) -> Timestamp {
        self.tools.clock.now()
    }

    /// This process' place in the spread: the first byte of its holder's fingerprint.
    fn spread(&self) -> f64 {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.tools.holder.as_bytes());
        f64::from(digest.as_ref().first().copied().unwrap_or_default()) / 255.0
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
        StoreError::Malformed(_) => trouble(name, Reason::GrantInvalid, &error.to_string()),
        _ => trouble(name, Reason::StoreUnavailable, &error.to_string()),
    }
}
