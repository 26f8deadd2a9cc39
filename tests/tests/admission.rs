//! Admission by a real API server: defaults, its built-in plugins, other webhooks, and a webhook that is down. Each
//! test has its own namespace and registration, and `admit` runs in this process.

mod cluster;
mod other;

use agent_creds_webhook::pod::decide::{Decision, decide};
use agent_creds_webhook::pod::seal_keys::Keys;
use agent_creds_webhook::policy::Policy;
use cluster::{Cluster, SEAL_KEY};
use serde_json::{Value, json};

const POLICY: &str = "{sidecar: {image: 'registry.example/agent-creds-sidecar@sha256:0000', imagePullPolicy: Always, \
                      resources: {requests: {cpu: 5m}, limits: {memory: 64Mi}}}, identity: {mode: pod}}";

/// An agent without a ServiceAccount token, so that the API server adds no mount.
fn agent(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty,datadog=team-datadog"},
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "agent:1"}],
        },
    })
}

fn sidecar(pod: &Value) -> &Value {
    let containers = pod["spec"]["initContainers"].as_array().expect("init containers");
    containers.iter().find(|container| container["name"] == "agent-creds").expect("the sidecar")
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn the_stored_pod_equals_the_injected_one() {
    let cluster = Cluster::start("equal", POLICY).await;
    let stored = cluster.create(&agent("agent")).await.expect("created");
    let policy = Policy::parse(POLICY, cluster.authority.ca_pem().as_bytes()).expect("a policy");
    let keys = Keys::new(&SEAL_KEY, None).expect("keys");
    let now = jiff::Timestamp::now().as_second();
    let Decision::Injected { patch, .. } = decide(&agent("agent"), &policy, &keys, &cluster.namespace, now)
    else {
        panic!("not injected");
    };
    let mut expected = agent("agent");
    patch.apply(&mut expected).expect("the patch fits");

    assert_eq!(stored["spec"]["initContainers"], expected["spec"]["initContainers"]);
    assert_eq!(stored["spec"]["volumes"], expected["spec"]["volumes"]);
    for field in ["env", "volumeMounts"] {
        assert_eq!(stored["spec"]["containers"][0][field], expected["spec"]["containers"][0][field]);
    }
    assert_eq!(stored["metadata"]["labels"], expected["metadata"]["labels"]);
    // The seal contains the time of the request.
    let unsealed = |pod: &Value| {
        let mut annotations = pod["metadata"]["annotations"].clone();
        assert!(annotations.as_object_mut().expect("annotations").remove("agent-creds/seal").is_some());
        annotations
    };
    assert_eq!(unsealed(&stored), unsealed(&expected));
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn the_api_servers_own_plugins_do_not_make_a_second_call_fail() {
    let cluster = Cluster::start("plugins", &POLICY.replace("Always", "IfNotPresent")).await;
    let limits = json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits"},
        "spec": {"limits": [{
            "type": "Container",
            "default": {"cpu": "500m", "memory": "512Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
        }]},
    });
    cluster.create(&limits).await.expect("a LimitRange");
    let mut agent = agent("agent");
    agent["spec"]["automountServiceAccountToken"] = json!(true);
    let before = cluster.counted().await;
    let stored = cluster.create(&agent).await.expect("created");

    let sidecar = sidecar(&stored);
    assert_eq!(sidecar["imagePullPolicy"], "Always", "set by AlwaysPullImages");
    assert_eq!(
        sidecar["resources"]["limits"],
        json!({"cpu": "500m", "memory": "64Mi"}),
        "set by LimitRanger"
    );
    assert_eq!(sidecar["resources"]["requests"], json!({"cpu": "5m", "memory": "64Mi"}));
    let mounts = sidecar["volumeMounts"].as_array().expect("mounts");
    assert_eq!(mounts.len(), 4, "one is added by the ServiceAccount plugin");
    assert!(
        mounts[3]["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-")),
        "{mounts:?}"
    );
    let after = cluster.counted().await;
    let counted = |reason| after(reason) - before(reason);
    assert_eq!(
        (counted("new_pod"), counted("already_injected")),
        (1, 1),
        "the plugins changed the sidecar, so the webhook was called again"
    );

    // People create copies of pods, which contain everything that the webhook adds.
    let mut copy = stored.clone();
    copy["metadata"] = json!({
        "name": "copy",
        "labels": stored["metadata"]["labels"],
        "annotations": stored["metadata"]["annotations"],
    });
    copy.as_object_mut().expect("a pod").remove("status");
    let copied = cluster.create(&copy).await.expect("created");
    assert_eq!(copied["spec"]["initContainers"], stored["spec"]["initContainers"]);
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_dry_run_shows_the_sidecar_and_stores_nothing() {
    let cluster = Cluster::start("dry-run", POLICY).await;
    let shown =
        cluster.kubectl(&["create", "--dry-run=server", "-o", "json", "-f", "-"], &agent("agent")).await;
    let shown: Value = serde_json::from_str(&shown.expect("allowed").0).expect("JSON");
    assert_eq!(sidecar(&shown)["restartPolicy"], "Always");
    let stored = cluster.kubectl(&["get", "pods", "-o", "name"], &Value::Null).await.expect("a list");
    assert_eq!(stored.0, "");
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_container_of_a_later_webhook_gets_access_by_reinvocation() {
    let cluster = Cluster::start("late", POLICY).await;
    let helper = json!([{"op": "add", "path": "/spec/containers/-", "value": {"name": "helper", "image": "helper:1"}}]);
    let other = other::start(&cluster, helper).await;
    let before = cluster.counted().await;
    let stored = cluster.create(&agent("agent")).await.expect("created");
    let helper = &stored["spec"]["containers"][1];
    assert_eq!(helper["env"][0], json!({"name": "AGENT_CREDS_URL", "value": "http://127.0.0.1:9911"}));
    assert_eq!(helper["volumeMounts"][0]["name"], "agent-creds-shared");
    assert_eq!(helper["volumeMounts"][0]["readOnly"], true);
    let after = cluster.counted().await;
    let counted = |reason| after(reason) - before(reason);
    assert_eq!((counted("new_pod"), counted("completed")), (1, 1));
    other.finish(&cluster).await;
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_later_webhook_that_mounts_the_sidecars_volumes_is_refused() {
    let cluster = Cluster::start("hostile", POLICY).await;
    let mount = json!({"name": "agent-creds-spool", "mountPath": "/spool"});
    let theft = json!([{"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": mount}]);
    let other = other::start(&cluster, theft).await;
    let refused = cluster.create(&agent("agent")).await.expect_err("refused");
    let sentence = "spec.containers[0].volumeMounts[1].name: volume agent-creds-spool is the sidecar's alone";
    assert!(refused.contains(sentence), "{refused}");
    other.finish(&cluster).await;

    let strip = json!([{"op": "remove", "path": "/spec/initContainers/0/startupProbe"}]);
    let other = other::start(&cluster, strip).await;
    let refused = cluster.create(&agent("agent")).await.expect_err("refused");
    let sentence = "spec.initContainers[0].startupProbe: another admission webhook removed this";
    assert!(refused.contains(sentence), "{refused}");
    other.finish(&cluster).await;
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn only_annotated_pods_depend_on_the_webhook() {
    let mut cluster = Cluster::start("down", POLICY).await;
    cluster.create(&agent("before")).await.expect("created");
    cluster.stop_admission().await;

    let refused = cluster.create(&agent("agent")).await.expect_err("refused");
    assert!(refused.contains("failed calling webhook \"pods.mutate.agent-creds\""), "{refused}");
    for (name, annotations) in [
        ("none", Value::Null),
        ("others", json!({"example.com/x": "y"})),
        ("false", json!({"agent-creds/inject": "false"})),
        ("no-inject", json!({"agent-creds/grants": "pagerduty"})),
    ] {
        let mut pod = agent(name);
        pod["metadata"]["annotations"] = annotations;
        let stored = cluster.create(&pod).await.expect("created");
        assert_eq!(stored["spec"].get("initContainers"), None, "{name}");
    }
    // The webhook is not called for changes of existing pods.
    for arguments in
        [&["label", "pod/before", "a=b"][..], &["delete", "pod/before", "--grace-period=0", "--force"]]
    {
        cluster.kubectl(arguments, &Value::Null).await.expect("done");
    }
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn kubectl_shows_refusals_and_warnings() {
    let cluster = Cluster::start("words", POLICY).await;
    let mut bad = agent("agent");
    bad["spec"]["hostNetwork"] = json!(true);
    bad["spec"]["shareProcessNamespace"] = json!(true);
    let refused = cluster.create(&bad).await.expect_err("refused");
    assert!(
        refused.contains(
            "admission webhook \"pods.mutate.agent-creds\" denied the request: agent-creds: spec.hostNetwork: the pod \
             would share a namespace of the node; remove it; spec.shareProcessNamespace: every container could read the sidecar's \
             memory through /proc; remove it"
        ),
        "{refused}"
    );
    let mut typo = agent("agent");
    typo["metadata"]["annotations"]["agent-creds/inject"] = json!("yes");
    let refused = cluster.create(&typo).await.expect_err("refused");
    assert!(
        refused.contains("annotation agent-creds/inject: found \"yes\"; write \"true\" or \"false\""),
        "{refused}"
    );

    let (_, notices) = cluster.kubectl(&["create", "-f", "-"], &agent("agent")).await.expect("created");
    let warning = format!(
        "Warning: agent-creds: identity mode \"pod\": all containers share ServiceAccount {}/default with the sidecar, \
         so the agent itself can read the Secrets of its grants",
        cluster.namespace
    );
    assert!(notices.contains(&warning), "{notices}");
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_restricted_namespace_admits_the_sidecar() {
    let cluster = Cluster::start("restricted", POLICY).await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    cluster
        .kubectl(&["label", "namespace", &cluster.namespace, label], &Value::Null)
        .await
        .expect("labelled");
    let refused = cluster.create(&agent("agent")).await.expect_err("refused");
    let names = refused.contains("container \"main\"") && !refused.contains("\"agent-creds\" must");
    assert!(
        refused.contains("violates PodSecurity") && names,
        "the agent itself is not restricted: {refused}"
    );
    let mut restricted = agent("agent");
    restricted["spec"]["containers"][0]["securityContext"] = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    let stored = cluster.create(&restricted).await.expect("created");
    assert_eq!(sidecar(&stored)["name"], "agent-creds");
    cluster.finish().await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn pods_of_a_deployment_are_injected_by_their_generated_names() {
    let cluster = Cluster::start("deployment", POLICY).await;
    let agent = agent("unused");
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "agents"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "agents"}},
            "template": {
                "metadata": {"labels": {"app": "agents"}, "annotations": agent["metadata"]["annotations"]},
                "spec": agent["spec"],
            },
        },
    });
    cluster.create(&deployment).await.expect("created");
    let injected =
        ["wait", "--for=create", "pod", "-l", "app=agents,agent-creds/injected=true", "--timeout=60s"];
    cluster.kubectl(&injected, &Value::Null).await.expect("a pod");
    let pods = cluster
        .kubectl(&["get", "pods", "-l", "app=agents", "-o", "json"], &Value::Null)
        .await
        .expect("a list");
    let pods: Value = serde_json::from_str(&pods.0).expect("JSON");
    for pod in pods["items"].as_array().expect("pods") {
        assert_eq!(sidecar(pod)["restartPolicy"], "Always");
    }
    cluster.finish().await;
}
