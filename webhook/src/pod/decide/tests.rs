use serde_json::json;

use super::*;
use crate::pod::sample::{NOW, injected, keys, pod, policy, refused, with};

#[test]
fn the_sidecar_comes_first_and_only_agents_get_access() {
    let before = pod();
    let after = injected(&before);
    let names: Vec<_> = view::containers(&after).map(|container| container.name()).collect();
    assert_eq!(names, ["agent-creds", "setup", "proxy", "main"]);
    let volumes: Vec<_> = view::items(&after["spec"], "volumes").iter().map(|v| v["name"].clone()).collect();
    assert_eq!(volumes, ["agent-creds-shared", "agent-creds-spool", "agent-creds-identity"]);
    assert_eq!(after["spec"]["initContainers"][1], before["spec"]["initContainers"][0]);
    assert_eq!(after["spec"]["initContainers"][2], before["spec"]["initContainers"][1]);
    let main = &after["spec"]["containers"][0];
    let mount = json!({"name": "agent-creds-shared", "mountPath": "/run/agent-creds", "readOnly": true});
    assert_eq!(main["volumeMounts"], json!([mount]));
    assert_eq!(after["metadata"]["labels"], json!({"agent-creds/injected": "true"}));
    let status = after["metadata"]["annotations"]["agent-creds/status"].as_str().unwrap();
    let status: Value = serde_json::from_str(status).unwrap();
    assert_eq!(status, json!({"version": env!("CARGO_PKG_VERSION"), "mode": "pod", "grants": ["pagerduty"]}));
    assert_eq!(after["metadata"]["annotations"]["eks.amazonaws.com/skip-containers"], "agent-creds");
}

#[test]
fn variables_stand_before_those_that_refer_to_them() {
    let env = &injected(&pod())["spec"]["containers"][0]["env"];
    let names: Vec<_> = env.as_array().unwrap().iter().map(|variable| variable["name"].clone()).collect();
    assert_eq!(names, ["AGENT_CREDS_URL", "AGENT_CREDS_KEY_FILE", "AGENT_CREDS_SOCKET", "A"]);
}

#[test]
fn grants_are_secrets_of_the_namespace_by_service_account() {
    let argument = |pod: &Value| {
        let after = injected(pod);
        let args = after["spec"]["initContainers"][0]["args"].as_array().unwrap().clone();
        args.last().unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(argument(&pod()), "--grant=pagerduty=ops/devops-agent-pagerduty");
    let mut unnamed = pod();
    unnamed["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    assert_eq!(argument(&unnamed), "--grant=pagerduty=ops/default-pagerduty");
    assert_eq!(
        argument(&with(unnamed, "/spec/serviceAccount", json!("old-name"))),
        "--grant=pagerduty=ops/old-name-pagerduty"
    );
    assert_eq!(
        argument(&with(pod(), "/spec/serviceAccountName", json!(""))),
        "--grant=pagerduty=ops/default-pagerduty"
    );
}

#[test]
fn annotations_become_arguments() {
    let pod = with(pod(), "/metadata/annotations/agent-creds~1port", json!("7000"));
    let pod = with(pod, "/metadata/annotations/agent-creds~1metrics-port", json!("7001"));
    let pod = with(pod, "/metadata/annotations/agent-creds~1strict-start", json!("true"));
    let after = injected(&pod);
    let sidecar = &after["spec"]["initContainers"][0];
    let args: Vec<_> = sidecar["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(
        args[..4],
        ["serve", "--store=kubernetes", "--identity=pod", "--api-server=https://kubernetes.default.svc"]
    );
    assert!(args[4].starts_with("--api-ca-data="));
    assert_eq!(args[5..8], ["--port=7000", "--metrics-port=7001", "--strict-start"]);
    assert_eq!(sidecar["ports"][0]["containerPort"], 7001);
    assert_eq!(after["spec"]["containers"][0]["env"][0]["value"], "http://127.0.0.1:7000");
}

#[test]
fn named_containers_get_access_and_nobody_else() {
    let named = |names: &str| with(pod(), "/metadata/annotations/agent-creds~1containers", json!(names));
    let after = injected(&named("setup,proxy"));
    assert_eq!(after["spec"]["containers"], pod()["spec"]["containers"]);
    for i in [1, 2] {
        assert_eq!(after["spec"]["initContainers"][i]["env"].as_array().unwrap().len(), 3);
        assert_eq!(after["spec"]["initContainers"][i]["volumeMounts"].as_array().unwrap().len(), 1);
    }
    let (reason, message) = refused(&named("main,mian"));
    assert_eq!(reason, Reason::ContainerMissing);
    assert!(message.contains("\"mian\"") && message.contains("\"setup\", \"proxy\", \"main\""), "{message}");
    assert_eq!(refused(&named("agent-creds")).0, Reason::ContainerMissing);
    let debugged =
        with(named("debug"), "/spec/ephemeralContainers", json!([{"name": "debug", "image": "x"}]));
    assert_eq!(refused(&debugged).0, Reason::ContainerMissing);
    assert_eq!(
        refused(&with(
            injected(&pod()),
            "/metadata/annotations/agent-creds~1containers",
            json!("agent-creds")
        ))
        .0,
        Reason::ContainerMissing
    );
}

#[test]
fn whoever_does_not_ask_is_left_alone_whatever_the_pod_looks_like() {
    for pod in [
        json!(null),
        json!({"metadata": {}}),
        json!({"metadata": {"annotations": null}, "spec": 3}),
        json!({"metadata": {"annotations": {"agent-creds/inject": "false", "agent-creds/typo": "x"}}}),
        json!({"metadata": {"annotations": {"agent-creds/inject": null}}, "spec": {"hostNetwork": true}}),
        json!({"metadata": {"annotations": {"agent-creds/grants": 1}}, "spec": {}}),
        json!({"metadata": {"annotations": {"other": 1}}, "spec": {"volumes": [{"name": "agent-creds-spool"}]}}),
    ] {
        assert_eq!(
            decide(&pod, &policy(), &keys(), "ops", NOW),
            Decision::Unchanged(Reason::NotAsked),
            "{pod}"
        );
    }
}

#[test]
fn a_mirror_pod_cannot_be_changed() {
    let mirror = with(pod(), "/metadata/annotations/kubernetes.io~1config.mirror", json!("x"));
    assert_eq!(decide(&mirror, &policy(), &keys(), "ops", NOW), Decision::Unchanged(Reason::MirrorPod));
}

#[test]
fn a_second_call_changes_nothing() {
    let after = injected(&pod());
    assert_eq!(decide(&after, &policy(), &keys(), "ops", NOW), Decision::Unchanged(Reason::AlreadyInjected));
}

#[test]
fn a_container_that_came_later_gets_access_too() {
    let after = with(injected(&pod()), "/spec/containers/1", json!({"name": "late", "image": "x"}));
    let Decision::Injected { reason, patch, warnings } = decide(&after, &policy(), &keys(), "ops", NOW)
    else {
        panic!("refused")
    };
    assert_eq!((reason, warnings.len()), (Reason::Completed, 0));
    let paths: Vec<_> = patch.operations().iter().map(|operation| operation.path.as_str()).collect();
    let seal = "/metadata/annotations/agent-creds~1seal";
    assert_eq!(paths, ["/spec/containers/1/env", "/spec/containers/1/volumeMounts", seal]);
}

#[test]
fn a_later_call_accepts_only_a_seal_of_the_last_ten_minutes() {
    let after = injected(&pod());
    let joined = with(after.clone(), "/spec/containers/1", json!({"name": "late", "image": "x"}));
    // What the request says about the creation has no effect.
    let backdated = with(joined.clone(), "/metadata/creationTimestamp", json!("2026-01-01T00:00:00Z"));
    let reason = |pod: &Value, seconds| decide(pod, &policy(), &keys(), "ops", NOW + seconds).reason();
    assert_eq!((reason(&after, 600), reason(&joined, 600)), (Reason::AlreadyInjected, Reason::Completed));
    for pod in [&after, &joined, &backdated] {
        assert_eq!(reason(pod, 601), Reason::SealTime);
    }
}

#[test]
fn a_later_call_keeps_the_time_of_the_seal() {
    let mut joined = with(injected(&pod()), "/spec/containers/1", json!({"name": "late", "image": "x"}));
    let Decision::Injected { patch, .. } = decide(&joined, &policy(), &keys(), "ops", NOW + 600) else {
        panic!("refused")
    };
    patch.apply(&mut joined).unwrap();
    let seal = joined["metadata"]["annotations"]["agent-creds/seal"].as_str().unwrap();
    assert_eq!(Sealed::open(seal, &keys()).unwrap().issued_at, NOW);
    assert_eq!(decide(&joined, &policy(), &keys(), "ops", NOW + 601).reason(), Reason::SealTime);
}

#[test]
fn mode_pod_warns_in_one_short_line() {
    let Decision::Injected { warnings, .. } = decide(&pod(), &policy(), &keys(), "ops", NOW) else {
        panic!("refused")
    };
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("ops/devops-agent") && warnings[0].contains("can read the Secrets"),
        "{warnings:?}"
    );
    assert!(warnings[0].len() <= 256, "{}", warnings[0].len());
}

#[test]
fn each_kind_of_annotation_error_has_its_reason() {
    for (key, value, reason) in [
        ("inject", "yes", Reason::AnnotationInvalid),
        ("grants", "Pager", Reason::AnnotationInvalid),
        ("grants", "", Reason::NoGrants),
        ("port", "80", Reason::AnnotationInvalid),
        ("forward-proxy", "true", Reason::AnnotationNotBuilt),
        ("grant", "x", Reason::AnnotationUnknown),
    ] {
        let pod = with(pod(), &format!("/metadata/annotations/agent-creds~1{key}"), json!(value));
        let (found, message) = refused(&pod);
        assert_eq!(found, reason, "{message}");
        assert!(message.starts_with("metadata.annotations: "), "{message}");
    }
    assert_eq!(
        refused(&with(pod(), "/metadata/annotations/agent-creds~1port", json!(7000))).0,
        Reason::AnnotationInvalid
    );
}

#[test]
fn what_is_no_pod_is_refused_by_path() {
    for (pointer, value, path) in [
        ("/spec", json!([]), "spec: "),
        ("/spec/containers", json!([]), "spec.containers: "),
        ("/spec/containers/0", json!({"image": "x"}), "spec.containers[0]: "),
        ("/spec/containers/0/env", json!({}), "spec.containers[0].env: "),
        ("/spec/initContainers", json!("x"), "spec.initContainers: "),
        ("/spec/volumes", json!({}), "spec.volumes: "),
        ("/metadata/labels", json!([]), "metadata.labels: "),
        ("/spec/volumes", json!(vec![json!({}); 1001]), "spec.volumes: "),
        ("/spec/containers", json!(vec![json!({"name": "a"}); 1001]), "spec.containers: "),
    ] {
        let (reason, message) = refused(&with(pod(), pointer, value));
        assert_eq!(reason, Reason::PodInvalid);
        assert!(message.starts_with(path), "{message}");
    }
}
