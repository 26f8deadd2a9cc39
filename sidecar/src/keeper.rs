//! Keeps one grant: carries out what the protocol says ([`crate::grant::replica`]) and tells it what happened. All
//! knowledge about what is right is there; here is only what it takes to act.

mod alone;
mod herald;
mod logins;
mod look;
mod once;

pub use herald::Herald;
pub use logins::Logins;
pub use once::Ended;

use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::names::STATE_SUFFIX;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::alone::Place;
use crate::clock::Clock;
use crate::grant::answer::{Answer, Reply};
use crate::grant::document::{Document, Token};
use crate::grant::login::Login;
use crate::grant::news::news;
use crate::grant::replica::{Effect, Event, Moment, Replica, Report, Settings, WriteError};
use crate::grant::rules::{Rules, Timing};
use crate::grant::spread::drawn;
use crate::identity::wallet::{Standing, Wallet};
use crate::lifecycle::Phase;
use crate::metrics::Metrics;
use crate::object_name::ObjectName;
use crate::outcome::{Cause, Outcome, Reason};
use crate::present::connect::{Connection, Connector};
use crate::present::request;
use crate::present::send::send;
use crate::random::random;
use crate::shelf::Shelf;
use crate::spool::{Slot, Spool};
use crate::store::{Object, STATE_KEY, Store, StoreError};

/// What all keepers of a process share.
#[derive(Clone)]
pub struct Tools<S> {
    /// Where the Secrets are.
    pub store: S,
    /// The cluster that they are in: SHA-256 of the keys of its CA.
    pub cluster: Option<String>,
    /// The way to token endpoints.
    pub connector: Connector,
    /// The time.
    pub clock: Clock,
    /// What outlives the process.
    pub spool: Arc<Spool>,
    /// The logins of this pod's grants.
    pub logins: Arc<Logins>,
    /// What tells people.
    pub herald: Herald,
    /// The protocol's times.
    pub timing: Timing,
    /// For a process that only keeps grants alive: when it ends at the latest.
    pub once: Option<Instant>,
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
    replica: Replica,
    slot: Slot,
    /// The state Secret as it was last read or written: what a write goes on top of.
    state: Option<Object<S::Version>>,
    /// What the grant Secret says, if it could be read when that was last tried.
    login: Option<Login>,
    /// Whether the next look is at both Secrets: also at the grant Secret, of which no change is known.
    whole: bool,
    /// Whether the last one was.
    saw_whole: bool,
    /// uid of the grant Secret, where the store has such a thing.
    grant_uid: Option<String>,
    place: Place,
    /// This replica, as claims name it.
    holder: String,
    connection: Option<Connection>,
    /// A presentation whose reply has not come yet.
    sending: Option<JoinHandle<Reply>>,
    started: Instant,
    /// The settings whose oddities were logged.
    noticed: String,
}

impl<S: Store> Keeper<S> {
    /// Keeps the grant of `shelf`, from where an earlier process of this pod left off.
    pub fn new(tools: Tools<S>, shelf: Arc<Shelf>) -> std::io::Result<Self> {
        let secret = &shelf.secret;
        let name = format!("{}{STATE_SUFFIX}", secret.name);
        let state_name = ObjectName { namespace: secret.namespace.clone(), name };
        let slot = tools.spool.slot(&shelf.name);
        let settings = Settings {
            pod: tools.spool.pod().to_owned(),
            process: format!("{:016x}", u64::from_be_bytes(random())),
            spread: drawn(u64::from_be_bytes(random())),
            rarely: tools.once.is_some(),
            timing: tools.timing,
            rules: Rules::PRODUCTION,
        };
        let holder = settings.holder();
        let replica = Replica::new(settings, slot.load()?);
        Ok(Self {
            tools,
            shelf,
            state_name,
            replica,
            slot,
            state: None,
            login: None,
            whole: true,
            saw_whole: false,
            grant_uid: None,
            place: Place::default(),
            holder,
            connection: None,
            sending: None,
            started: Instant::now(),
            noticed: String::new(),
        })
    }

    /// Runs until the pod goes away and nothing is under way; who only keeps the grant alive, until nothing is due.
    pub async fn run(mut self) -> Ended {
        let (grant_seen, mut grant_news) = watch::channel(None);
        let (state_seen, mut state_news) = watch::channel(None);
        let store = self.tools.store.clone();
        let (grant_name, state_name) = (self.shelf.secret.clone(), self.state_name.clone());
        let follow = async {
            tokio::join!(store.follow(&grant_name, grant_seen), store.follow(&state_name, state_seen));
        };
        let mut phase = self.tools.phase.clone();
        let mut identity = self.tools.store.wallet().map(Wallet::news);
        let (shelf, clock) = (self.shelf.clone(), self.tools.clock.clone());
        let work = async {
            let mut event = Event::Woke;
            loop {
                let moment = self.moment();
                self.hear(&moment);
                let effect = self.replica.step(event, &moment);
                self.publish();
                self.settle(&effect, moment.now);
                event = match effect {
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
                        let wait = self.at_most(wait.min(self.ask_again()));
                        tokio::select! {
                            () = clock.sleep(wait) => Event::Woke,
                            _ = grant_news.changed() => Event::Woke,
                            () = overtaken(&mut state_news, self.state.as_ref()) => {
                                self.whole = false;
                                Event::Woke
                            }
                            _ = phase.changed() => Event::Woke,
                            () = renewed(&mut identity) => Event::Woke,
                            () = shelf.refusals.news() => Event::Woke,
                            reply = replied(&mut self.sending) => Event::Replied(reply),
                        }
                    }
                    Effect::Read => {
                        self.whole |= grant_news.has_changed().unwrap_or(true);
                        grant_news.mark_unchanged();
                        state_news.mark_unchanged();
                        self.look_or_hear_the_reply().await
                    }
                    // A claim is decided on both Secrets as they are now; and where somebody else has gone first, their
                    // claim is read, in place of losing a race against it.
                    Effect::Connect(_) if !self.saw_whole || self.is_outdated(&state_news) => Event::Woke,
                    Effect::Connect(login) => Event::Connected(self.connect(&login).await),
                    Effect::Write(_) if self.replica.can_decide_anew() && self.is_outdated(&state_news) => {
                        Event::Written(Err(WriteError::Conflict))
                    }
                    Effect::Write(document) => Event::Written(self.write(&document).await),
                    // An own state ends with the process, and so does what is owed to it.
                    Effect::Spool(_) if self.place.alone => Event::Spooled(true),
                    Effect::Spool(record) => Event::Spooled(self.slot.put(&record).is_ok()),
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

    /// A look; but a reply that comes meanwhile is not kept waiting by a store that is slow: it is not spooled yet.
    async fn look_or_hear_the_reply(&mut self) -> Event {
        let (before, mut sending) = (self.state.clone(), self.sending.take());
        let event = tokio::select! {
            reply = replied(&mut sending) => Event::Replied(reply),
            seen = self.look() => Event::Read(Box::new(seen)),
        };
        if matches!(event, Event::Replied(_)) {
            // What only half a look has found is not what the replica goes on from.
            self.state = before;
        }
        self.sending = sending;
        event
    }

    /// Whether the state is known to have changed since it was last read or written.
    fn is_outdated(&self, news: &watch::Receiver<Option<S::Version>>) -> bool {
        news.has_changed().is_ok_and(|changed| changed) && differs(news, self.state.as_ref())
    }

    fn moment(&self) -> Moment {
        let reading = self.tools.clock.read();
        Moment {
            now: self.tools.clock.now(),
            monotonic: reading.monotonic,
            boot: reading.boot,
            wall: reading.wall,
            random: u128::from_be_bytes(random()),
            draining: self.tools.phase.borrow().is_leaving() || self.is_late(),
        }
    }

    async fn connect(&mut self, login: &Login) -> Result<(), Reason> {
        self.started = Instant::now();
        let grant = &login.grant;
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        let connection = self.tools.connector.connect(&grant.token_url, grant.allow_private, budget).await;
        connection.map(|connection| self.connection = Some(connection))
    }

    fn send(&mut self, login: &Login, token: &Token) -> Event {
        let (Some(connection), Ok(request)) = (self.connection.take(), request::build(&login.grant, token))
        else {
            return Event::Replied(Reply::NotSent(Reason::GrantInvalid));
        };
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        self.sending = Some(tokio::spawn(send(connection, request, budget)));
        Event::Sent
    }

    async fn write(&mut self, document: &Document) -> Result<(), WriteError> {
        if let Some(own) = self.place.own.as_mut().filter(|_| self.place.alone) {
            own.write(document);
            return Ok(());
        }
        let Some(state) = &self.state else { return Err(WriteError::Conflict) };
        match self.tools.store.write(&self.state_name, &state.version, document.to_json()).await {
            Ok(object) => {
                let before =
                    Document::parse(state.data.get(STATE_KEY).map(Vec::as_slice)).unwrap_or_default();
                self.tell(&before, document);
                self.state = Some(object);
                Ok(())
            }
            Err(StoreError::Conflict) => Err(WriteError::Conflict),
            Err(error) => {
                let trouble = self.store_trouble(&self.state_name, &error);
                Err(match error {
                    StoreError::Unavailable(_) => WriteError::Unclear(trouble),
                    StoreError::Unacceptable => WriteError::Unacceptable(trouble),
                    _ => WriteError::Refused(trouble),
                })
            }
        }
    }

    /// Passes on what the agent says about the access token that it has.
    fn hear(&mut self, moment: &Moment) {
        let access = self.known().access.as_ref();
        let refused = access.filter(|access| self.shelf.refusals.told_of(&access.fp));
        if let Some(access_fp) = refused.map(|access| access.fp.clone()) {
            self.replica.reject(access_fp, moment);
        }
    }

    /// Answers the requests that wait for another access token: with what came, or since nothing comes soon.
    fn settle(&self, effect: &Effect, now: Timestamp) {
        let replica = &self.replica;
        let (refusals, document) = (&self.shelf.refusals, self.known());
        let far = |until: &Timestamp| {
            Duration::try_from(until.duration_since(now)).is_ok_and(|wait| wait > refusals.patience())
        };
        let idle = matches!(effect, Effect::Wait(until) if replica.trouble().is_some() || far(until));
        // A claim is open: whoever made it is about to bring one.
        let nothing_comes = idle && !replica.is_busy() && document.claim.is_none();
        refusals.settle(document.access.as_ref().map_or("", |access| &access.fp), nothing_comes);
    }

    /// What this write has changed is told by this replica, and by no other.
    fn tell(&self, before: &Document, after: &Document) {
        let Tools { store, herald, clock, .. } = &self.tools;
        if let Some(news) = news(before, after, self.replica.login(), clock.now()) {
            herald.tell(store, &self.shelf.secret, self.grant_uid.clone(), &self.holder, news);
        }
    }

    /// Shows what is known, and counts what is over.
    fn publish(&mut self) {
        let replica = &self.replica;
        let (now, secret) = (self.tools.clock.now(), &self.shelf.secret);
        let outage = self.place.outage.as_ref().map(|(trouble, _)| trouble);
        let objection = || self.tools.store.wallet().and_then(Wallet::objection);
        let trouble = replica.trouble().or(outage).cloned().or_else(objection);
        self.shelf.put(self.known(), replica.login(), trouble, replica.has_read(), now);
        self.tools.metrics.unpersisted(secret, replica.owes_a_token());
        if let Some(report) = self.replica.take_report() {
            self.connection = None;
            self.count(&report);
        }
    }

    fn count(&self, Report { outcome, answer }: &Report) {
        let reason = match answer {
            Answer::Granted(_) if *outcome == Outcome::ScopeDenied => Some(Reason::ScopeDowngraded),
            Answer::Granted(_) => None,
            Answer::NotCommitted { reason, .. } => Some(*reason),
            Answer::InDoubt { .. } => Some(Reason::InDoubt),
            Answer::InvalidGrant => Some(Reason::InvalidGrant),
        };
        let cause = if let Answer::InDoubt { cause, .. } = answer { cause.as_str() } else { "" };
        let provider = self.shelf.provider().unwrap_or_default();
        self.tools.metrics.refreshed(&self.shelf.secret, provider, *outcome, reason, self.started.elapsed());
        let (outcome, reason) = (outcome.as_str(), reason.map_or("", Reason::as_str));
        tracing::info!(grant = %self.shelf.secret, provider, outcome, reason, cause, "refresh");
    }
}

/// Waits until the state is another than the one that was last read or written: what this replica wrote is no news to it.
async fn overtaken<V: PartialEq>(news: &mut watch::Receiver<Option<V>>, known: Option<&Object<V>>) {
    while news.changed().await.is_ok() && !differs(news, known) {}
}

fn differs<V: PartialEq>(news: &watch::Receiver<Option<V>>, known: Option<&Object<V>>) -> bool {
    news.borrow().as_ref() != known.map(|object| &object.version)
}

/// Waits for another token of the account that the store is asked as, or for why there is none.
async fn renewed(identity: &mut Option<watch::Receiver<Standing>>) {
    let Some(identity) = identity else { return std::future::pending().await };
    if identity.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The reply that is waited for; for ever where none is.
async fn replied(sending: &mut Option<JoinHandle<Reply>>) -> Reply {
    let Some(task) = sending else { return std::future::pending().await };
    let reply = task.await;
    *sending = None;
    reply.unwrap_or(Reply::Lost(Cause::Reset))
}
