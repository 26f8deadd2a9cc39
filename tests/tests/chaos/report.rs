//! Prints and stores the results of a run.

use std::path::Path;
use std::sync::atomic::Ordering;

use agent_creds_tests::chaos::oracle::Judgement;
use agent_creds_tests::chaos::record::Record;
use agent_creds_tests::chaos::schedule::{Action, Planned};
use serde_json::{Value, json};

use super::agent::Answers;
use super::setting::{Arguments, SIDECARS};

/// Prints a line.
#[expect(clippy::print_stdout, reason = "shows the progress of a run")]
pub(crate) fn say(line: &str) {
    println!("chaos: {line}");
}

/// Prints and stores the seed and the schedule.
pub(crate) fn begin(arguments: &Arguments, planned: &[Planned], folder: &Path) {
    let minutes = minutes(arguments);
    say(&format!("seed {}, {minutes} minutes, {} planned actions", arguments.seed, planned.len()));
    let lines: Vec<String> =
        planned.iter().map(|planned| serde_json::to_string(planned).expect("plain data")).collect();
    std::fs::write(folder.join("schedule.jsonl"), lines.join("\n") + "\n")
        .expect("writing into our own folder");
}

fn minutes(arguments: &Arguments) -> f64 {
    arguments.length_ms as f64 / 60_000.0
}

/// Prints the result, and stores it with the observations if a folder is given.
pub(crate) fn end(
    arguments: &Arguments,
    folder: &Path,
    record: &Record,
    judgement: &Judgement,
    answers: &Answers,
) {
    let count = |fits: fn(&Action) -> bool| record.faults.iter().filter(|fault| fits(&fault.action)).count();
    let lost = judgement.lost().count();
    let result = json!({
        "seed": arguments.seed,
        "minutes": minutes(arguments),
        "sidecars": SIDECARS,
        "presentations": judgement.presentations,
        "unlicensed": judgement.unlicensed.len(),
        "lost": lost,
        "unsaveable": judgement.ends.len() - lost,
        "served_expired": record.served_expired.len(),
        "kills": count(|action| matches!(action, Action::Kill { .. })),
        "outages": count(|action| {
            matches!(action, Action::EtcdFreeze { .. } | Action::EtcdKill { .. } | Action::Restore)
        }),
    });
    for name in [
        "seed",
        "minutes",
        "sidecars",
        "presentations",
        "unlicensed",
        "lost",
        "unsaveable",
        "served_expired",
        "kills",
        "outages",
    ] {
        say(&format!("{name:<16} {}", result[name]));
    }
    let (served, refused) =
        (answers.served.load(Ordering::Relaxed), answers.unavailable.load(Ordering::Relaxed));
    say(&format!("answers to agents: {served} with a token, {refused} without"));
    for end in &judgement.ends {
        let class = end.class.map_or("LOST".to_owned(), |class| format!("{class:?}"));
        say(&format!("{} at {} ended: {class}: {}", end.family, end.at_ms, end.why));
    }
    if let Some(results) = &arguments.results {
        keep(results, folder, &result, judgement).expect("writing the results");
    }
}

fn keep(results: &Path, folder: &Path, result: &Value, judgement: &Judgement) -> std::io::Result<()> {
    let seen = results.join("chaos");
    let _ = std::fs::remove_dir_all(&seen);
    std::fs::create_dir_all(&seen)?;
    std::fs::write(seen.join("judgement.json"), serde_json::to_string_pretty(judgement)?)?;
    for name in ["schedule.jsonl", "record.json"] {
        std::fs::copy(folder.join(name), seen.join(name))?;
    }
    for sidecar in 0..SIDECARS {
        let name = format!("sidecar-{sidecar:02}");
        std::fs::copy(folder.join(&name).join("log.jsonl"), seen.join(name + ".jsonl"))?;
    }
    // The rename makes the file appear complete or not at all.
    let fresh = results.join("chaos.json.new");
    std::fs::write(&fresh, serde_json::to_string_pretty(result)? + "\n")?;
    std::fs::rename(&fresh, results.join("chaos.json"))
}
