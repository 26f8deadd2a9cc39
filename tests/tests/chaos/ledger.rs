//! Collects the observations of all parts of a run.

use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_creds_tests::chaos::record::{Exchange, Fault, Life, Record, ServedExpired, Write, Written};
use agent_creds_tests::chaos::schedule::{Action, Spoilt};
use tokio::sync::broadcast;

/// Returns the time in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("a time that fits")
}

/// The record of a running test.
pub(crate) struct Ledger {
    record: Mutex<Record>,
    spoilt: Mutex<Vec<(Spoilt, usize)>>,
    claims: broadcast::Sender<usize>,
    /// The id of the last accepted claim.
    last_claim: Mutex<String>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let claims = broadcast::Sender::new(64);
        Self { record: Mutex::default(), spoilt: Mutex::default(), claims, last_claim: Mutex::default() }
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panic under the lock")
    }

    /// Records a write of the state, and notifies about a new claim.
    pub(crate) fn record_write(&self, write: Write) {
        let claim = write.stored().and_then(|document| document.claim.as_ref()).map(|claim| claim.id.clone());
        if let (Some(claim), Some(sidecar)) = (claim, write.sidecar) {
            let mut last = self.last_claim.lock().expect("no panic under the lock");
            if *last != claim {
                *last = claim;
                // There may be no receiver.
                let _ = self.claims.send(sidecar);
            }
        }
        self.record().writes.push(write);
    }

    /// Subscribes to the sidecars that claim from now on.
    pub(crate) fn claims(&self) -> broadcast::Receiver<usize> {
        self.claims.subscribe()
    }

    /// Orders the failure of one write, after `after` successful ones.
    pub(crate) fn spoil(&self, how: Spoilt, after: usize) {
        self.spoilt.lock().expect("no panic under the lock").push((how, after));
    }

    /// Drops the ordered failures of writes.
    pub(crate) fn stop_spoiling(&self) {
        self.spoilt.lock().expect("no panic under the lock").clear();
    }

    /// Takes the failure for the next write, if one is due.
    pub(crate) fn spoils_next(&self, sidecar: usize) -> Option<Spoilt> {
        let mut spoilt = self.spoilt.lock().expect("no panic under the lock");
        let due = spoilt.iter().position(|(_, after)| *after == 0);
        for (_, after) in spoilt.iter_mut() {
            *after = after.saturating_sub(1);
        }
        let (how, after) = spoilt.remove(due?);
        let at_ms = now_ms();
        self.record_fault(Fault {
            from_ms: at_ms,
            to_ms: at_ms,
            action: Action::SpoilWrite { how, after },
            sidecar: Some(sidecar),
            spool: None,
        });
        Some(how)
    }

    pub(crate) fn record_fault(&self, fault: Fault) {
        self.record().faults.push(fault);
    }

    pub(crate) fn record_life(&self, life: Life) {
        self.record().lives.push(life);
    }

    pub(crate) fn record_login(&self, login: Written) {
        self.record().logins.push(login);
    }

    pub(crate) fn record_exchange(&self, exchange: Exchange) {
        self.record().exchanges.push(exchange);
    }

    pub(crate) fn record_served_expired(&self, served: ServedExpired) {
        self.record().served_expired.push(served);
    }
}
