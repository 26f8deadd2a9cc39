//! One attempt, and its row in the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use agent_creds_tests::cluster::root;
use serde_json::json;

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It did not succeed, for this reason.
    Stopped(String),
    /// We do not claim to stop it; this is the remedy.
    Documented(String),
}

/// What the attempt met: said, or refused.
pub(crate) type Met = Result<String, String>;

/// The row of an attempt, in a file that is whole after each of them. Attempts of one module are of one kind.
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

/// That an attempt was refused with these words; they are how it was stopped.
#[track_caller]
pub(crate) fn stopped(met: Met, words: &str) -> Outcome {
    match met {
        Err(said) if said.contains(words) => Outcome::Stopped(words.to_owned()),
        Err(said) => panic!("refused, but not for this reason: {words}\n{said}"),
        Ok(said) => panic!("it succeeded: {said}"),
    }
}

/// That the same succeeds where it is allowed; otherwise the attempt would show nothing.
#[track_caller]
pub(crate) fn control(met: Met) -> String {
    met.unwrap_or_else(|said| panic!("the control failed, so the attempt shows nothing: {said}"))
}

/// Several ways of one attempt, all of them stopped; the first one's reason is the attempt's.
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

/// Attempts: the doc comment says what is tried, the body tries it and says how it was stopped.
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
