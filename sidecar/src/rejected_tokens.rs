//! Access tokens that a provider's API rejected. A request that reports one wakes the refresher, and waits until there is another
//! token or none is to be expected.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// How long a token that was not replaced is not reported to the refresher again: for each report it reads both Secrets.
const QUIET: Duration = Duration::from_secs(1);

/// The waiting requests of one grant. There are at most as many as connections.
#[derive(Debug)]
pub struct RejectedTokens {
    patience: Duration,
    waiting: Mutex<Waiting>,
    reported: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    reports: Vec<Report>,
    /// The last token that was not replaced, and when it was reported.
    in_vain: Option<(String, Instant)>,
}

#[derive(Debug)]
struct Report {
    access_fp: String,
    /// Whether the refresher has taken it.
    taken: bool,
    /// Dropped to answer the request.
    answer: oneshot::Sender<()>,
}

impl RejectedTokens {
    /// No request waits yet; none will wait for longer than `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, waiting: Mutex::default(), reported: Notify::new() }
    }

    /// Longest time that a request waits.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Reports a rejected access token to the refresher and waits until it has been replaced, or is not going to be.
    pub async fn report(&self, access_fp: &str) {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            let in_vain = |(fp, at): &(String, Instant)| fp == access_fp && at.elapsed() < QUIET;
            if waiting.in_vain.as_ref().is_some_and(in_vain) {
                return;
            }
            waiting.reports.retain(|report| !report.answer.is_closed());
            waiting.reports.push(Report { access_fp: access_fp.to_owned(), taken: false, answer });
        }
        self.reported.notify_one();
        // The token cache tells which: replaced, not replaced, or too late.
        let _ = tokio::time::timeout(self.patience, answered).await;
    }

    /// Waits until a rejected token is reported.
    pub async fn reported(&self) {
        self.reported.notified().await;
    }

    /// For the refresher: takes the open reports. Returns whether one is about this access token.
    pub fn take(&self, access_fp: &str) -> bool {
        let mut rejected = false;
        for report in self.waiting().reports.iter_mut().filter(|report| !report.taken) {
            report.taken = true;
            rejected |= report.access_fp == access_fp;
        }
        rejected
    }

    /// For the refresher: answers the requests that wait for another token than `access_fp` and, where none is to be expected now,
    /// those whose reports it has taken.
    pub fn answer(&self, access_fp: &str, nothing_comes: bool) {
        let mut waiting = self.waiting();
        let in_vain = |report: &Report| nothing_comes && report.taken && report.access_fp == access_fp;
        if waiting.reports.iter().any(in_vain) {
            waiting.in_vain = Some((access_fp.to_owned(), Instant::now()));
        }
        waiting
            .reports
            .retain(|report| report.access_fp == access_fp && !in_vain(report) && !report.answer.is_closed());
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

    /// Whether a request that reports `rejected` is answered after `then`.
    async fn answered(rejected: &str, then: impl FnOnce(&RejectedTokens)) -> bool {
        let rejected_tokens = RejectedTokens::new(Duration::from_secs(3600));
        let mut request = pin!(rejected_tokens.report(rejected));
        assert!((&mut request).now_or_never().is_none());
        then(&rejected_tokens);
        (&mut request).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_another_token_or_for_none() {
        assert!(answered("a", |rejected_tokens| rejected_tokens.answer("b", false)).await, "another token");
        assert!(
            !answered("a", |rejected_tokens| rejected_tokens.answer("a", false)).await,
            "still on its way"
        );
        let early = |rejected_tokens: &RejectedTokens| rejected_tokens.answer("a", true);
        assert!(!answered("a", early).await, "answered before the report was taken");
        let decided = |rejected_tokens: &RejectedTokens| {
            assert!(rejected_tokens.take("a"));
            assert!(!rejected_tokens.take("a"), "taken once");
            rejected_tokens.answer("a", true);
        };
        assert!(answered("a", decided).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_request_waits_for_ever() {
        let rejected_tokens = RejectedTokens::new(Duration::from_secs(15));
        rejected_tokens.report("a").await;
        rejected_tokens.answer("a", false);
        assert!(rejected_tokens.waiting().reports.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_a_loop_reach_the_refresher_once_a_second() {
        let rejected_tokens = RejectedTokens::new(Duration::from_secs(15));
        let ask = |fp: &'static str| rejected_tokens.report(fp).now_or_never().is_some();
        assert!(!ask("a"), "it waits for the refresher");
        assert!(rejected_tokens.take("a"));
        rejected_tokens.answer("a", true);
        for _ in 0..1000 {
            assert!(ask("a"), "answered as a moment ago");
        }
        assert!(!rejected_tokens.take("a"));
        assert!(!ask("b"), "another token is another question");
        tokio::time::advance(QUIET).await;
        assert!(!ask("a"));
        assert!(rejected_tokens.take("a"));
    }
}
