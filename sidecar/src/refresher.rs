//! Refreshes one grant: carries out the effects of the protocol ([`agent_creds_refresh::replica`]) and reports what happened. It
//! decides nothing about the protocol itself.

mod ended;
mod event_recorder;
mod exchange;
mod follow;
mod local_state;
mod location;
mod logins;
mod once;
mod read_secrets;
mod reply;
mod shared_clients;
mod spooled;

pub use ended::Ended;
pub use event_recorder::EventRecorder;
pub use logins::Logins;

use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::names::{ObjectName, STATE_SUFFIX};
use agent_creds_runtime::random;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::follow::follow;
use self::location::Location;
use self::reply::replied;
use crate::clock::Clock;
use crate::http_client::connect::{Connection, Connector};
use crate::identity::token_source::{Standing, TokenSource};
use crate::lifecycle::Phase;
use crate::metrics::Metrics;
use crate::spool::{Slot, Spool};
use crate::store::{Object, STATE_KEY, Store, StoreError};
use crate::token_cache::TokenCache;
use agent_creds_core::words::Word as _;
use agent_creds_refresh::answer::Answer;
use agent_creds_refresh::commit::Outcome;
use agent_creds_refresh::document::Document;
use agent_creds_refresh::event::event;
use agent_creds_refresh::login::Login;
use agent_creds_refresh::reason::{Outlook, Reason};
use agent_creds_refresh::replica::{Effect, Input, Moment, Replica, Report, Settings, WriteError};
use agent_creds_refresh::reply::Reply;
use agent_creds_refresh::safeguards::Safeguards;
use agent_creds_refresh::spread::drawn;
use agent_creds_refresh::timing::Timing;

/// What the refreshers of one process share.
#[derive(Clone)]
pub struct Tools<S> {
    /// Where the Secrets are.
    pub store: S,
    /// Fingerprint of the cluster that they are in.
    pub cluster: Option<String>,
    /// Connects to token endpoints.
    pub connector: Connector,
    /// The time.
    pub clock: Clock,
    /// The spool.
    pub spool: Arc<Spool>,
    /// The logins of this pod's grants.
    pub logins: Arc<Logins>,
    /// Writes Events.
    pub events: EventRecorder,
    /// The protocol's times.
    pub timing: Timing,
    /// In a process that only keeps grants alive: when it ends at the latest.
    pub once: Option<Instant>,
    /// Whether the process drains or stops.
    pub phase: watch::Receiver<Phase>,
    /// Metrics.
    pub metrics: Metrics,
}

/// The refresher of one grant.
pub struct Refresher<S: Store> {
    tools: Tools<S>,
    cache: Arc<TokenCache>,
    state_name: ObjectName,
    replica: Replica,
    slot: Slot,
    /// The state Secret as it was last read or written; the next write replaces this version.
    state: Option<Object<S::Version>>,
    /// The grant Secret, where the last attempt to read it succeeded.
    login: Option<Login>,
    /// Whether the next read is of both Secrets, also of the grant Secret without a known change.
    read_both: bool,
    /// Whether the last read was of both Secrets.
    has_read_both: bool,
    /// Whether the last read of both Secrets succeeded.
    readable: watch::Sender<bool>,
    /// uid of the grant Secret, where the store has uids.
    grant_uid: Option<String>,
    location: Location,
    /// The holder that this replica's claims name.
    holder: String,
    connection: Option<Connection>,
    /// The request whose reply is still to come.
    sending: Option<JoinHandle<Reply>>,
    started: Instant,
    /// The settings for which warnings were logged.
    warned: String,
    /// When the last answer was asked for that is in the spool and could not be read.
    unread_since: Option<Timestamp>,
}

impl<S: Store> Refresher<S> {
    /// A refresher for the grant of `cache`. It goes on where an earlier process of this pod stopped.
    ///
    /// # Errors
    /// Where the spool cannot be read.
    pub fn new(tools: Tools<S>, cache: Arc<TokenCache>) -> std::io::Result<Self> {
        let secret = &cache.secret;
        let name = format!("{}{STATE_SUFFIX}", secret.name);
        let state_name = ObjectName { namespace: secret.namespace.clone(), name };
        let slot = tools.spool.slot(&cache.name);
        let settings = Settings {
            pod: tools.spool.pod().to_owned(),
            process: format!("{:016x}", u64::from_be_bytes(random::bytes())),
            spread: drawn(u64::from_be_bytes(random::bytes())),
            keep_alive: tools.once.is_some(),
            timing: tools.timing,
            safeguards: Safeguards::ON,
        };
        let holder = settings.holder();
        let record = slot.load()?;
        let readable = slot.readable(record.as_ref());
        let mut replica = Replica::new(settings, record);
        readable.into_iter().for_each(|uncommitted| replica.resume(uncommitted));
        Ok(Self {
            unread_since: slot.unread().last_sent_at(),
            tools,
            cache,
            state_name,
            replica,
            slot,
            state: None,
            login: None,
            read_both: true,
            has_read_both: false,
            readable: watch::Sender::new(false),
            grant_uid: None,
            location: Location::default(),
            holder,
            connection: None,
            sending: None,
            started: Instant::now(),
            warned: String::new(),
        })
    }

    /// Runs until the process stops and nothing is under way; in a process that only keeps grants alive, until nothing is due.
    pub async fn run(mut self) -> Ended {
        let (grant_seen, mut grant_changes) = watch::channel(None);
        let (state_seen, mut state_changes) = watch::channel(None);
        let Tools { store, timing, metrics, .. } = self.tools.clone();
        let (grant_name, state_name) = (self.cache.secret.clone(), self.state_name.clone());
        let readable = self.readable.subscribe();
        let follow =
            |name, seen| follow(&store, &grant_name, name, seen, readable.clone(), &timing, &metrics);
        let follow = async {
            tokio::join!(follow(&grant_name, grant_seen), follow(&state_name, state_seen));
        };
        let mut phase = self.tools.phase.clone();
        let mut identity = self.tools.store.token_source().map(TokenSource::changes);
        let (cache, clock) = (self.cache.clone(), self.tools.clock.clone());
        let work = async {
            let mut input = Input::Woke;
            loop {
                let moment = self.moment();
                self.report_rejections(&moment);
                let effect = self.replica.step(input, &moment);
                self.publish();
                self.answer_rejections(&effect, moment.now);
                input = match effect {
                    Effect::Wait(_) if *phase.borrow() == Phase::Stopping && !self.replica.is_busy() => {
                        return;
                    }
                    Effect::Wait(until) => {
                        let from_now = |at: Timestamp| {
                            Duration::try_from(at.duration_since(moment.now)).unwrap_or_default()
                        };
                        let wait = from_now(until);
                        if self.is_through(from_now(self.replica.due().unwrap_or(until))) {
                            return;
                        }
                        let wait = self.at_most(wait.min(self.retry_interval()));
                        tokio::select! {
                            () = clock.sleep(wait) => Input::Woke,
                            _ = grant_changes.changed() => Input::Woke,
                            () = overtaken(&mut state_changes, self.state.as_ref()) => {
                                self.read_both = false;
                                Input::Woke
                            }
                            _ = phase.changed() => Input::Woke,
                            () = renewed(&mut identity) => Input::Woke,
                            () = cache.rejected_tokens.reported() => Input::Woke,
                            reply = replied(&mut self.sending) => Input::Replied(reply),
                        }
                    }
                    Effect::Read => {
                        self.read_both |= grant_changes.has_changed().unwrap_or(true);
                        grant_changes.mark_unchanged();
                        state_changes.mark_unchanged();
                        self.read_or_receive_the_reply().await
                    }
                    // A claim is decided on both Secrets as they are now. Where another replica has claimed meanwhile, its claim is
                    // read, instead of losing the race against it.
                    Effect::Connect(_) if !self.has_read_both || self.is_outdated(&state_changes) => {
                        Input::Woke
                    }
                    Effect::Connect(login) => Input::Connected(self.connect(&login).await),
                    Effect::Write(_)
                        if self.replica.can_decide_anew() && self.is_outdated(&state_changes) =>
                    {
                        Input::Written(Err(WriteError::Conflict))
                    }
                    Effect::Write(document) => Input::Written(self.write(&document).await),
                    Effect::Spool(record) => Input::Spooled(self.spool(&record)),
                    Effect::Send(login, token) => self.send(&login, &token),
                };
            }
        };
        tokio::select! {
            () = follow => {}
            () = work => {}
        }
        self.revoke().await;
        self.ended()
    }

    /// Reads the Secrets, or receives the reply that is still to come: it is not spooled yet, so it does not wait for a slow
    /// store.
    async fn read_or_receive_the_reply(&mut self) -> Input {
        let (before, mut sending) = (self.state.clone(), self.sending.take());
        let input = tokio::select! {
            reply = replied(&mut sending) => Input::Replied(reply),
            seen = self.read_secrets() => Input::Read(Box::new(seen)),
        };
        if matches!(input, Input::Replied(_)) {
            // The replica does not go on from a read that was interrupted.
            self.state = before;
        }
        self.sending = sending;
        input
    }

    /// Whether the state is known to have changed since it was last read or written.
    fn is_outdated(&self, changes: &watch::Receiver<Option<S::Version>>) -> bool {
        changes.has_changed().is_ok_and(|changed| changed) && differs(changes, self.state.as_ref())
    }

    fn moment(&self) -> Moment {
        let reading = self.tools.clock.read();
        Moment {
            now: self.tools.clock.now(),
            monotonic: reading.monotonic,
            boot: reading.boot,
            wall: reading.wall,
            random: u128::from_be_bytes(random::bytes()),
            draining: self.tools.phase.borrow().is_leaving() || self.is_late(),
        }
    }

    async fn write(&mut self, document: &Document) -> Result<(), WriteError> {
        if let Some(local) = self.location.local.as_mut().filter(|_| self.location.is_local) {
            local.write(document);
            return Ok(());
        }
        let Some(state) = &self.state else { return Err(WriteError::Conflict) };
        match self.tools.store.write(&self.state_name, &state.version, document.to_json()).await {
            Ok(object) => {
                let before =
                    Document::parse(state.data.get(STATE_KEY).map(Vec::as_slice)).unwrap_or_default();
                self.record_event(&before, document);
                self.state = Some(object);
                Ok(())
            }
            Err(StoreError::Conflict) => Err(WriteError::Conflict),
            Err(error) => {
                let condition = self.store_condition(&self.state_name, &error);
                Err(match error {
                    StoreError::Unavailable(_) => WriteError::Unclear(condition),
                    StoreError::Unacceptable => WriteError::Unacceptable(condition),
                    _ => WriteError::Refused(condition),
                })
            }
        }
    }

    /// Reports to the replica that a provider's API rejected the served access token.
    fn report_rejections(&mut self, moment: &Moment) {
        let access = self.known().access.as_ref();
        let rejected = access.filter(|access| self.cache.rejected_tokens.take(&access.fp));
        if let Some(access_fp) = rejected.map(|access| access.fp.clone()) {
            self.replica.reject(access_fp, moment);
        }
    }

    /// Answers the requests that wait for another access token, where there is one or none is to be expected soon.
    fn answer_rejections(&self, effect: &Effect, now: Timestamp) {
        let replica = &self.replica;
        let (rejected_tokens, document) = (&self.cache.rejected_tokens, self.known());
        let far = |until: &Timestamp| {
            Duration::try_from(until.duration_since(now)).is_ok_and(|wait| wait > rejected_tokens.patience())
        };
        let idle = matches!(effect, Effect::Wait(until) if replica.condition().is_some() || far(until));
        // An open claim is about to bring one.
        let nothing_comes = idle && !replica.is_busy() && document.claim.is_none();
        rejected_tokens.answer(document.access.as_ref().map_or("", |access| &access.fp), nothing_comes);
    }

    /// Records an Event for what the own write has changed.
    fn record_event(&self, before: &Document, after: &Document) {
        let Tools { store, events, clock, .. } = &self.tools;
        if let Some(event) = event(before, after, self.replica.login(), clock.now()) {
            events.record(store, &self.cache.secret, self.grant_uid.clone(), &self.holder, event);
        }
    }

    /// Publishes what may be served and counts a refresh that is over.
    fn publish(&mut self) {
        let replica = &self.replica;
        let (now, secret) = (self.tools.clock.now(), &self.cache.secret);
        let outage = self.location.outage.as_ref().map(|(condition, _)| condition);
        let objection = || self.tools.store.token_source().and_then(TokenSource::objection);
        let condition = replica.condition().or(outage).cloned().or_else(objection);
        self.cache.put(self.known(), replica.login(), condition, replica.has_read(), now);
        self.tools.metrics.unpersisted(secret, replica.has_uncommitted_token());
        self.forget_superseded();
        if let Some(report) = self.replica.take_report() {
            self.connection = None;
            self.count(&report);
        }
    }

    fn count(&self, Report { outcome, answer }: &Report) {
        let reason: Option<Reason> = match answer {
            Answer::Granted(_) => match outcome {
                Outcome::ScopeDenied => Some(Outlook::ScopeDowngraded.into()),
                Outcome::UnsupportedTokenType => Some(Outlook::UnsupportedTokenType.into()),
                _ => None,
            },
            Answer::NotSent(reason) => Some((*reason).into()),
            Answer::Refused { reason, .. } => Some((*reason).into()),
            Answer::InDoubt { cause, .. } => Some(cause.reason()),
            Answer::InvalidGrant => Some(Outlook::InvalidGrant.into()),
        };
        let cause = if let Answer::InDoubt { cause, .. } = answer { cause.as_str() } else { "" };
        let provider = self.cache.provider().unwrap_or_default();
        self.tools.metrics.refreshed(&self.cache.secret, provider, *outcome, reason, self.started.elapsed());
        let (outcome, reason) = (outcome.as_str(), reason.map_or("", |reason| reason.word));
        tracing::info!(grant = %self.cache.secret, provider, outcome, reason, cause, "refresh");
    }
}

/// Waits until the state differs from the one that was last read or written by this replica.
async fn overtaken<V: PartialEq>(changes: &mut watch::Receiver<Option<V>>, known: Option<&Object<V>>) {
    while changes.changed().await.is_ok() && !differs(changes, known) {}
}

fn differs<V: PartialEq>(changes: &watch::Receiver<Option<V>>, known: Option<&Object<V>>) -> bool {
    changes.borrow().as_ref() != known.map(|object| &object.version)
}

/// Waits for a new API token, or for a failure to renew it.
async fn renewed(identity: &mut Option<watch::Receiver<Standing>>) {
    let Some(identity) = identity else { return std::future::pending().await };
    if identity.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
