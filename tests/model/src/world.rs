//! The state of the model: the store, the provider, and the replicas, each with the shipped state machine and its next
//! effect. Time passes only when no replica has anything to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_creds_refresh::document::Document;
use agent_creds_refresh::replica::{Effect, Input, Moment, Record, Replica, Settings, Uncommitted};
use jiff::Timestamp;

use super::provider::Provider;

/// Start of the model's time, in Unix milliseconds.
pub(crate) const EPOCH: i64 = 1_800_000_000_000;

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) document: Arc<Document>,
    pub(crate) version: u32,
    /// The last document before the latest rotation, for a restored backup.
    pub(crate) backup: Option<Arc<Document>>,
    /// Index of the login in the grant Secret.
    pub(crate) login: usize,
    /// Fingerprints of all access tokens that were ever stored.
    pub(crate) accesses: BTreeSet<String>,
}

/// One replica, with its process and pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Actor {
    pub(crate) index: u8,
    pub(crate) incarnation: u8,
    /// Offset of its clock from the API server's time, in milliseconds.
    pub(crate) skew: i64,
    pub(crate) replica: Replica,
    pub(crate) effect: Effect,
    pub(crate) spool: Option<Record>,
    /// Version that its next write is based on, and the version and login at its last look.
    pub(crate) seen: u32,
    pub(crate) looked: (u32, usize),
    /// Time at which the ended process starts again.
    pub(crate) down_until: Option<i64>,
    /// Time at which the frozen process continues.
    pub(crate) frozen_until: Option<i64>,
    /// Time at which the store is reachable again, and whether a request has failed since it was lost.
    pub(crate) cut_until: Option<i64>,
    pub(crate) noticed_cut: bool,
    /// Time since which no read has failed.
    pub(crate) back_since: i64,
    /// End of its last freeze or outage.
    pub(crate) away_until: i64,
    /// An open request: the time at which the wait ends, and the reply, if one will arrive.
    pub(crate) reply: Option<(i64, Option<Said>)>,
    /// Whether the spool was lost at the last crash.
    pub(crate) spool_lost: bool,
    /// Whether it was frozen between the last look at the clocks and the first byte.
    pub(crate) sends_late: bool,
}

/// Status and body of an answer.
pub(crate) type Said = (u16, String);

/// A request that arrives after its sender gave up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Late {
    pub(crate) at: i64,
    pub(crate) token: String,
}

/// What the predicates remember of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Each presented token, with the time of its first presentation and the time from which a replay is allowed.
    pub(crate) presented: Vec<(String, i64, i64)>,
    /// Token and time of the last presentation.
    pub(crate) last_send: Option<(String, i64)>,
    /// Fingerprints of refresh tokens that a process received, with the process.
    pub(crate) received: Vec<(String, u8)>,
    /// Fingerprints of refresh tokens that the provider refused.
    pub(crate) refused: Vec<String>,
    /// Whether the store was ever wiped or rolled back.
    pub(crate) rolled_back: bool,
    /// The greatest login number and generation so far.
    pub(crate) peak: (u64, u64),
    /// Bit set of the classes of loss that this trace belongs to.
    pub(crate) classes: u8,
    /// Number of writes to the store.
    pub(crate) writes: u16,
    /// Whether any freeze was long enough for two sends to overlap.
    pub(crate) froze_long: bool,
}

/// The state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) store: Store,
    pub(crate) provider: Provider,
    pub(crate) actors: Vec<Arc<Actor>>,
    pub(crate) late: Vec<Late>,
    pub(crate) faults: u8,
    pub(crate) history: History,
    /// Greatest difference between two clocks, in milliseconds.
    pub(crate) slack: i64,
    /// The first predicate that failed.
    pub(crate) broken: Option<&'static str>,
}

impl Actor {
    /// A process that has just started, with the content of its spool.
    pub(crate) fn start(
        settings: Settings,
        (index, incarnation): (u8, u8),
        skew: i64,
        spool: Option<Record>,
        now: i64,
    ) -> Self {
        let mut actor = Self {
            index,
            incarnation,
            skew,
            replica: Replica::new(settings, spool.clone()),
            effect: Effect::Read,
            spool,
            seen: 0,
            looked: (0, 0),
            down_until: None,
            frozen_until: None,
            cut_until: None,
            noticed_cut: false,
            back_since: now,
            away_until: now,
            reply: None,
            spool_lost: false,
            sends_late: false,
        };
        actor.effect = actor.replica.step(Input::Woke, &actor.moment(0, now));
        actor
    }

    /// Its clocks. The monotonic and the boot-time clock are exact.
    pub(crate) fn moment(&self, version: u32, now: i64) -> Moment {
        let since = std::time::Duration::from_millis(u64::try_from(now + 1_000_000).unwrap_or_default());
        let at = |skew: i64| Timestamp::from_millisecond(EPOCH + now + skew).unwrap_or_default();
        let jitter = u128::from(self.index) * 20_000;
        let unique = u128::from(version) << 64 | u128::from(now.unsigned_abs()) << 16;
        let who = u128::from(self.index) << 8 | u128::from(self.incarnation);
        let random = jitter << 112 | unique | who;
        Moment { now: at(self.skew), monotonic: since, boot: since, wall: at(0), random, draining: false }
    }

    /// The name of its pod.
    pub(crate) fn pod(&self) -> String {
        self.replica.settings().pod.clone()
    }

    /// The answer or presentation that is not yet in the store.
    pub(crate) fn owed(&self) -> Option<&Uncommitted> {
        match (&self.effect, &self.spool) {
            (Effect::Spool(Record::Uncommitted(owed)), _) | (_, Some(Record::Uncommitted(owed))) => {
                Some(owed)
            }
            _ => None,
        }
    }

    /// When it acts next.
    pub(crate) fn wakes_at(&self, world: &World) -> i64 {
        if let Some(until) = self.down_until.or(self.frozen_until) {
            return until;
        }
        match (&self.effect, self.cut_until) {
            // Without the store every read fails, so one failed read is explored.
            (Effect::Wait(_) | Effect::Read, Some(until)) if self.noticed_cut => until,
            (Effect::Wait(_), None) if self.looked != (world.store.version, world.store.login) => world.now,
            (Effect::Wait(until), _) => until.as_millisecond() - EPOCH - self.skew,
            _ => world.now,
        }
    }

    /// Whether the process runs.
    pub(crate) fn is_up(&self) -> bool {
        self.down_until.is_none() && self.frozen_until.is_none()
    }

    /// Whether its next effect is invisible to other replicas.
    pub(crate) fn is_private(&self) -> bool {
        matches!(self.effect, Effect::Wait(_) | Effect::Connect(_) | Effect::Spool(_))
    }

    /// Whether it runs and reaches the store.
    pub(crate) fn is_live(&self) -> bool {
        self.down_until.is_none() && self.frozen_until.is_none() && self.cut_until.is_none()
    }
}
