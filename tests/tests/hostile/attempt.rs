//! An attempt and its row in the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use agent_creds_tests::cluster::root;
use serde_json::json;

/// The outcome of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It failed, for this reason.
    Stopped(String),
    /// agent-creds does not claim to stop it; this is the remedy.
    Documented(String),
}

/// The result of an attempt: output or error.
pub(crate) type Met = Result<String, String>;

/// Adds the row of an attempt and writes the file, which is complete after each attempt. The module's name is the kind.
pub(crate) fn record(module: &'static str, name: &'static str, tried: &'static str, outcome: &Outcome) {
    static ROWS: Mutex<BTreeMap<(String, &str), serde_json::Value>> = Mutex::new(BTreeMap::new());
    let (word, how) = match outcome {
        Outcome::Stopped(how) => ("stopped", how),
        Outcome::Documented(how) => ("documented", how),
    };
    let kind = module.rsplit("::").next().unwrap_or_default().replace('_', " ");
    let row = json!({"kind": kind, "name": name, "tried": tried.trim(), "outcome": word, "how": how});
    let mut rows = ROWS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    rows.insert((kind, name), row);
    let folder = root().join("target/results");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    let rows: Vec<_> = rows.values().collect();
    let text = serde_json::to_string_pretty(&rows).expect("JSON");
    std::fs::write(folder.join("hostile.json"), text).expect("writing the rows");
}

/// Checks that an attempt was refused with these words, which become the reason.
#[track_caller]
pub(crate) fn stopped(met: Met, words: &str) -> Outcome {
    match met {
        Err(said) if said.contains(words) => Outcome::Stopped(words.to_owned()),
        Err(said) => panic!("refused, but not for this reason: {words}\n{said}"),
        Ok(said) => panic!("it succeeded: {said}"),
    }
}

/// Checks that the same succeeds where it is allowed. Otherwise the attempt would show nothing.
#[track_caller]
pub(crate) fn control(met: Met) -> String {
    met.unwrap_or_else(|said| panic!("the control failed, so the attempt shows nothing: {said}"))
}

/// Combines several variants of an attempt, which must all be stopped, and joins their reasons.
#[track_caller]
pub(crate) fn all(outcomes: Vec<Outcome>) -> Outcome {
    let mut text = String::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Stopped(how) if text.contains(&how) => {}
            Outcome::Stopped(how) => {
                let comma = if text.is_empty() { "" } else { "; " };
                let _ = write!(text, "{comma}{how}");
            }
            documented @ Outcome::Documented(_) => return documented,
        }
    }
    Outcome::Stopped(text)
}

/// Defines attempts: the doc comment describes the attempt, and the body runs it and returns how it was stopped.
macro_rules! attempts {
    ($($(#[doc = $tried:literal])+ $name:ident $body:block)+) => {$(
        #[test]
        #[ignore = "needs the node: make test starts it"]
        fn $name() {
            std::sync::LazyLock::force(&$crate::hostile::agent::PLATFORM);
            let outcome: $crate::hostile::attempt::Outcome = $body;
            $crate::hostile::attempt::record(module_path!(), stringify!($name), concat!($($tried),+), &outcome);
        }
    )+};
}
pub(crate) use attempts;
