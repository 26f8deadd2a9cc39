//! Follows a Secret: one watch after the other, with pauses between them that grow while watches fail.

use std::pin::pin;
use std::time::Duration;

use agent_creds_core::names::ObjectName;
use agent_creds_core::words::Word as _;
use agent_creds_refresh::timing::Timing;
use agent_creds_runtime::random;
use futures_util::{Stream, StreamExt as _};
use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::watch_failure::WatchFailure;

/// A watch that ends sooner without a version has failed.
const SHORTEST: Duration = Duration::from_secs(10);

/// The pauses between watches.
struct Pauses<'a> {
    timing: &'a Timing,
    /// Failures since the last watch that reported something.
    failures: u32,
}

impl Pauses<'_> {
    /// Returns the pause after a watch that ended after it had reported something.
    fn after_success(&mut self) -> Duration {
        self.failures = 0;
        self.drawn(self.timing.settle / 3)
    }

    /// Returns the pause after a watch that failed. It doubles with each failure in a row.
    ///
    /// While the API server does not answer, the pause stays below the settle delay: when the API server comes back with an
    /// older state, a replica with a newer copy has to read it before another replica claims on it. A refusal does not pass
    /// by itself, so its pause grows to minutes.
    fn after_failure(&mut self, failure: WatchFailure) -> Duration {
        let (first, longest) = match failure {
            WatchFailure::NoAnswer | WatchFailure::NoToken => (self.timing.settle / 3, self.timing.settle),
            WatchFailure::Forbidden | WatchFailure::Refused | WatchFailure::Ended => self.timing.backoff,
        };
        let doubled = first.checked_mul(1 << self.failures.min(16)).unwrap_or(longest);
        self.failures = self.failures.saturating_add(1);
        self.drawn(doubled.min(longest))
    }

    /// Half of a pause to all of it, so that replicas do not come together.
    fn drawn(&self, pause: SignedDuration) -> Duration {
        Duration::try_from(pause).unwrap_or_default().mul_f64(0.5 + random::fraction() / 2.0)
    }
}

/// Follows the Secret `name` of `grant` for ever and reports its versions. It counts failures, and logs the first of a series.
/// A pause ends when the Secrets become `readable`: then a missing right was granted, or the API server answers again.
pub(super) async fn follow<S: Store>(
    store: &S,
    grant: &ObjectName,
    name: &ObjectName,
    seen: watch::Sender<Option<S::Version>>,
    mut readable: watch::Receiver<bool>,
    timing: &Timing,
    metrics: &Metrics,
) {
    let mut pauses = Pauses { timing, failures: 0 };
    let mut last = None;
    loop {
        let failure = match store.watch(name).await {
            Ok(versions) => {
                let opened = Instant::now();
                let restored = || {
                    if last.take().is_some() {
                        tracing::info!(%grant, secret = %name, "watch restored");
                    }
                };
                // A Secret that does not exist has no versions to report.
                let worked = report(versions, &seen, restored).await || opened.elapsed() > SHORTEST;
                (!worked).then_some((WatchFailure::Ended, None))
            }
            Err(error) => Some((WatchFailure::from(&error), Some(error))),
        };
        let pause = match failure {
            None => pauses.after_success(),
            Some((failure, error)) => {
                metrics.watch_failed(grant, failure);
                let pause = pauses.after_failure(failure);
                if last.replace(failure) != Some(failure) {
                    let error = error.map_or_else(|| "ended at once".to_owned(), |error| error.to_string());
                    let reason = failure.as_str();
                    tracing::warn!(%grant, secret = %name, reason, error, retry_in = ?pause, "watch failed");
                }
                pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = became(&mut readable) => {}
        }
    }
}

/// Waits until the value becomes true.
async fn became(readable: &mut watch::Receiver<bool>) {
    while readable.changed().await.is_ok() {
        if *readable.borrow_and_update() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Passes the versions on until the watch ends. Returns whether there was one.
async fn report<V: Clone + PartialEq>(
    versions: impl Stream<Item = Option<V>>,
    seen: &watch::Sender<Option<V>>,
    mut first: impl FnMut(),
) -> bool {
    let mut versions = pin!(versions);
    let mut reported = false;
    while let Some(version) = versions.next().await {
        if !std::mem::replace(&mut reported, true) {
            first();
        }
        seen.send_if_modified(|old| {
            let changed = *old != version;
            *old = version;
            changed
        });
    }
    reported
}

#[cfg(test)]
mod tests;
