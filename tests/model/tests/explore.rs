//! What the model has to say: the promises hold, what may be lost is what the README says, and each rule is needed.
//! Results go to `target/results/model.json`.

use std::path::Path;

use agent_creds_model::{Findings, Setting, Variant, break_it, explore, wander};
use agent_creds_sidecar::grant::rules::Rules;
use serde_json::json;

/// States of what need not be complete.
const SOME: usize = 1_000_000;
/// Within this each mutant is found that can be.
const MANY: usize = 5_000_000;

/// A rule, by name, and the rules without it.
type Mutant = (&'static str, fn(&mut Rules));

/// Each rule of the protocol, taken out.
const MUTANTS: &[Mutant] = &[
    ("claim_is_awaited", |rules| rules.claim_is_awaited = false),
    ("silence_is_doubt", |rules| rules.silence_is_doubt = false),
    ("doubt_waits", |rules| rules.doubt_waits = false),
    ("window_is_checked", |rules| rules.window_is_checked = false),
    ("sent_is_marked", |rules| rules.sent_is_marked = false),
    ("answer_is_spooled", |rules| rules.answer_is_spooled = false),
    ("stored_before_served", |rules| rules.stored_before_served = false),
    ("lineage_decides", |rules| rules.lineage_decides = false),
    ("spent_stays_spent", |rules| rules.spent_stays_spent = false),
    ("login_keeps_spare", |rules| rules.login_keeps_spare = false),
    ("memory_repairs", |rules| rules.memory_repairs = false),
    ("changes_settle", |rules| rules.changes_settle = false),
    ("backoff_is_shared", |rules| rules.backoff_is_shared = false),
];

fn holds(what: &str, findings: &Findings) {
    if let Some((promise, story)) = findings.broken.first() {
        panic!("{promise} does not hold: {what}\n{story}");
    }
}

#[test]
fn the_promises_hold_and_each_rule_is_needed() {
    let (mut states, mut bounds, mut classes) = (0, Vec::new(), Vec::new());
    let mut note = |what: String, findings: Findings| {
        holds(&what, &findings);
        states += findings.states;
        bounds.push(json!({ "what": what, "states": findings.states, "complete": findings.complete }));
        classes.extend(findings.classes);
    };
    for variant in Variant::ALL {
        for cold in [false, true] {
            let findings = explore(
                &Setting { rules: Rules::PRODUCTION, variant, replicas: 3, faults: 1, cold },
                usize::MAX,
            );
            note(format!("{variant:?}, cold {cold}: 3 replicas, every trace with 1 fault"), findings);
        }
    }
    for cold in [false, true] {
        let findings = explore(
            &Setting { rules: Rules::PRODUCTION, variant: Variant::Strict, replicas: 2, faults: 2, cold },
            SOME,
        );
        note(format!("Strict, cold {cold}: 2 replicas, traces with 2 faults"), findings);
        let findings = wander(
            &Setting { rules: Rules::PRODUCTION, variant: Variant::Strict, replicas: 3, faults: 6, cold },
            1,
            SOME,
        );
        note(format!("Strict, cold {cold}: 3 replicas, 6 faults, at random"), findings);
    }
    classes.sort_unstable();
    classes.dedup();
    let mut found = Vec::new();
    for (name, take_out) in MUTANTS {
        let mut rules = Rules::PRODUCTION;
        take_out(&mut rules);
        let broken = [(1, false), (1, true), (2, false), (2, true)].into_iter().find_map(|(faults, cold)| {
            let findings =
                break_it(&Setting { rules, variant: Variant::Strict, replicas: 2, faults, cold }, MANY);
            findings.broken.first().map(|(promise, _)| *promise)
        });
        found.push(json!({ "rule": name, "broken": broken }));
    }
    let caught = found.iter().filter(|mutant| !mutant["broken"].is_null()).count();
    let result = json!({
        "states": states,
        "bounds": bounds,
        "classes": classes,
        "mutants": found.len(),
        "mutants_found": caught,
        "found": found,
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/results");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    let text = serde_json::to_string_pretty(&result).expect("JSON");
    std::fs::write(folder.join("model.json"), &text).expect("writing the result");
    eprintln!("{text}");
    assert_eq!(caught, MUTANTS.len(), "a rule that can be taken out is no rule");
    assert_eq!(classes, ["L1", "L2", "L3", "L4", "L5", "L6"], "each class of what cannot be saved is met");
}

/// Hours, perhaps: `make model`.
#[test]
#[ignore = "takes long: make model"]
fn every_trace_with_two_faults() {
    for variant in Variant::ALL {
        for cold in [false, true] {
            let what = format!("{variant:?}, cold {cold}: 3 replicas, every trace with 2 faults");
            let findings = explore(
                &Setting { rules: Rules::PRODUCTION, variant, replicas: 3, faults: 2, cold },
                usize::MAX,
            );
            eprintln!("{what}: {} states, complete {}", findings.states, findings.complete);
            holds(&what, &findings);
        }
    }
}
