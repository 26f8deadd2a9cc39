//! The world that the model explores: the store, the provider, and replicas, each the shipped machine with what it
//! wants to do next. Time stands still while anybody has something to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_creds_refresh::document::Document;
use agent_creds_refresh::replica::{Effect, Input, Moment, Record, Replica, Settings, Uncommitted};
use jiff::Timestamp;

use super::provider::Provider;

/// Start of the model's time.
pub(crate) const EPOCH: i64 = 1_800_000_000_000;

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) document: Arc<Document>,
    pub(crate) version: u32,
    /// The last document before the latest rotation: what a restored backup would bring.
    pub(crate) backup: Option<Arc<Document>>,
    /// Which login the grant Secret holds.
    pub(crate) login: usize,
    /// Access tokens that were ever stored.
    pub(crate) accesses: BTreeSet<String>,
}

/// One replica, and the process and pod around it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Actor {
    pub(crate) index: u8,
    pub(crate) incarnation: u8,
    /// By how many milliseconds its idea of the API server's time is ahead.
    pub(crate) skew: i64,
    pub(crate) replica: Replica,
    pub(crate) effect: Effect,
    pub(crate) spool: Option<Record>,
    /// Version that its next write goes on top of, and what it saw at its last look: that, and the login.
    pub(crate) seen: u32,
    pub(crate) looked: (u32, usize),
    /// Ended until then.
    pub(crate) down_until: Option<i64>,
    /// Stopped until then.
    pub(crate) frozen_until: Option<i64>,
    /// Without the store until then; and whether it has noticed.
    pub(crate) cut_until: Option<i64>,
    pub(crate) noticed_cut: bool,
    /// Since when it has run without a failed read.
    pub(crate) back_since: i64,
    /// When it was stopped or without the store last.
    pub(crate) away_until: i64,
    /// A reply that is on its way, or that is waited for in vain: when that ends, and what it says.
    pub(crate) reply: Option<(i64, Option<Said>)>,
    /// Its spool was lost with it.
    pub(crate) spool_lost: bool,
    /// Frozen between the last look at the clocks and the first byte.
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

/// What the predicates look at besides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Each presented token: when first, and from when a replay is licensed.
    pub(crate) presented: Vec<(String, i64, i64)>,
    /// The last presentation: token and time.
    pub(crate) last_send: Option<(String, i64)>,
    /// Children that a process has received and may not lose.
    pub(crate) received: Vec<(String, u8)>,
    /// Refresh tokens that the provider refused, by fingerprint.
    pub(crate) refused: Vec<String>,
    /// Whether the store was ever wiped or rolled back.
    pub(crate) rolled_back: bool,
    /// How far the lineage had come.
    pub(crate) peak: (u64, u64),
    /// Classes of what cannot be saved, that this trace belongs to; a bit each.
    pub(crate) classes: u8,
    /// Writes to the store.
    pub(crate) writes: u16,
    /// Whether any freeze was too long for two sends never to overlap.
    pub(crate) froze_long: bool,
}

/// The world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) store: Store,
    pub(crate) provider: Provider,
    pub(crate) actors: Vec<Arc<Actor>>,
    pub(crate) late: Vec<Late>,
    pub(crate) faults: u8,
    pub(crate) history: History,
    /// By how much two clocks differ at most.
    pub(crate) slack: i64,
    /// The first predicate that fell.
    pub(crate) broken: Option<&'static str>,
}

impl Actor {
    /// A process that has just started, with what is in its spool.
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

    /// Its clocks. What they show since it started is right.
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

    /// What it would have to tell the store.
    pub(crate) fn owed(&self) -> Option<&Uncommitted> {
        match (&self.effect, &self.spool) {
            (Effect::Spool(Record::Uncommitted(owed)), _) | (_, Some(Record::Uncommitted(owed))) => {
                Some(owed)
            }
            _ => None,
        }
    }

    /// When it would act by itself.
    pub(crate) fn wakes_at(&self, world: &World) -> i64 {
        if let Some(until) = self.down_until.or(self.frozen_until) {
            return until;
        }
        match (&self.effect, self.cut_until) {
            // Without the store it asks in vain until that is over; once is enough to explore.
            (Effect::Wait(_) | Effect::Read, Some(until)) if self.noticed_cut => until,
            (Effect::Wait(_), None) if self.looked != (world.store.version, world.store.login) => world.now,
            (Effect::Wait(until), _) => until.as_millisecond() - EPOCH - self.skew,
            _ => world.now,
        }
    }

    /// Whether it runs at all.
    pub(crate) fn is_up(&self) -> bool {
        self.down_until.is_none() && self.frozen_until.is_none()
    }

    /// Whether its next effect touches nobody else.
    pub(crate) fn is_private(&self) -> bool {
        matches!(self.effect, Effect::Wait(_) | Effect::Connect(_) | Effect::Spool(_))
    }

    /// Whether it can remember more than the store right now.
    pub(crate) fn is_live(&self) -> bool {
        self.down_until.is_none() && self.frozen_until.is_none() && self.cut_until.is_none()
    }
}
