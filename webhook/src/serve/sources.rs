//! How many connections each address has open, so that one cannot take them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Open connections by address.
#[derive(Clone, Default)]
pub(super) struct Sources(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection; given up when it is dropped.
pub(super) struct Seat {
    sources: Sources,
    source: IpAddr,
}

impl Sources {
    /// A seat for `source`, unless it has `most` already.
    pub(super) fn seat(&self, source: IpAddr, most: usize) -> Option<Seat> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = open.entry(source).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        Some(Seat { sources: self.clone(), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = open.get_mut(&self.source) {
            *taken -= 1;
            if *taken == 0 {
                open.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_and_gives_them_back() {
        let (sources, one, other) =
            (Sources::default(), IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held = [sources.seat(one, 2), sources.seat(one, 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(sources.seat(one, 2).is_none());
        assert!(sources.seat(other, 2).is_some());
        drop(held);
        assert!(sources.seat(one, 2).is_some());
        assert!(sources.0.lock().unwrap().is_empty(), "nobody is remembered");
    }
}
