//! Properties of the patch, over pods with any content that is not ours: it applies cleanly, asking again
//! changes nothing, and everything that was there before is there after.

use std::collections::BTreeMap;

use agent_creds_webhook::outcome::Reason;
use agent_creds_webhook::pod::decide::{Decision, confirm, decide};
use agent_creds_webhook::pod::seal_keys::Keys;
use agent_creds_webhook::policy::Policy;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON. No string of it can be a name of ours.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[ -~]{1,8}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;

fn keys() -> Keys {
    Keys::new(&[7; 32], None).expect("keys")
}

/// Fields that no version of Kubernetes has.
fn future_fields() -> impl Strategy<Value = BTreeMap<String, Value>> {
    btree_map("future[A-Za-z~/ ]{0,8}", anything(), 0..3)
}

fn extended(mut value: Value, fields: BTreeMap<String, Value>) -> Value {
    value.as_object_mut().expect("an object").extend(fields);
    value
}

fn optional_list(items: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        vec(items, 0..3).prop_map(|items| Some(Value::from(items))),
    ]
}

fn container(name: String) -> impl Strategy<Value = Value> {
    let variable =
        ("[A-Z]{1,6}", "[ -~]{0,9}").prop_map(|(name, value)| json!({"name": name, "value": value}));
    let mount = "[a-z]{1,5}".prop_map(|name| json!({"name": name, "mountPath": format!("/data/{name}")}));
    (optional_list(variable), optional_list(mount), future_fields()).prop_map(move |(env, mounts, future)| {
        let mut container = json!({"name": name, "image": "x"});
        let fields = [("env", env), ("volumeMounts", mounts)];
        for (key, list) in fields {
            if let Some(list) = list {
                container[key] = list;
            }
        }
        extended(container, future)
    })
}

fn containers(prefix: &'static str, least: usize) -> impl Strategy<Value = Vec<Value>> {
    vec(any::<()>(), least..4).prop_flat_map(move |items| {
        (0..items.len()).map(|i| container(format!("{prefix}-{i}"))).collect::<Vec<_>>()
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let volume = ("[a-z]{1,5}", future_fields())
        .prop_map(|(name, future)| extended(json!({"name": name, "emptyDir": {}}), future));
    let skip =
        proptest::option::of(prop_oneof![Just(""), Just("main-0"), Just("a,agent-creds"), Just("a, ")]);
    (
        (containers("main", 1), proptest::option::of(containers("init", 0)), optional_list(volume)),
        (future_fields(), future_fields(), future_fields()),
        (proptest::option::of(btree_map("[a-z/~]{1,8}", "[ -~]{0,8}", 0..3)), skip),
    )
        .prop_map(|((main, init, volumes), (top, metadata, spec), (labels, skip))| {
            let annotations = json!({"agent-creds/inject": "true", "agent-creds/grants": "a,b=team-b"});
            let mut pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": main}});
            if let Some(init) = init {
                pod["spec"]["initContainers"] = init.into();
            }
            if let Some(volumes) = volumes {
                pod["spec"]["volumes"] = volumes;
            }
            if let Some(labels) = labels {
                pod["metadata"]["labels"] = json!(labels);
            }
            if let Some(skip) = skip {
                pod["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"] = skip.into();
            }
            pod["metadata"] = extended(pod["metadata"].take(), metadata);
            pod["spec"] = extended(pod["spec"].take(), spec);
            extended(pod, top)
        })
}

/// Pointers of everything in a document.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        pointers(value, &pointer, found);
        found.push(pointer);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| below(&i.to_string(), value)),
        _ => {}
    }
}

/// Takes everything of ours out again.
fn without_ours(mut pod: Value) -> Value {
    let is_ours = |item: &Value| {
        let name = item["name"].as_str().unwrap_or_default();
        name == "agent-creds" || name.starts_with("agent-creds-") || name.starts_with("AGENT_CREDS_")
    };
    let prune = |owner: &mut Value, key: &str| {
        if let Some(list) = owner.get_mut(key).and_then(Value::as_array_mut) {
            list.retain(|item| !is_ours(item));
        }
    };
    let spec = &mut pod["spec"];
    spec.as_object_mut().expect("a spec").remove("terminationGracePeriodSeconds");
    for list in ["volumes", "initContainers", "containers"] {
        prune(spec, list);
    }
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            prune(container, "env");
            prune(container, "volumeMounts");
        }
    }
    for (map, key) in [
        ("labels", "agent-creds/injected"),
        ("annotations", "agent-creds/status"),
        ("annotations", "agent-creds/seal"),
        ("annotations", "eks.amazonaws.com/skip-containers"),
    ] {
        if let Some(map) = pod["metadata"].get_mut(map).and_then(Value::as_object_mut) {
            map.remove(key);
        }
    }
    pod
}

/// An empty list or map says what an absent one says.
fn without_nothing(value: Value, path: &str) -> Option<Value> {
    let emptied = [".volumes", ".initContainers", ".env", ".volumeMounts", ".labels"];
    let gone = |value: &Value| {
        value.is_null()
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    if emptied.iter().any(|end| path.ends_with(end)) && gone(&value) {
        return None;
    }
    Some(match value {
        Value::Object(map) => map
            .into_iter()
            .filter_map(|(key, value)| {
                without_nothing(value, &format!("{path}.{key}")).map(|value| (key, value))
            })
            .collect(),
        Value::Array(list) => list
            .into_iter()
            .filter_map(|item| without_nothing(item, &format!("{path}[]")))
            .collect::<Vec<_>>()
            .into(),
        other => other,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_patch_applies_asks_for_nothing_more_and_touches_nothing_else(before in pod()) {
        let policy = Policy::for_preview(None, None).expect("the defaults");
        let Decision::Injected { reason, patch, .. } = decide(&before, &policy, &keys(), "ops", NOW) else {
            return Err(TestCaseError::fail(format!("{:?}", decide(&before, &policy, &keys(), "ops", NOW))));
        };
        prop_assert_eq!(reason, Reason::Injected);

        // As another implementation of RFC 6902 reads it.
        let operations: json_patch::Patch = serde_json::from_value(json!(patch)).expect("a JSON patch");
        let mut after = before.clone();
        json_patch::patch(&mut after, &operations).expect("it applies");
        let mut ours = before.clone();
        patch.apply(&mut ours).expect("it applies");
        prop_assert_eq!(&ours, &after);

        prop_assert_eq!(decide(&after, &policy, &keys(), "ops", NOW), Decision::Unchanged(Reason::AlreadyInjected));
        prop_assert_eq!(confirm(&after, &policy, &keys(), "ops", NOW), Decision::Unchanged(Reason::Verified));

        let skip = "eks.amazonaws.com/skip-containers";
        let skipped = after["metadata"]["annotations"][skip].as_str().expect("text");
        prop_assert!(skipped.split(',').any(|name| name == "agent-creds"), "{}", skipped);
        let old = before["metadata"]["annotations"][skip].as_str().unwrap_or_default();
        prop_assert!(skipped.starts_with(old.trim_end_matches([',', ' '])), "{}", skipped);

        let (before, after) = (without_ours(before), without_ours(after));
        prop_assert_eq!(without_nothing(after, ""), without_nothing(before, ""));
    }

    /// The process ends at a panic, and with it admission for everybody.
    #[test]
    fn no_shape_of_a_pod_makes_it_panic(
        pod in pod(),
        injected in any::<bool>(),
        broken in vec((any::<prop::sample::Index>(), anything()), 1..4),
    ) {
        let policy = Policy::for_preview(None, None).expect("the defaults");
        let mut pod = pod;
        if let (true, Decision::Injected { patch, .. }) = (injected, decide(&pod, &policy, &keys(), "ops", NOW)) {
            patch.apply(&mut pod).expect("it applies");
        }
        for (index, value) in broken {
            let mut found = Vec::new();
            pointers(&pod, "", &mut found);
            if !found.is_empty() {
                let pointer: &String = index.get(&found);
                *pod.pointer_mut(pointer).expect("it is there") = value;
            }
        }
        if let Decision::Injected { patch, .. } = decide(&pod, &policy, &keys(), "ops", NOW) {
            prop_assert!(patch.apply(&mut pod.clone()).is_ok(), "{}", pod);
        }
        let _ = confirm(&pod, &policy, &keys(), "ops", NOW);
    }
}
