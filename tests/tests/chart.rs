//! The chart as helm renders it without a cluster, and the manifests that are rendered from it: least privilege, and no
//! ignored value. `chart_lifecycle.rs` tests what helm does in a cluster.

mod deployments;
mod identity;
mod keep_alive;
mod manage;
mod manifests;
mod network;
mod policies;
mod rights;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser as _;
use serde_json::{Value, json};

/// A PEM block that satisfies the chart's checks.
const CA: &str = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

#[expect(clippy::disallowed_methods, reason = "the only setting from the environment: the path of helm")]
fn helm() -> OsString {
    std::env::var_os("HELM").unwrap_or_else(|| "helm".into())
}

/// Renders the chart with these values; `Err` is helm's error.
fn try_render(values: &Value, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let mut helm = Command::new(helm())
        .args(["template", "agent-creds", "--namespace", "agent-creds-system", "--kube-version", "1.35.0"])
        .args(["--values", "-"])
        .args(arguments)
        .arg(root().join("charts/agent-creds"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("helm 3 is needed, in PATH or named by HELM (tests/cluster/install builds one): {error}")
        });
    let mut stdin = helm.stdin.take().expect("piped");
    stdin.write_all(values.to_string().as_bytes()).expect("writing the values");
    drop(stdin);
    let output = helm.wait_with_output().expect("waiting for helm");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(documents(&String::from_utf8(output.stdout).expect("helm writes UTF-8")))
}

fn render(values: &Value) -> Vec<Value> {
    try_render(values, &[]).unwrap_or_else(|error| panic!("rendering {values}: {error}"))
}

/// Returns the objects of a YAML stream.
fn documents(text: &str) -> Vec<Value> {
    let parsed = text
        .split("\n---\n")
        .map(|part| serde_yaml::from_str::<Option<Value>>(part.trim_start_matches("---\n")));
    parsed.filter_map(|value| value.expect("rendered YAML")).filter(|value| !value.is_null()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "one {kind}");
    found[0]
}

/// Returns an object of the release.
fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> =
        of_kind(objects, kind).into_iter().filter(|object| object["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "one {kind} {name}");
    found[0]
}

/// Returns the objects of agents, without the release's own.
fn of_agents<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let theirs = |object: &&Value| object["metadata"]["namespace"] != "agent-creds-system";
    of_kind(objects, kind).into_iter().filter(theirs).collect()
}

fn strings(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn policy(objects: &[Value]) -> Value {
    let map = named(objects, "ConfigMap", "agent-creds-policy");
    serde_yaml::from_str(map["data"]["policy.yaml"].as_str().expect("text")).expect("the policy is YAML")
}

/// Two agents that share a grant, and one of another namespace with a grant of the same name.
fn grants() -> Value {
    json!({"grants": [
        {"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": ["devops-agent-pagerduty", "shared"]},
        {"agent": {"namespace": "ops", "name": "night-agent"}, "secrets": ["shared"]},
        {"agent": {"namespace": "dev", "name": "dev-agent"}, "secrets": ["shared"]},
    ]})
}

/// Checks the Pod Security standard `restricted`, field by field, and our additional rules.
fn assert_restricted(pod: &Value) {
    let spec = &pod["spec"];
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert!(spec["securityContext"]["runAsUser"].as_u64().is_some_and(|uid| uid > 0 && uid != 54911));
    for forbidden in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        assert!(spec[forbidden].is_null(), "{forbidden}");
    }
    let containers =
        ["initContainers", "containers"].into_iter().flat_map(|key| spec[key].as_array()).flatten();
    let mut seen = 0;
    for container in containers {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert_ne!(context["privileged"], true);
        assert!(
            container["resources"]["requests"]["cpu"].is_string(),
            "a CPU request is needed by quotas and autoscalers"
        );
        assert!(container["resources"]["limits"]["cpu"].is_null(), "a CPU limit throttles");
        seen += 1;
    }
    assert!(seen > 0);
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        assert!(volume["hostPath"].is_null());
    }
}

#[test]
fn the_webhook_runs_restricted_and_without_a_token() {
    let objects = render(&json!({}));
    let deployment = named(&objects, "Deployment", "agent-creds-admit");
    let pod = &deployment["spec"]["template"];
    assert_restricted(pod);
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    assert_eq!(pod["spec"]["enableServiceLinks"], false);
    assert_eq!(named(&objects, "ServiceAccount", "agent-creds-admit")["automountServiceAccountToken"], false);
    assert_eq!(pod["spec"]["serviceAccountName"], "agent-creds-admit");
    assert!(!pod.to_string().contains("serviceAccountToken"), "no projected token either");
    assert_eq!(deployment["spec"]["replicas"], 2);
}

#[test]
fn admission_has_no_rights_and_only_the_other_roles_have_cluster_wide_ones() {
    let objects = render(&grants());
    for object in &objects {
        let kind = object["kind"].as_str().expect("a kind");
        let name = object["metadata"]["name"].as_str().expect("a name");
        let roles = ["agent-creds-manage", "agent-creds-identity"];
        assert!(!kind.starts_with("Cluster") || roles.contains(&name), "{kind} {name}");
    }
    for binding in of_agents(&objects, "RoleBinding") {
        assert_eq!(binding["roleRef"]["kind"], "Role");
        for subject in binding["subjects"].as_array().expect("subjects") {
            assert_eq!(subject["kind"], "ServiceAccount");
            let own = subject["namespace"] == binding["metadata"]["namespace"];
            assert!(
                own || subject["name"] == "agent-creds-identity",
                "no account of another namespace: {subject}"
            );
        }
    }
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        for binding in of_kind(&objects, kind) {
            assert_ne!(binding["subjects"][0]["name"], "agent-creds-admit");
        }
    }
}

/// Returns the same values in identity mode `pod`.
fn as_the_pod(mut values: Value) -> Value {
    values["identity"]["mode"] = "pod".into();
    values
}

#[test]
fn an_agent_may_read_only_its_own_secrets_by_name() {
    let objects = render(&as_the_pod(grants()));
    let roles = of_agents(&objects, "Role");
    assert_eq!(roles.len(), 3);
    for role in &roles {
        for rule in role["rules"].as_array().expect("rules") {
            let verbs = strings(&rule["verbs"]);
            assert!(!verbs.contains("list") && !verbs.contains("*") && !verbs.contains("delete"));
            match strings(&rule["resources"]).into_iter().collect::<Vec<_>>()[..] {
                ["secrets"] => {
                    let names = strings(&rule["resourceNames"]);
                    assert!(!names.is_empty(), "a rule without names covers every Secret");
                    let state = names.iter().all(|name| name.ends_with("-state"));
                    let expected: &[&str] =
                        if state { &["get", "update", "watch"] } else { &["get", "watch"] };
                    assert!(verbs.iter().eq(expected), "{names:?}: {verbs:?}");
                }
                ["events"] => {
                    assert_eq!(rule["apiGroups"], json!(["events.k8s.io"]));
                    assert!(verbs.iter().eq(&["create"]), "only the used verbs");
                }
                ref other => panic!("a right to {other:?}"),
            }
        }
    }
    let night =
        roles.iter().find(|role| role["metadata"]["name"] == "agent-creds-night-agent").expect("a Role");
    assert_eq!(night["rules"][0]["resourceNames"], json!(["shared"]));
    assert_eq!(night["rules"][1]["resourceNames"], json!(["shared-state"]));
}

#[test]
fn a_state_secret_is_rendered_once_and_without_data() {
    let objects = render(&grants());
    let secrets = of_agents(&objects, "Secret");
    let names: BTreeSet<_> = secrets
        .iter()
        .map(|secret| {
            format!("{}/{}", secret["metadata"]["namespace"], secret["metadata"]["name"]).replace('"', "")
        })
        .collect();
    assert_eq!(secrets.len(), 3);
    assert!(
        names.iter().eq(&["dev/shared-state", "ops/devops-agent-pagerduty-state", "ops/shared-state"]),
        "{names:?}"
    );
    for secret in secrets {
        assert!(
            secret.get("data").is_none() && secret.get("stringData").is_none(),
            "an apply would empty it"
        );
        let name = secret["metadata"]["name"].as_str().expect("a name");
        let labels = &secret["metadata"]["labels"];
        assert_eq!(labels["agent-creds/state-of"], name.strip_suffix("-state").expect("the suffix"));
        assert!(labels["helm.sh/chart"].is_null() && labels["app.kubernetes.io/version"].is_null());
        let annotations = &secret["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        assert!(annotations["helm.sh/hook"].is_null(), "a GitOps controller recreates hooks at each sync");
    }
}

#[test]
fn the_api_server_calls_the_webhook_only_for_annotated_pods() {
    let objects = render(&json!({"excludedNamespaces": ["monitoring", "kube-system"]}));
    let webhook = &only(&objects, "MutatingWebhookConfiguration")["webhooks"][0];
    assert_eq!(webhook["name"], "pods.mutate.agent-creds");
    let rule = |operation: &str, resource: &str| {
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": [resource],
            "scope": "Namespaced"})
    };
    assert_eq!(webhook["rules"], json!([rule("CREATE", "pods")]));
    let validating = &only(&objects, "ValidatingWebhookConfiguration")["webhooks"];
    let last = &validating[0];
    assert_eq!(last["name"], "pods.validate.agent-creds");
    assert_eq!(last["rules"], json!([rule("CREATE", "pods")]));
    for same in ["namespaceSelector", "matchConditions", "failurePolicy", "sideEffects"] {
        assert_eq!(last[same], webhook[same]);
    }
    let selector = &webhook["namespaceSelector"]["matchExpressions"][0];
    assert_eq!(selector["operator"], "NotIn");
    assert_eq!(selector["values"], json!(["agent-creds-system", "kube-system", "monitoring"]));
    assert_eq!(webhook["failurePolicy"], "Fail");
    assert_eq!(webhook["sideEffects"], "None");
    assert_eq!(webhook["matchConditions"].as_array().map(Vec::len), Some(1));

    // Ephemeral containers of injected pods, also if their namespace is excluded later.
    let debug = &validating[1];
    assert_eq!(debug["name"], "ephemeralcontainers.validate.agent-creds");
    assert_eq!(debug["rules"], json!([rule("UPDATE", "pods/ephemeralcontainers")]));
    let selector = &debug["namespaceSelector"]["matchExpressions"][0];
    assert_eq!(selector["values"], json!(["agent-creds-system", "kube-system"]));
    assert_eq!(debug["matchConditions"].as_array().map(Vec::len), Some(1));
    let condition = debug["matchConditions"][0]["expression"].as_str().expect("an expression");
    assert!(condition.contains("'agent-creds/seal'"), "{condition}");
    for same in ["failurePolicy", "sideEffects", "clientConfig", "timeoutSeconds", "matchPolicy"] {
        assert_eq!(debug[same], last[same]);
    }
    assert_eq!(validating.as_array().map(Vec::len), Some(2));
    // chart_lifecycle.rs compares the living object, so every field with a default is covered there.
}

#[test]
fn the_charts_app_version_is_this_version() {
    let chart: Value = serde_yaml::from_str(&read("charts/agent-creds/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_selector_never_changes() {
    let objects = render(&json!({}));
    let frozen = json!({"app.kubernetes.io/name": "agent-creds", "app.kubernetes.io/component": "admit"});
    assert_eq!(named(&objects, "Deployment", "agent-creds-admit")["spec"]["selector"]["matchLabels"], frozen);
    assert_eq!(named(&objects, "Service", "agent-creds-admit")["spec"]["selector"], frozen);
    assert_eq!(
        named(&objects, "PodDisruptionBudget", "agent-creds-admit")["spec"]["selector"]["matchLabels"],
        frozen
    );
}

#[test]
fn the_rendered_policy_has_all_settings() {
    let objects = render(&json!({
        "image": {"registry": "localhost:5000/x", "sidecar": {"tag": "1", "digest": format!("sha256:{}", "a".repeat(64))}},
        "sidecar": {"uid": 1_234_567_890, "resources": {"requests": {"cpu": 1}, "limits": {"memory": "32Mi"}}},
        "defaultGrants": ["pagerduty", "datadog=team-datadog"],
        "allowCapabilities": ["NET_RAW"],
        "allowHostPaths": ["/var/log"],
        "seal": {"tolerate": ["container.newField=\"x\""]},
        "providerRoots": CA,
    }));
    assert_eq!(
        policy(&objects),
        json!({
            "sidecar": {
                "image": format!("localhost:5000/x/sidecar@sha256:{}", "a".repeat(64)),
                "imagePullPolicy": "IfNotPresent",
                "uid": 1_234_567_890,
                "resources": {"requests": {"cpu": 1, "memory": "16Mi"}, "limits": {"memory": "32Mi"}},
            },
            "apiServer": "https://kubernetes.default.svc",
            "identity": {
                "mode": "exchange",
                "server": "https://agent-creds-identity.agent-creds-system.svc",
                "caConfigMap": "agent-creds-system/agent-creds-ca",
            },
            "seal": {"tolerate": ["container.newField=\"x\""]},
            "defaultGrants": ["pagerduty", "datadog=team-datadog"],
            "allowCapabilities": ["NET_RAW"],
            "allowHostPaths": ["/var/log"],
            "providerRoots": CA,
        })
    );
}

#[test]
fn only_a_changed_policy_restarts_the_webhook() {
    let checksum = |values: &Value| {
        let objects = render(values);
        named(&objects, "Deployment", "agent-creds-admit")["spec"]["template"]["metadata"]["annotations"]["checksum/policy"].clone()
    };
    assert_ne!(checksum(&json!({})), checksum(&json!({"allowHostPaths": ["/var/log"]})));
    assert_eq!(checksum(&json!({})), checksum(&grants()));
}
