//! The memory of all requests together. Each request is charged its bytes before its body is received, until its answer is written.
//! Small requests have a separate budget, so that large ones do not delay them. One address can have only a share of each budget.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Largest small request, in bytes.
pub const SMALL: u32 = 64 * 1024;
/// Smallest charge, in bytes: a usual pod and its patch.
const LEAST: u32 = 16 * 1024;

/// A budget of bytes.
#[derive(Debug)]
pub struct Budget {
    small: Pool,
    large: Pool,
}

/// Some of the bytes, and the share of each address in them.
#[derive(Debug)]
struct Pool {
    bytes: Arc<Semaphore>,
    share: u32,
    sources: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The charge of one request. Dropping it frees the bytes.
#[derive(Debug)]
pub struct Charge {
    bytes: usize,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Budget {
    /// Returns a budget of `small` bytes for small requests, a quarter of them for one address, and `large` bytes for others. Of those, one
    /// address can have `largest`, the size of the largest request.
    pub fn new(small: u32, large: u32, largest: u32) -> Self {
        Self { small: Pool::new(small, small / 4), large: Pool::new(large, largest) }
    }

    /// Waits until there is room for a request of this size from `source`.
    pub async fn charge(&self, source: IpAddr, bytes: u32) -> Charge {
        let bytes = bytes.max(LEAST);
        let pool = if bytes <= SMALL { &self.small } else { &self.large };
        let of_source = pool.of(source);
        let mut permits = Vec::with_capacity(2);
        // The share comes first: a request that waits for its share must not hold bytes of other addresses. The semaphores are never
        // closed, so acquiring cannot fail.
        for semaphore in [of_source, Arc::clone(&pool.bytes)] {
            permits.extend(semaphore.acquire_many_owned(bytes).await);
        }
        Charge { bytes: bytes as usize, permits }
    }

    /// Raises the charge to `bytes`. Returns false if there is no room now. It does not wait: the request would keep the memory that
    /// other requests wait for.
    pub fn extend(&self, charge: &mut Charge, source: IpAddr, bytes: usize) -> bool {
        let more = u32::try_from(bytes.saturating_sub(charge.bytes)).unwrap_or(u32::MAX);
        let semaphores = [self.large.of(source), Arc::clone(&self.large.bytes)];
        let taken: Option<Vec<_>> =
            semaphores.map(|it| it.try_acquire_many_owned(more).ok()).into_iter().collect();
        let Some(taken) = taken else { return false };
        charge.bytes = charge.bytes.max(bytes);
        charge.permits.extend(taken);
        true
    }
}

impl Pool {
    fn new(bytes: u32, share: u32) -> Self {
        Self { bytes: Arc::new(Semaphore::new(bytes as usize)), share, sources: Mutex::default() }
    }

    /// Returns the share of an address, and forgets addresses without requests.
    fn of(&self, source: IpAddr) -> Arc<Semaphore> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        // Permits, and requests that wait for one, hold the semaphore.
        sources.retain(|other, share| *other == source || Arc::strong_count(share) > 1);
        let share = sources.entry(source).or_insert_with(|| Arc::new(Semaphore::new(self.share as usize)));
        Arc::clone(share)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
    const MIB: u32 = 1024 * 1024;

    async fn room(budget: &Budget, source: IpAddr, bytes: u32) -> Option<Charge> {
        tokio::time::timeout(Duration::from_secs(1), budget.charge(source, bytes)).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_cannot_take_the_share_of_others() {
        let budget = Budget::new(MIB, 4 * MIB, 2 * MIB);
        let one = room(&budget, A, 2 * MIB).await.expect("its whole share");
        assert!(room(&budget, A, MIB).await.is_none());
        let other = room(&budget, B, 2 * MIB).await.expect("another address");
        assert!(room(&budget, C, MIB).await.is_none(), "all is taken");
        drop(one);
        assert!(room(&budget, C, MIB).await.is_some());
        assert!(room(&budget, A, MIB).await.is_some());
        drop(other);
        assert!(budget.large.sources.lock().unwrap().len() <= 2, "addresses without requests are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn small_requests_count_and_do_not_wait_for_large_ones() {
        let budget = Budget::new(16 * LEAST, MIB, MIB / 2);
        let large = [room(&budget, A, MIB / 2).await, room(&budget, B, MIB / 2).await];
        assert!(large.iter().all(Option::is_some));
        let mut small = Vec::new();
        for _ in 0..4 {
            small.push(room(&budget, A, 2).await.expect("each is charged the least charge"));
        }
        assert!(room(&budget, A, 2).await.is_none(), "they count");
        assert!(room(&budget, B, 2).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_answer_is_charged_or_refused_at_once() {
        let budget = Budget::new(MIB, MIB, MIB / 2);
        let mut charge = room(&budget, A, 2).await.expect("room");
        assert!(budget.extend(&mut charge, A, 100), "within what was charged");
        assert!(budget.extend(&mut charge, A, MIB as usize / 2));
        assert!(!budget.extend(&mut charge, A, MIB as usize));
        assert!(room(&budget, A, MIB / 2).await.is_none());
        drop(charge);
        assert!(room(&budget, A, MIB / 2).await.is_some());
    }
}
