//! The open connections of a listener. When there are too many, a new connection replaces the oldest one that has not completed a
//! request, or else the one that has been idle longest. Connections with an open request are never replaced.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The activity of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It has not completed a request.
    New,
    /// It has an open request.
    Busy,
    /// It has been idle since the given tick.
    Idle(u64),
}

/// The open connections of one listener.
#[derive(Clone)]
pub(super) struct Connections {
    most: usize,
    per_source: usize,
    open: Arc<Mutex<Open>>,
    /// Notified when a connection ends or becomes idle.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Open {
    /// Incremented for each connection and each change; orders them in time.
    tick: u64,
    /// By age: the key is the tick at which the connection was accepted.
    seats: BTreeMap<u64, Entry>,
}

struct Entry {
    source: Option<IpAddr>,
    activity: Activity,
    evicted: Arc<Notify>,
}

/// The seat of one open connection. Dropping it frees the seat.
pub(super) struct Seat {
    id: u64,
    source: Option<IpAddr>,
    evicted: Arc<Notify>,
    connections: Connections,
}

impl Connections {
    pub(super) fn new(most: usize, per_source: usize) -> Self {
        Self { most, per_source, open: Arc::default(), changed: Arc::default() }
    }

    /// Returns a seat for a connection from `source`. Waits while all connections have an open request. `None` if `source` has all
    /// connections that it can have, each with an open request.
    pub(super) async fn seat(&self, source: Option<IpAddr>) -> Option<Seat> {
        loop {
            let changed = self.changed.notified();
            {
                let mut open = self.open();
                let of_source = |entry: &Entry| source.is_some() && entry.source == source;
                let crowded = open.seats.values().filter(|entry| of_source(entry)).count() >= self.per_source;
                if crowded && !open.evict(of_source) {
                    return None;
                }
                if open.seats.len() < self.most || open.evict(|_| true) {
                    return Some(self.take(&mut open, source));
                }
            }
            changed.await;
        }
    }

    fn take(&self, open: &mut Open, source: Option<IpAddr>) -> Seat {
        let (id, evicted) = (open.next(), Arc::new(Notify::new()));
        open.seats.insert(id, Entry { source, activity: Activity::New, evicted: evicted.clone() });
        Seat { id, source, evicted, connections: self.clone() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn next(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// Closes one of the connections that `may` allows. Returns whether it found one.
    fn evict(&mut self, may: impl Fn(&Entry) -> bool) -> bool {
        let candidates = || self.seats.iter().filter(|(_, entry)| may(entry));
        let new = candidates().find(|(_, entry)| entry.activity == Activity::New).map(|(id, _)| *id);
        let idle = candidates().filter_map(|(id, entry)| match entry.activity {
            Activity::Idle(since) => Some((since, *id)),
            Activity::New | Activity::Busy => None,
        });
        let victim = new.or_else(|| idle.min().map(|(_, id)| id));
        let entry = victim.and_then(|id| self.seats.remove(&id));
        entry.map(|entry| entry.evicted.notify_one()).is_some()
    }
}

impl Seat {
    /// Returns a handle that is notified when this connection is replaced.
    pub(super) fn evicted(&self) -> Arc<Notify> {
        self.evicted.clone()
    }

    pub(super) fn source(&self) -> Option<IpAddr> {
        self.source
    }

    pub(super) fn busy(&self) {
        if let Some(entry) = self.connections.open().seats.get_mut(&self.id) {
            entry.activity = Activity::Busy;
        }
    }

    pub(super) fn idle(&self) {
        let mut open = self.connections.open();
        let now = open.next();
        if let Some(entry) = open.seats.get_mut(&self.id) {
            entry.activity = Activity::Idle(now);
        }
        drop(open);
        self.connections.changed.notify_one();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.open().seats.remove(&self.id);
        self.connections.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const A: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)));
    const B: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)));

    /// Returns a seat if one is free or can be freed now.
    fn seat(connections: &Connections, source: Option<IpAddr>) -> Option<Seat> {
        connections.seat(source).now_or_never().flatten()
    }

    fn is_evicted(seat: &Seat) -> bool {
        seat.evicted.notified().now_or_never().is_some()
    }

    #[test]
    fn replaces_the_oldest_connection_without_a_request() {
        let connections = Connections::new(3, 3);
        let [proven, silent, newer] = [A, B, B].map(|source| seat(&connections, source).unwrap());
        proven.busy();
        proven.idle();
        assert!(seat(&connections, A).is_some());
        assert!(is_evicted(&silent) && !is_evicted(&proven) && !is_evicted(&newer));
    }

    #[test]
    fn replaces_the_longest_idle_connection_and_none_with_an_open_request() {
        let connections = Connections::new(3, 3);
        let [first, second, busy] = [A, A, A].map(|source| seat(&connections, source).unwrap());
        [&first, &second, &busy].into_iter().for_each(Seat::busy);
        assert!(seat(&connections, B).is_none(), "waits");
        second.idle();
        first.idle();
        let mut next = Vec::new();
        next.extend(seat(&connections, B));
        assert!(is_evicted(&second) && !is_evicted(&first));
        next[0].busy();
        next.extend(seat(&connections, B));
        assert!(is_evicted(&first) && !is_evicted(&busy));
    }

    #[test]
    fn an_address_at_its_limit_replaces_its_own_connections_only() {
        let connections = Connections::new(10, 2);
        let other = seat(&connections, B).unwrap();
        let [first, second] = [A, A].map(|source| seat(&connections, source).unwrap());
        let third = seat(&connections, A).unwrap();
        assert!(is_evicted(&first) && !is_evicted(&second) && !is_evicted(&other));
        [&second, &third].into_iter().for_each(Seat::busy);
        assert!(seat(&connections, A).is_none(), "both have open requests");
        assert!(seat(&connections, B).is_some());
    }

    #[tokio::test]
    async fn a_connection_waits_until_another_ends() {
        let connections = Connections::new(1, 1);
        let first = seat(&connections, None).unwrap();
        first.busy();
        let mut waits = Box::pin(connections.seat(None));
        assert!((&mut waits).now_or_never().is_none());
        drop(first);
        assert!(waits.await.is_some());
    }
}
