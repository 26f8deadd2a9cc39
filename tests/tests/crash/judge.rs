//! Judges a row by the provider's log: whether each repeated presentation was licensed, and whether the grant survived
//! unless it was unsaveable.

use std::collections::BTreeMap;

use agent_creds_tests::event::Presentation;
use agent_creds_tests::sidecar::Sidecar;
use serde_json::{Value, json};

use super::case::{Case, Fault, Step, Successor};
use super::environment::{End, Environment, GRANT, Licences, TERM};

/// The events of a row.
pub(crate) struct Events<'a> {
    pub(crate) case: Case,
    pub(crate) environment: &'a Environment,
    pub(crate) sidecars: &'a [&'a Sidecar],
    pub(crate) licences: Licences,
    /// When the process was stopped, and when it continued.
    pub(crate) stopped_ms: u64,
    pub(crate) back_ms: u64,
    pub(crate) end: End,
}

/// A judged row.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) how: String,
    /// The grant was saveable and is lost.
    pub(crate) lost: bool,
    /// The violated expectation.
    pub(crate) wrong: Option<String>,
}

impl Row {
    /// A row that did not run to its end.
    pub(crate) fn failed(case: Case, why: &str) -> Self {
        Self { case, how: "failed".to_owned(), lost: true, wrong: Some(why.to_owned()) }
    }

    pub(crate) fn json(&self) -> Value {
        let Case { fault, step, answer, successor, spool_kept } = self.case;
        let fault = match fault {
            Fault::Kill => "SIGKILL",
            Fault::Freeze => "SIGSTOP for 2 T",
        };
        let spool = if spool_kept { "kept" } else { "lost" };
        json!({
            "fault": fault,
            "step": words(&format!("{step:?}")),
            "answer": words(&format!("{answer:?}")),
            "successor": words(&format!("{successor:?}")),
            "spool": spool,
            "lost": self.lost,
            "how": self.how,
        })
    }
}

/// Returns `past last` for `PastLast`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

pub(crate) async fn judge(events: &Events<'_>) -> Row {
    let Events { case, environment, end, .. } = events;
    let class = case.unsaveable();
    let mut wrong = unlicensed(events);
    let (how, lost) = match (end, class) {
        (End::Ready, None) => ("recovered".to_owned(), false),
        (End::Dead, Some(class)) => (format!("unsaveable: {class}"), false),
        (End::Dead, None) => ("lost".to_owned(), true),
        (End::Ready, Some(class)) => {
            wrong = wrong.or_else(|| Some(format!("saved, although {class} says that it is unsaveable")));
            ("recovered".to_owned(), false)
        }
    };
    if lost {
        wrong = Some("the grant is lost and was saveable".to_owned());
    }
    if *end == End::Ready {
        for sidecar in events.sidecars {
            let token = sidecar.access_token(GRANT).await;
            if !environment.standin.is_active(&token) {
                wrong = Some("the sidecar serves a token that is not valid".to_owned());
            }
        }
    }
    let wrong = wrong.map(|what| format!("{what}; the provider's log: {:#?}", environment.presented()));
    Row { case: *case, how, lost, wrong }
}

/// Returns a repeated presentation that was not licensed.
fn unlicensed(events: &Events<'_>) -> Option<String> {
    let presented = events.environment.presented();
    let mut last: BTreeMap<&str, (usize, &Presentation)> = BTreeMap::new();
    for (number, seen) in presented.iter().enumerate() {
        let Some(token) = seen.token_sha256.as_deref() else {
            return Some("a request without a refresh token".to_owned());
        };
        if let Some((at, before)) = last.insert(token, (number, seen))
            && !is_licensed(events, at, before, seen)
        {
            return Some(format!("presentations {at} and {number} present one token without a licence"));
        }
    }
    None
}

fn is_licensed(events: &Events<'_>, number: usize, before: &Presentation, seen: &Presentation) -> bool {
    let token = seen.token_sha256.as_deref().unwrap_or_default();
    let between = before.at_ms..=seen.at_ms;
    if events.licences.iter().any(|(fp, at)| fp == token && between.contains(at)) {
        return true;
    }
    // The first presentation after the login is the one with the fault.
    let known = if number == 1 { known_ms(events) } else { Some(before.at_ms) };
    let read = known.is_some_and(|known| known <= seen.at_ms);
    match before.fault.as_deref() {
        Some("status_429") => read,
        // A verdict is probed again after a minute of the protocol's time.
        Some("status_400") => read && u128::from(seen.at_ms - before.at_ms) >= TERM.as_millis() * 9 / 10,
        _ => false,
    }
}

/// Returns the earliest time at which a replica can know the answer that the fault affected.
fn known_ms(events: &Events<'_>) -> Option<u64> {
    let Case { fault, step, spool_kept, successor, .. } = events.case;
    match (step, fault) {
        (Step::Committed | Step::After, _) => Some(events.stopped_ms),
        // After a fault before the request, a healthy process reads the answer.
        _ if !events.case.was_sent() => Some(0),
        (_, Fault::Freeze) => Some(events.back_ms),
        // The process reports the content of its spool when it is back, unless a successor has recorded a doubt.
        (Step::Spooled, Fault::Kill) if spool_kept && successor == Successor::Idle => Some(events.back_ms),
        _ => None,
    }
}
