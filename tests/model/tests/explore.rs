//! Checks that the promises hold, that only the documented losses occur, and that each safeguard is needed. Writes
//! `target/results/model.json`.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_creds_model::{Findings, Setting, Start, Variant, explore, wander};
use agent_creds_refresh::safeguards::Safeguards;
use serde_json::{Value, json};

/// Limit of an exploration that need not be complete.
const SOME: usize = 1_000_000;
/// Limit within which every mutant that can be found is found.
const MANY: usize = 5_000_000;

/// A safeguard's name, a function that switches it off, and the settings that need it.
type Mutant = (&'static str, fn(&mut Safeguards), &'static [(Variant, Start)]);

/// Settings in which most safeguards are needed.
const USUAL: &[(Variant, Start)] = &[(Variant::Strict, Start::Late), (Variant::Strict, Start::Empty)];
/// A setting that allows a replay long before the last responsible moment.
const LICENSED_EARLY: &[(Variant, Start)] = &[(Variant::Refused, Start::Early)];

/// Each safeguard of the protocol, switched off.
const MUTANTS: &[Mutant] = &[
    ("claim_is_awaited", |safeguards| safeguards.claim_is_awaited = false, USUAL),
    ("outage_is_no_silence", |safeguards| safeguards.outage_is_no_silence = false, USUAL),
    ("silence_is_doubt", |safeguards| safeguards.silence_is_doubt = false, USUAL),
    ("doubt_waits", |safeguards| safeguards.doubt_waits = false, USUAL),
    ("refusal_waits_for_doubt", |safeguards| safeguards.refusal_waits_for_doubt = false, LICENSED_EARLY),
    ("window_is_checked", |safeguards| safeguards.window_is_checked = false, USUAL),
    ("sent_is_marked", |safeguards| safeguards.sent_is_marked = false, USUAL),
    ("answer_is_spooled", |safeguards| safeguards.answer_is_spooled = false, USUAL),
    ("stored_before_served", |safeguards| safeguards.stored_before_served = false, USUAL),
    ("lineage_decides", |safeguards| safeguards.lineage_decides = false, USUAL),
    ("spent_stays_spent", |safeguards| safeguards.spent_stays_spent = false, USUAL),
    ("login_keeps_spare", |safeguards| safeguards.login_keeps_spare = false, USUAL),
    ("memory_repairs", |safeguards| safeguards.memory_repairs = false, USUAL),
    ("changes_settle", |safeguards| safeguards.changes_settle = false, USUAL),
    ("backoff_is_shared", |safeguards| safeguards.backoff_is_shared = false, USUAL),
];

/// Does `work` for each of `items` on all processors. The results are in the order of the items.
fn on_all_processors<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((place, item)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            items.get(place).map(|item| (place, item))
        } {
            done.push((place, work(item)));
        }
        done
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// All provider variants with all starts.
fn everywhere(replicas: u8, faults: u8) -> Vec<Setting> {
    let each = |variant| {
        Start::ALL.map(|start| Setting {
            safeguards: Safeguards::ON,
            variant,
            replicas,
            faults,
            start,
            skewed: false,
        })
    };
    Variant::ALL.into_iter().flat_map(each).collect()
}

fn told(setting: &Setting) -> String {
    let Setting { variant, replicas, faults, start, skewed, .. } = setting;
    let clocks = if *skewed { ", clocks differ" } else { "" };
    format!("{variant:?}, {start:?}: {replicas} replicas, {faults} faults{clocks}")
}

/// The covered bounds of an exploration. Panics with the trace if a promise is broken.
fn covered(setting: &Setting, how: &str, findings: &Findings) -> Value {
    if let Some((promise, story)) = findings.broken.first() {
        panic!("{promise} does not hold: {}\n{story}", told(setting));
    }
    let what = format!("{}, {how}", told(setting));
    json!({ "what": what, "states": findings.states, "complete": findings.complete })
}

fn write(name: &str, result: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/results");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    let text = serde_json::to_string_pretty(result).expect("JSON");
    std::fs::write(folder.join(name), &text).expect("writing the result");
    print(&text);
}

/// Prints the result; `cargo test` shows it with `--nocapture`.
#[expect(clippy::print_stderr, reason = "what was covered is the result")]
fn print(text: &str) {
    eprintln!("{text}");
}

#[test]
fn the_promises_hold_and_each_rule_is_needed() {
    let strict = |replicas, faults| {
        everywhere(replicas, faults).into_iter().filter(|setting| setting.variant == Variant::Strict)
    };
    type How = (&'static str, fn(&Setting) -> Findings);
    let every: How = ("every trace", |setting| explore(setting, usize::MAX));
    let part: How = ("a part of the traces", |setting| explore(setting, SOME));
    let random: How = ("at random", |setting| wander(setting, 1, SOME));
    let plan: Vec<(Setting, How)> = (everywhere(3, 1).into_iter().map(|setting| (setting, every)))
        .chain(strict(3, 1).map(|setting| (Setting { skewed: true, ..setting }, every)))
        .chain(strict(2, 2).map(|setting| (setting, part)))
        .chain(strict(3, 6).map(|setting| (setting, random)))
        .collect();
    let findings = on_all_processors(&plan, |(setting, (_, look))| look(setting));
    let bounds: Vec<_> = plan
        .iter()
        .zip(&findings)
        .map(|((setting, (how, _)), findings)| covered(setting, how, findings))
        .collect();
    let mut classes: Vec<_> = findings.iter().flat_map(|findings| &findings.classes).collect();
    classes.sort_unstable();
    classes.dedup();
    let found = on_all_processors(MUTANTS, |(name, take_out, places)| {
        let mut safeguards = Safeguards::ON;
        take_out(&mut safeguards);
        let mut settings = [1, 2].into_iter().flat_map(|faults| {
            let at = move |&(variant, start): &(Variant, Start)| Setting {
                safeguards,
                variant,
                replicas: 2,
                faults,
                start,
                skewed: false,
            };
            places.iter().map(at)
        });
        let broken =
            settings.find_map(|setting| explore(&setting, MANY).broken.first().map(|(name, _)| *name));
        json!({ "rule": name, "broken": broken })
    });
    let caught = found.iter().filter(|mutant| !mutant["broken"].is_null()).count();
    let result = json!({
        "states": findings.iter().map(|findings| findings.states).sum::<usize>(),
        "bounds": bounds,
        "classes": classes,
        "mutants": found.len(),
        "mutants_found": caught,
        "found": found,
    });
    write("model.json", &result);
    assert_eq!(caught, MUTANTS.len(), "without each safeguard, a promise must be broken");
    assert_eq!(
        classes,
        [&"L1", &"L2", &"L3", &"L4", &"L5", &"L6", &"L7"],
        "each documented class of loss must occur"
    );
}

/// Takes an hour or more: `make model`.
#[test]
#[ignore = "takes long: make model"]
fn every_trace_with_two_faults() {
    let settings = everywhere(3, 2);
    let bounds = on_all_processors(&settings, |setting| {
        let bound = covered(setting, "every trace", &explore(setting, usize::MAX));
        print(&bound.to_string());
        bound
    });
    write("model-two-faults.json", &json!({ "bounds": bounds }));
}
