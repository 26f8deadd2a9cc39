//! Access tokens that a provider's API refused: the request that tells of one wakes the keeper, and waits until there
//! is another token, or none is to be expected.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Of a token of which nothing comes, the keeper is not told again for so long: each time it reads both Secrets.
const QUIET: Duration = Duration::from_secs(1);

/// The requests of one grant that wait. There are at most as many as connections.
#[derive(Debug)]
pub struct Refusals {
    patience: Duration,
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    refusals: Vec<Refusal>,
    /// The last one of which nothing came, and when.
    in_vain: Option<(String, Instant)>,
}

#[derive(Debug)]
struct Refusal {
    access_fp: String,
    /// Whether the keeper knows of it.
    told: bool,
    /// Dropped as the answer.
    answer: oneshot::Sender<()>,
}

impl Refusals {
    /// Nobody waits yet, and nobody will for longer than `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, waiting: Mutex::default(), news: Notify::new() }
    }

    /// How long a request waits at most.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Tells the keeper that this access token was refused, and waits for what it makes of that.
    pub async fn settled(&self, access_fp: &str) {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            let in_vain = |(fp, at): &(String, Instant)| fp == access_fp && at.elapsed() < QUIET;
            if waiting.in_vain.as_ref().is_some_and(in_vain) {
                return;
            }
            waiting.refusals.retain(|refusal| !refusal.answer.is_closed());
            waiting.refusals.push(Refusal { access_fp: access_fp.to_owned(), told: false, answer });
        }
        self.news.notify_one();
        // Answered, given up by the keeper, or too late: the shelf tells which.
        let _ = tokio::time::timeout(self.patience, answered).await;
    }

    /// Waits until somebody tells of a refused token.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// For the keeper: whether this access token, which it serves, was refused since it last asked.
    pub fn told_of(&self, access_fp: &str) -> bool {
        let mut refused = false;
        for refusal in self.waiting().refusals.iter_mut().filter(|refusal| !refusal.told) {
            refusal.told = true;
            refused |= refusal.access_fp == access_fp;
        }
        refused
    }

    /// From the keeper: answers who waits for another token than `access_fp`, and, where nothing is to be expected
    /// for now, whoever it was told of.
    pub fn settle(&self, access_fp: &str, nothing_comes: bool) {
        let mut waiting = self.waiting();
        let in_vain = |refusal: &Refusal| nothing_comes && refusal.told && refusal.access_fp == access_fp;
        if waiting.refusals.iter().any(in_vain) {
            waiting.in_vain = Some((access_fp.to_owned(), Instant::now()));
        }
        waiting.refusals.retain(|refusal| {
            refusal.access_fp == access_fp && !in_vain(refusal) && !refusal.answer.is_closed()
        });
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    /// Whether a request that tells of `refused` is answered after `then`.
    async fn answered(refused: &str, then: impl FnOnce(&Refusals)) -> bool {
        let refusals = Refusals::new(Duration::from_secs(3600));
        let mut request = pin!(refusals.settled(refused));
        assert!((&mut request).now_or_never().is_none());
        then(&refusals);
        (&mut request).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_answered_by_another_token_or_by_none() {
        assert!(answered("a", |refusals| refusals.settle("b", false)).await, "another token");
        assert!(!answered("a", |refusals| refusals.settle("a", false)).await, "still on its way");
        let early = |refusals: &Refusals| refusals.settle("a", true);
        assert!(!answered("a", early).await, "decided before the keeper was told");
        let decided = |refusals: &Refusals| {
            assert!(refusals.told_of("a"));
            assert!(!refusals.told_of("a"), "told once");
            refusals.settle("a", true);
        };
        assert!(answered("a", decided).await);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let refusals = Refusals::new(Duration::from_secs(15));
        refusals.settled("a").await;
        refusals.settle("a", false);
        assert!(refusals.waiting().refusals.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_in_a_loop_makes_the_keeper_look_once_a_second() {
        let refusals = Refusals::new(Duration::from_secs(15));
        let ask = |fp: &'static str| refusals.settled(fp).now_or_never().is_some();
        assert!(!ask("a"), "it waits for the keeper");
        assert!(refusals.told_of("a"));
        refusals.settle("a", true);
        for _ in 0..1000 {
            assert!(ask("a"), "answered as a moment ago");
        }
        assert!(!refusals.told_of("a"));
        assert!(!ask("b"), "another token is another question");
        tokio::time::advance(QUIET).await;
        assert!(!ask("a"));
        assert!(refusals.told_of("a"));
    }
}
