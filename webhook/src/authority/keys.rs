//! The keys that seal: Secret `agent-creds-seal`, `current` and `previous`. `current` seals, both verify.
//!
//! A rotation is asked for by a person and has two steps, since admission and identity mount the Secret and learn of a
//! change up to two minutes later: a new key is known before anything is sealed with it. The key before stays, as
//! `previous`; the one before that is gone with the first step, and what it sealed with it.
//! A key that a person takes out stays out: without `previous` nothing is missing, in place of `current` a new one is made.

use std::time::Duration;

use super::holdings::Data;
use super::{ASK, DONE, Timing, UNDERWAY};

/// Length of a key in bytes.
pub const LENGTH: usize = 32;
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";

/// The Secret's data and annotations. Not `Debug`: keys are in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    /// Its data.
    pub data: Data,
    /// Its annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// The one thing to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// A person wrote something that is no key: what it was meant to be is not guessed.
    Refuse(&'static str),
    /// A first key, or one in place of the one that was taken out.
    Make,
    /// First step of a rotation: a new key is known.
    Announce,
    /// Second step: it seals.
    Swap,
}

impl Ring {
    fn key(&self, name: &str) -> Option<&[u8]> {
        self.data.get(name).map(Vec::as_slice).filter(|key| !key.is_empty())
    }

    fn says(&self, annotation: &str) -> Option<&str> {
        self.annotations.get(annotation).map(String::as_str)
    }

    /// Decides. `settled` is how long the Secret has been seen as it is.
    pub fn next(&self, settled: Duration, timing: &Timing) -> Step {
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
            (true, true) if settled >= timing.seal => Step::Swap,
            (true, true) => Step::Rest,
        }
    }

    /// What a step makes of it. `fresh` is random.
    #[must_use]
    pub fn after(&self, step: Step, fresh: &[u8; LENGTH]) -> Self {
        let mut after = self.clone();
        // Whoever asks once more while a rotation is under way gets that one.
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
