//! Judges a row by the provider's log: what was presented how often, with which licence, and whether what could be
//! saved was saved.

use std::collections::BTreeMap;

use agent_creds_tests::event::Presentation;
use agent_creds_tests::sidecar::Sidecar;
use serde_json::{Value, json};

use super::case::{Case, Fault, Step, Successor};
use super::stage::{End, GRANT, Licences, Stage, TERM};

/// What happened in a row.
pub(crate) struct Story<'a> {
    pub(crate) case: Case,
    pub(crate) stage: &'a Stage,
    pub(crate) sidecars: &'a [&'a Sidecar],
    pub(crate) licences: Licences,
    /// When the process was stopped, and when it came back.
    pub(crate) stopped_ms: u64,
    pub(crate) back_ms: u64,
    pub(crate) end: End,
}

/// A judged row.
pub(crate) struct Row {
    pub(crate) case: Case,
    pub(crate) how: String,
    /// What could be saved and was not.
    pub(crate) lost: bool,
    /// What is wrong with it.
    pub(crate) wrong: Option<String>,
}

impl Row {
    /// A row that could not be played to its end.
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

/// `PastLast` as `past last`.
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

pub(crate) async fn judge(story: &Story<'_>) -> Row {
    let Story { case, stage, end, .. } = story;
    let excuse = case.unsaveable();
    let mut wrong = unlicensed(story);
    let (how, lost) = match (end, excuse) {
        (End::Ready, None) => ("recovered".to_owned(), false),
        (End::Dead, Some(law)) => (format!("unsaveable: {law}"), false),
        (End::Dead, None) => ("lost".to_owned(), true),
        (End::Ready, Some(law)) => {
            wrong = wrong.or_else(|| Some(format!("saved, where {law} says that nobody can")));
            ("recovered".to_owned(), false)
        }
    };
    if lost {
        wrong = Some("could have been saved".to_owned());
    }
    if *end == End::Ready {
        for sidecar in story.sidecars {
            let token = sidecar.access_token(GRANT).await;
            if !stage.standin.is_active(&token) {
                wrong = Some("serves a token that is not the provider's".to_owned());
            }
        }
    }
    let wrong = wrong.map(|what| format!("{what}; the provider saw {:#?}", stage.presented()));
    Row { case: *case, how, lost, wrong }
}

/// A presentation of a token that had been presented before, without licence.
fn unlicensed(story: &Story<'_>) -> Option<String> {
    let presented = story.stage.presented();
    let mut last: BTreeMap<&str, (usize, &Presentation)> = BTreeMap::new();
    for (number, seen) in presented.iter().enumerate() {
        let Some(token) = seen.token_sha256.as_deref() else {
            return Some("a request without a refresh token".to_owned());
        };
        if let Some((at, before)) = last.insert(token, (number, seen))
            && !is_licensed(story, at, before, seen)
        {
            return Some(format!("presentations {at} and {number} are of one token, without licence"));
        }
    }
    None
}

fn is_licensed(story: &Story<'_>, number: usize, before: &Presentation, seen: &Presentation) -> bool {
    let token = seen.token_sha256.as_deref().unwrap_or_default();
    let between = before.at_ms..=seen.at_ms;
    if story.licences.iter().any(|(fp, at)| fp == token && between.contains(at)) {
        return true;
    }
    // The first after the login is the one that the fault is about.
    let known = if number == 1 { known_ms(story) } else { Some(before.at_ms) };
    let read = known.is_some_and(|known| known <= seen.at_ms);
    match before.fault.as_deref() {
        Some("status_429") => read,
        // A verdict is looked at again after a minute of the protocol's time.
        Some("status_400") => read && u128::from(seen.at_ms - before.at_ms) >= TERM.as_millis() * 9 / 10,
        _ => false,
    }
}

/// From when the answer on whose way the fault happened can be known to somebody.
fn known_ms(story: &Story<'_>) -> Option<u64> {
    let Case { fault, step, spool_kept, successor, .. } = story.case;
    match (step, fault) {
        (Step::Committed | Step::After, _) => Some(story.stopped_ms),
        // Whoever presents after a fault that came before the request reads the answer in full health.
        _ if !story.case.was_sent() => Some(0),
        (_, Fault::Freeze) => Some(story.back_ms),
        // What the spool knows is told when its process is back, unless others have noted a doubt.
        (Step::Spooled, Fault::Kill) if spool_kept && successor == Successor::Idle => Some(story.back_ms),
        _ => None,
    }
}
