//! Rotation of the seal keys: Secret `agent-creds-seal`, keys `current` and `previous`. `current` seals, both verify.
//!
//! A person asks for a rotation. It has two steps, since admission and the identity server mount the Secret and learn of a change up to
//! two minutes later: a new key is known before anything is sealed with it. The replaced key stays as `previous`; the first step
//! removes the one before it, and so withdraws its seals. A key that a person removes stays removed: without `previous` nothing is
//! missing, and in place of `current` a new key is created.

use std::time::Duration;

use super::certificate_set::Data;
use super::request::{ASK, DONE, UNDERWAY};
use super::timing::Timing;

/// Length of a key in bytes.
pub const LENGTH: usize = 32;
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";

/// Data and annotations of the Secret. Not `Debug`: it holds keys.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    /// Its data.
    pub data: Data,
    /// Its annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Nothing, since an entry is no key: a person has to correct it.
    Refuse(&'static str),
    /// Create a key, since there is no `current`.
    Make,
    /// First step of a rotation: a new key becomes known.
    Announce,
    /// Second step: the new key seals.
    Swap,
}

impl KeyRing {
    fn key(&self, name: &str) -> Option<&[u8]> {
        self.data.get(name).map(Vec::as_slice).filter(|key| !key.is_empty())
    }

    fn says(&self, annotation: &str) -> Option<&str> {
        self.annotations.get(annotation).map(String::as_str)
    }

    /// Decides. `stable_for` is for how long the Secret has been unchanged.
    pub fn next(&self, stable_for: Duration, timing: &Timing) -> Step {
        for name in [CURRENT, PREVIOUS] {
            if self.key(name).is_some_and(|key| key.len() != LENGTH) {
                return Step::Refuse(name);
            }
        }
        if self.key(CURRENT).is_none() {
            return Step::Make;
        }
        let asked = self.says(ASK).is_some() && self.says(ASK) != self.says(DONE);
        let known = self.says(UNDERWAY).is_some() && self.key(PREVIOUS).is_some();
        match (asked, known) {
            (false, _) => Step::Rest,
            (true, false) => Step::Announce,
            (true, true) if stable_for >= timing.seal => Step::Swap,
            (true, true) => Step::Rest,
        }
    }

    /// Returns the Secret after a step. `fresh` is random.
    #[must_use]
    pub fn after(&self, step: Step, fresh: &[u8; LENGTH]) -> Self {
        let mut after = self.clone();
        // A second request during a rotation is answered by that rotation.
        let asked = self.says(ASK).unwrap_or_default().to_owned();
        match step {
            Step::Rest | Step::Refuse(_) => return after,
            Step::Make => drop(after.data.insert(CURRENT.to_owned(), fresh.to_vec())),
            Step::Announce => {
                after.data.insert(PREVIOUS.to_owned(), fresh.to_vec());
                after.annotations.insert(UNDERWAY.to_owned(), asked);
                return after;
            }
            Step::Swap => {
                let (current, previous) = (after.data.remove(CURRENT), after.data.remove(PREVIOUS));
                after.data.extend(previous.map(|key| (CURRENT.to_owned(), key)));
                after.data.extend(current.map(|key| (PREVIOUS.to_owned(), key)));
            }
        }
        after.annotations.remove(UNDERWAY);
        if !asked.is_empty() {
            after.annotations.insert(DONE.to_owned(), asked);
        }
        after
    }
}

#[cfg(test)]
mod tests;
