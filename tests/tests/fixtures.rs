//! Test cases as files, `data/pods/*.yaml`: each file contains a pod and its expectations. A new file is a new case,
//! without code.
//!
//! A case has a `pod`, or the `injected` pod of another case with later `changes` (pointer: new value; null removes,
//! `-` appends, an index inserts), and `later` is the number of seconds between the two. A `policy` overrides the settings, which
//! are the defaults in identity mode `pod`. The expectations are a `reason` and
//! optionally: the pointers that the patch `adds`, in order; values at pointers `after` it; the whole pod that it
//! `becomes`; the `warnings`; the exact `refusals`.
//! `after` it; what the pod `becomes` as a whole; the `warnings`; the `refusals`, word by word.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use agent_creds_core::words::Word as _;
use agent_creds_webhook::outcome::{Outcome, Reason};
use agent_creds_webhook::pod::decide::{Decision, confirm, decide};
use agent_creds_webhook::pod::seal_keys::Keys;
use agent_creds_webhook::policy::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use strum::VariantArray as _;

const NAMESPACE: &str = "ops";
/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    expect: Expectation,
    #[serde(default)]
    policy: Option<Value>,
    #[serde(default)]
    pod: Option<Value>,
    #[serde(default)]
    injected: Option<String>,
    #[serde(default)]
    changes: BTreeMap<String, Value>,
    /// Seconds from the injection of the other case to this request.
    #[serde(default)]
    later: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    reason: String,
    #[serde(default)]
    adds: Option<Vec<String>>,
    #[serde(default)]
    after: BTreeMap<String, Value>,
    #[serde(default)]
    becomes: Option<Value>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
    #[serde(default)]
    refusals: Option<Vec<String>>,
}

fn cases() -> BTreeMap<String, Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/pods");
    let files = fs::read_dir(&folder).expect("the folder of the cases");
    let mut cases = BTreeMap::new();
    for file in files {
        let path = file.expect("an entry").path();
        assert!(path.extension().is_some_and(|end| end == "yaml"), "{} is not a case", path.display());
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a case");
        let case = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        cases.insert(name, case);
    }
    cases
}

fn keys() -> Keys {
    Keys::new(&[7; 32], None).expect("keys")
}

impl Case {
    fn policy(&self) -> Policy {
        let mut policy = json!({
            "sidecar": {"image": "registry.example/agent-creds-sidecar@sha256:0000"}, "identity": {"mode": "pod"},
        });
        for (key, value) in
            self.policy.iter().flat_map(|laid_over| laid_over.as_object().expect("keys and values"))
        {
            policy[key] = value.clone();
        }
        Policy::for_preview(Some(&policy.to_string()), None).expect("a policy")
    }

    /// Returns the pod that the webhook receives.
    fn pod(&self, cases: &BTreeMap<String, Self>) -> Value {
        let mut pod = match (&self.pod, &self.injected) {
            (Some(pod), None) => pod.clone(),
            (None, Some(first)) => {
                let first = &cases[first];
                match decide(&first.pod(cases), &first.policy(), &keys(), NAMESPACE, NOW) {
                    Decision::Injected { patch, .. } => {
                        let mut pod = first.pod(cases);
                        patch.apply(&mut pod).expect("the patch fits");
                        pod
                    }
                    other => panic!("the case that this one is based on: {other:?}"),
                }
            }
            _ => panic!("a case has either a pod or another case's injected one"),
        };
        for (pointer, value) in &self.changes {
            change(&mut pod, pointer, value);
        }
        pod
    }
}

fn change(pod: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let key = key.replace("~1", "/").replace("~0", "~");
    let parent = pod.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} does not exist"));
    match parent {
        Value::Object(map) if value.is_null() => {
            assert!(map.remove(&key).is_some(), "{pointer} is not there");
        }
        Value::Object(map) => drop(map.insert(key, value.clone())),
        Value::Array(list) if key == "-" => list.push(value.clone()),
        Value::Array(list) => list.insert(key.parse().expect("an index"), value.clone()),
        _ => panic!("{pointer} does not exist"),
    }
}

/// Checks one case and returns all differences.
fn check(case: &Case, cases: &BTreeMap<String, Case>) -> Vec<String> {
    let (pod, policy) = (case.pod(cases), case.policy());
    let decision = decide(&pod, &policy, &keys(), NAMESPACE, NOW + case.later);
    let mut wrong = Vec::new();
    let mut differ = |what: &str, expected: Value, found: Value| {
        if expected != found {
            wrong.push(format!("{what}\n  expected {expected:#}\n  found    {found:#}"));
        }
    };
    let Expectation { reason, adds, after, becomes, warnings, refusals } = case.expect.clone();
    differ("reason", json!(reason), json!(decision.reason().as_str()));
    let mut patched = pod;
    let (mut added, mut warned, mut refused): (Vec<String>, Vec<String>, Vec<String>) = Default::default();
    match &decision {
        Decision::Unchanged(_) => {}
        Decision::Refused(found) => refused.extend(found.iter().map(ToString::to_string)),
        Decision::Injected { patch, warnings, .. } => {
            patch.apply(&mut patched).expect("the patch fits");
            added.extend(patch.operations().iter().map(|operation| operation.path.clone()));
            warned.clone_from(warnings);
            let again = decide(&patched, &policy, &keys(), NAMESPACE, NOW).reason();
            differ("second call", json!(Reason::AlreadyInjected.as_str()), json!(again.as_str()));
            let last = confirm(&patched, &policy, &keys(), NAMESPACE, NOW).reason();
            differ("validated", json!(Reason::Verified.as_str()), json!(last.as_str()));
        }
    }
    if let Some(adds) = adds {
        differ("adds", json!(adds), json!(added));
    }
    for (pointer, value) in after {
        differ(&pointer, value, patched.pointer(&pointer).cloned().unwrap_or_default());
    }
    if let Some(becomes) = becomes {
        let becomes = becomes.to_string().replace("VERSION", env!("CARGO_PKG_VERSION"));
        // The content of the seal has its own tests.
        if let Some(seal) = patched.pointer_mut("/metadata/annotations/agent-creds~1seal") {
            *seal = "SEAL".into();
        }
        differ("becomes", serde_json::from_str(&becomes).expect("JSON"), patched);
    }
    if let Some(warnings) = warnings {
        differ("warnings", json!(warnings), json!(warned));
    }
    differ("refusals", json!(refusals.unwrap_or_default()), json!(refused));
    wrong
}

#[test]
fn every_case_meets_its_expectations() {
    let cases = cases();
    let failed: Vec<_> = cases
        .iter()
        .map(|(name, case)| (name, check(case, &cases)))
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|(name, wrong)| format!("{name}: {}", wrong.join("\n")))
        .collect();
    assert!(failed.is_empty(), "{} of {} cases\n\n{}", failed.len(), cases.len(), failed.join("\n\n"));
}

#[test]
fn every_reason_has_a_case() {
    // These reasons are decided from the request alone, or for the final pod.
    let about_requests = [
        Reason::NotCreate,
        Reason::NotPod,
        Reason::KeysMissing,
        Reason::PodTooLarge,
        Reason::Verified,
        Reason::GracePeriod,
    ];
    let without_a_pod = [Outcome::Invalid, Outcome::Unavailable];
    let expected: BTreeSet<_> = Reason::VARIANTS
        .iter()
        .filter(|reason| !without_a_pod.contains(&reason.outcome()) && !about_requests.contains(reason))
        .map(|reason| reason.as_str().to_owned())
        .collect();
    let found: BTreeSet<_> = cases().into_values().map(|case| case.expect.reason).collect();
    assert_eq!(found, expected);
}
