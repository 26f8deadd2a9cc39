use serde_json::json;

use super::*;

fn found(object: &Value) -> (Vec<String>, Vec<String>) {
    let Found { templates, stray } = find(object);
    (
        templates.iter().map(|template| template.path.to_string()).collect(),
        stray.iter().map(|stray| format!("{}: {}", stray.path, stray.keys.join(", "))).collect(),
    )
}

fn pod() -> Value {
    json!({"metadata": {"annotations": {"agent-creds/inject": "true"}}, "spec": {"containers": [{"name": "a"}]}})
}

#[test]
fn templates_are_found_at_any_depth_and_in_lists() {
    let jobs = json!({"kind": "JobSet", "spec": {"replicatedJobs": [
        {"template": {"spec": {"template": pod()}}}, {"template": {"spec": {"template": pod()}}},
    ]}});
    let paths = [0, 1].map(|i| format!("spec.replicatedJobs[{i}].template.spec.template"));
    assert_eq!(found(&jobs), (paths.to_vec(), vec![]));
    let wrapped =
        json!({"kind": "Wrapper", "spec": {"manifest": {"kind": "Job", "spec": {"template": pod()}}}});
    assert_eq!(found(&wrapped).0, ["spec.manifest.spec.template"]);
}

#[test]
fn a_pod_is_one_whatever_its_spec_is() {
    assert_eq!(found(&json!({"kind": "Pod"})).0, [""]);
    assert_eq!(found(&json!({"kind": "X", "template": {"spec": {"containers": null}}})).0, ["template"]);
}

#[test]
fn an_object_of_another_kind_is_no_template_itself() {
    let object = json!({"kind": "Prometheus", "metadata": {"annotations": {"agent-creds/inject": "true"}},
        "spec": {"containers": [], "podMetadata": {"annotations": {"agent-creds/grants": "a"}}}});
    let stray =
        ["metadata.annotations: agent-creds/inject", "spec.podMetadata.annotations: agent-creds/grants"];
    assert_eq!(found(&object), (vec![], stray.map(str::to_owned).to_vec()));
}

#[test]
fn keys_are_strays_where_annotations_or_labels_stand() {
    let object = json!({"kind": "Deployment",
        "metadata": {
            "labels": {"agent-creds/injected": "true", "agent-creds.inject": "true"},
            "managedFields": [{"fieldsV1": {"f:annotations": {"f:agent-creds/inject": {}}}}],
        },
        "spec": {"selector": {"agent-creds.inject": 1}, "template": pod()},
        "values": {"agent-creds/inject": "true", "agent-creds": {}}});
    let stray = ["metadata.labels: agent-creds.inject", "values: agent-creds/inject"];
    assert_eq!(found(&object), (vec!["spec.template".to_owned()], stray.map(str::to_owned).to_vec()));
}

#[test]
fn the_nearest_object_that_names_a_namespace_counts() {
    let object = json!({"metadata": {"namespace": "outer"}, "a": pod(), "b": {
        "kind": "Job", "metadata": {"namespace": "inner"}, "spec": {"template": pod()}}});
    let namespaces: Vec<_> =
        find(&object).templates.into_iter().map(|template| template.namespace.unwrap()).collect();
    assert_eq!(namespaces, ["outer", "inner"]);
}
