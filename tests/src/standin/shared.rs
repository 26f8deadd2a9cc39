//! The state that all connections and the test share: the endpoint, notices of new log entries, and held answers.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};

use super::answer::Reply;
use super::endpoint::Endpoint;
use super::request::Asked;

/// The shared state.
pub(super) struct Shared {
    endpoint: Mutex<Endpoint>,
    /// Notified after each log entry.
    written: watch::Sender<()>,
    /// A permit for each held answer that may be sent.
    released: Semaphore,
}

impl Shared {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint: Mutex::new(endpoint), written: watch::Sender::new(()), released: Semaphore::new(0) }
    }

    pub(super) fn endpoint(&self) -> MutexGuard<'_, Endpoint> {
        self.endpoint.lock().expect("no request ever panicked under the lock")
    }

    pub(super) fn written(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    pub(super) fn release(&self) {
        self.released.add_permits(1);
    }

    /// Waits until one held answer may be sent.
    pub(super) async fn released(&self) {
        // A client that disconnects before takes no permit.
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }

    pub(super) fn is_active(&self, access_token: &str) -> bool {
        let endpoint = self.endpoint();
        endpoint.families.is_active(access_token, wall_ms() + endpoint.ahead_ms)
    }

    pub(super) fn revoke(&self, refresh_token: &str) -> bool {
        let revoked = self.endpoint().revoke(refresh_token, wall_ms());
        self.written.send_replace(());
        revoked
    }

    pub(super) fn answer(&self, asked: &Asked) -> Reply {
        let reply = self.endpoint().answer(asked, wall_ms());
        self.written.send_replace(());
        reply
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("milliseconds fit for some 500 million years")
}
