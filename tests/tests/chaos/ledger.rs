//! What all parts of a run write into, each what it saw.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_creds_tests::chaos::record::{Exchange, Fault, Life, Record, ServedExpired, Write, Written};
use agent_creds_tests::chaos::schedule::{Action, Spoilt};
use tokio::sync::broadcast;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("a time that fits")
}

/// The record of a run that goes on.
pub(crate) struct Ledger {
    record: Mutex<Record>,
    spoilt: Mutex<Vec<(Spoilt, usize)>>,
    claims: broadcast::Sender<usize>,
    /// The last claim that was taken.
    last_claim: Mutex<String>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let claims = broadcast::Sender::new(64);
        Self { record: Mutex::default(), spoilt: Mutex::default(), claims, last_claim: Mutex::default() }
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("nobody panics under the lock")
    }

    /// A write of the state went to the API server.
    pub(crate) fn wrote(&self, write: Write) {
        let claim = write.stored().and_then(|document| document.claim.as_ref()).map(|claim| claim.id.clone());
        if let (Some(claim), Some(sidecar)) = (claim, write.sidecar) {
            let mut last = self.last_claim.lock().expect("nobody panics under the lock");
            if *last != claim {
                *last = claim;
                // Nobody may be waiting for it.
                let _ = self.claims.send(sidecar);
            }
        }
        self.record().writes.push(write);
    }

    /// Who claims from now on.
    pub(crate) fn claims(&self) -> broadcast::Receiver<usize> {
        self.claims.subscribe()
    }

    /// One write is to be spoilt, after so many that are not.
    pub(crate) fn spoil(&self, how: Spoilt, after: usize) {
        self.spoilt.lock().expect("nobody panics under the lock").push((how, after));
    }

    /// No write is spoilt any more.
    pub(crate) fn stop_spoiling(&self) {
        self.spoilt.lock().expect("nobody panics under the lock").clear();
    }

    /// What is to become of the write that comes now.
    pub(crate) fn spoils_next(&self, sidecar: usize) -> Option<Spoilt> {
        let mut spoilt = self.spoilt.lock().expect("nobody panics under the lock");
        let due = spoilt.iter().position(|(_, after)| *after == 0);
        for (_, after) in spoilt.iter_mut() {
            *after = after.saturating_sub(1);
        }
        let (how, after) = spoilt.remove(due?);
        let at_ms = now_ms();
        self.went_wrong(Fault {
            from_ms: at_ms,
            to_ms: at_ms,
            action: Action::SpoilWrite { how, after },
            sidecar: Some(sidecar),
            spool: None,
        });
        Some(how)
    }

    pub(crate) fn went_wrong(&self, fault: Fault) {
        self.record().faults.push(fault);
    }

    pub(crate) fn lived(&self, life: Life) {
        self.record().lives.push(life);
    }

    pub(crate) fn logged_in(&self, login: Written) {
        self.record().logins.push(login);
    }

    pub(crate) fn exchanged(&self, exchange: Exchange) {
        self.record().exchanges.push(exchange);
    }

    pub(crate) fn served_expired(&self, served: ServedExpired) {
        self.record().served_expired.push(served);
    }
}
