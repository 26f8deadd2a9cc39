//! The policies about credential accounts: which pods, tokens and Secrets of such an account can be created. A
//! keep-alive pod as the Job controller creates it is allowed.

use std::time::Duration;

use agent_creds_tests::cluster::{eventually, kubectl, pipe};
use serde_json::{Value, json};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "devops-agent-creds";
/// The type of a Secret into which the token controller writes a token.
const OF_TOKENS: &str = "kubernetes.io/service-account-token";

const NO_ACCOUNT: &str =
    "only the keep-alive pods of agent-creds may run as one; run the pod as another account";
const CHANGED: &str = "must equal the template of the agent-creds CronJob; restore the CronJob";
const NAME: &str = "the name of a keep-alive pod must begin with agent-creds-";
const TOKEN: &str = "only the identity server and the kubelet may create tokens of a credential account";
const SECRET: &str = "must not be stored in Secrets; name another account";

/// Installs a release whose agent has a keep-alive CronJob.
fn install(more: &[&str]) {
    let grants = json!([{"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": ["a", "b"],
        "keepAlive": {"schedule": "0 0 29 2 *"}}]);
    let grants = format!("grants={grants}");
    FIRST.helm("install", &[], &[&["--set-json", &grants], more].concat()).expect("installing");
}

/// Returns the pod that the Job controller creates for the CronJob.
fn keep_alive() -> Value {
    let cron_job = get(&["cronjob", "agent-creds-devops-agent-creds", "--namespace", "ops"]);
    let mut pod = cron_job["spec"]["jobTemplate"]["spec"]["template"].clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["namespace"] = "ops".into();
    pod["metadata"]["generateName"] = "agent-creds-devops-agent-creds-29384756-".into();
    pod
}

fn admit(pod: &Value) -> Result<String, String> {
    pipe(&pod.to_string(), &["create", "--dry-run=server"])
}

/// Checks that this policy refused the request with its own message.
#[track_caller]
fn refused(result: Result<String, String>, policy: &str, sentence: &str) {
    let error = result.expect_err("the policy refuses it");
    assert!(error.contains(&format!("ValidatingAdmissionPolicy 'agent-creds-{policy}'")), "{error}");
    assert!(error.contains(sentence), "expected: {sentence}\nfound: {error}");
}

/// Waits until the new policies are in force.
fn in_force() {
    let mut pod = keep_alive();
    pod["spec"]["containers"][0]["image"] = "x".into();
    eventually(TIMEOUT, || match admit(&pod) {
        Err(error) if error.contains(NO_ACCOUNT) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn only_the_keep_alive_pod_runs_as_a_credential_account() {
    let _cluster = Cluster::alone();
    // Company roots can be longer than an expression may be.
    let roots = format!("providerRoots=-----BEGIN CERTIFICATE-----\n{}", "x".repeat(120_000));
    install(&["--set-string", &roots]);
    in_force();
    admit(&keep_alive()).expect("the Job controller's pod");
    // Not every namespace enforces Pod Security. The next test resets the label.
    let label = "pod-security.kubernetes.io/enforce=privileged";
    kubectl(&["label", "namespace", "ops", "--overwrite", label]).expect("a namespace without restrictions");

    let changed = |pointer: &str, value: Value| {
        let mut pod = keep_alive();
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = pod.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
        match parent {
            Value::Array(list) if key == "-" => list.push(value),
            Value::Array(list) => list[key.parse::<usize>().expect("an index")] = value,
            other => other[key] = value,
        }
        pod
    };
    let container = json!({"name": "other", "image": "x", "securityContext": {
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    for (pointer, value) in [
        ("/spec/containers/-", container.clone()),
        ("/spec/initContainers", json!([container])),
        ("/spec/containers/0/image", json!("registry.example.com/agent-creds/sidecar:other")),
        ("/spec/containers/0/name", json!("refresh")),
        ("/spec/containers/0/command", json!(["/agent-creds-sidecar", "serve"])),
        ("/spec/containers/0/command", Value::Null),
    ] {
        refused(admit(&changed(pointer, value)), "accounts", NO_ACCOUNT);
    }
    let hook = json!({"exec": {"command": ["/agent-creds-sidecar", "refresh"]}});
    let last = keep_alive()["spec"]["containers"][0]["args"][6].clone();
    assert!(last.as_str().is_some_and(|last| last.starts_with("--provider-roots-data=")), "{last}");
    for (pointer, value) in [
        ("/spec/containers/0/args/-", json!("--api-server=https://elsewhere.example.com")),
        ("/spec/containers/0/args/-", json!("--identity-dir=/elsewhere")),
        ("/spec/containers/0/args/4", json!("--api-server=https://elsewhere.example.com")),
        ("/spec/containers/0/args/6", json!("--provider-roots-data=eHh4")),
        ("/spec/containers/0/args", json!([])),
        ("/spec/containers/0/env", json!([{"name": "LOCALDOMAIN", "value": "example.com"}])),
        ("/spec/containers/0/envFrom", json!([{"configMapRef": {"name": "x"}}])),
        ("/spec/containers/0/lifecycle", json!({"postStart": hook})),
        ("/spec/containers/0/startupProbe", hook.clone()),
        ("/spec/containers/0/livenessProbe", hook.clone()),
        ("/spec/containers/0/readinessProbe", hook.clone()),
        ("/spec/containers/0/terminationMessagePath", json!("/run/agent-creds-spool/x")),
        ("/spec/containers/0/volumeMounts/-", json!({"name": "spool", "mountPath": "/etc"})),
        ("/spec/containers/0/volumeMounts/0/mountPath", json!("/etc")),
        ("/spec/containers/0/volumeMounts/0/subPath", json!("x")),
        ("/spec/volumes/-", json!({"name": "more", "emptyDir": {}})),
        ("/spec/volumes/0", json!({"name": "spool", "persistentVolumeClaim": {"claimName": "x"}})),
        ("/spec/volumes/0/emptyDir/medium", json!("")),
        ("/spec/volumes/1/projected/sources/1/configMap/name", json!("mine")),
        ("/spec/volumes/1/projected/sources/1", json!({"secret": {"name": "mine"}})),
        ("/spec/volumes/1/projected/sources/-", json!({"configMap": {"name": "kube-root-ca.crt"}})),
        ("/spec/automountServiceAccountToken", json!(true)),
        ("/spec/hostNetwork", json!(true)),
        ("/spec/hostPID", json!(true)),
        ("/spec/hostIPC", json!(true)),
        ("/spec/dnsPolicy", json!("Default")),
        ("/spec/dnsConfig", json!({"searches": ["example.com"]})),
        ("/spec/hostAliases", json!([{"ip": "203.0.113.1", "hostnames": ["kubernetes.default.svc"]}])),
    ] {
        refused(admit(&changed(pointer, value)), "accounts", CHANGED);
    }
    refused(admit(&changed("/metadata/generateName", json!("manual-"))), "accounts", NAME);
    refused(admit(&changed("/metadata/name", json!("manual"))), "accounts", NAME);
    // Additional grants of the account, and fields that a cluster may change.
    for (pointer, value) in [
        ("/spec/containers/0/args/-", json!("--grant=more=ops/c")),
        ("/spec/containers/0/imagePullPolicy", json!("Always")),
        ("/spec/containers/0/resources", json!({"limits": {"memory": "64Mi"}})),
        ("/spec/nodeSelector", json!({"pool": "infra"})),
        ("/spec/imagePullSecrets", json!([{"name": "pull"}])),
        ("/metadata/annotations", json!({"example.com/a": "b"})),
    ] {
        admit(&changed(pointer, value)).unwrap_or_else(|error| panic!("{pointer}: {error}"));
    }
    // Pods of other accounts are not restricted, nor an account of the same name in another namespace.
    let mut pod = changed("/spec/serviceAccountName", json!("default"));
    pod["spec"]["containers"][0]["image"] = "x".into();
    admit(&pod).expect("another account");
    kubectl(&["create", "serviceaccount", ACCOUNT, "--namespace", "elsewhere"]).expect("the same name");
    pod["spec"]["serviceAccountName"] = ACCOUNT.into();
    pod["metadata"]["namespace"] = "elsewhere".into();
    admit(&pod).expect("another namespace");
    kubectl(&["delete", "serviceaccount", ACCOUNT, "--namespace", "elsewhere"]).expect("cleanup");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_keep_alive_pod_cannot_be_changed() {
    let _cluster = Cluster::alone();
    install(&[]);
    in_force();
    let mut pod = keep_alive();
    pod["metadata"].as_object_mut().expect("metadata").remove("generateName");
    pod["metadata"]["name"] = "agent-creds-kept".into();
    pipe(&pod.to_string(), &["create"]).expect("the Job controller's pod");
    let kept = ["--namespace", "ops"];
    let patch = |more: &[&str], change: Value| {
        let change = json!({"spec": change}).to_string();
        kubectl(&[&kept[..], &["patch", "pod", "agent-creds-kept", "--patch", &change], more].concat())
    };
    let container = |change: Value| {
        let mut container = change;
        container["name"] = "agent-creds".into();
        json!({"containers": [container]})
    };
    let image = patch(&[], container(json!({"image": "localhost/other:1"})));
    refused(image, "pods", "the image of container agent-creds cannot be changed in a running pod");
    for resources in [json!({"requests": {"cpu": "1m"}}), json!({"limits": {"memory": "17Mi"}})] {
        let resized = patch(&["--subresource=resize"], container(json!({"resources": resources})));
        refused(resized, "pods", "the resources of container agent-creds");
    }
    let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let ephemeral =
        json!({"ephemeralContainers": [{"name": "reader", "image": "x", "securityContext": context}]});
    let joined = patch(&["--subresource=ephemeralcontainers"], ephemeral);
    refused(joined, "pods", "a keep-alive pod cannot get an ephemeral container");
    patch(&[], json!({"activeDeadlineSeconds": 5})).expect("a change of another field");
    kubectl(&[&kept[..], &["label", "pod", "agent-creds-kept", "a=b"]].concat()).expect("a label");
    kubectl(&[&kept[..], &["delete", "pod", "agent-creds-kept", "--now"]].concat()).expect("deletion");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn only_identity_server_and_kubelet_can_create_tokens_of_a_credential_account() {
    let _cluster = Cluster::alone();
    install(&[]);
    in_force();
    let mint = |more: &[&str]| kubectl(&[&["create", "token", "--namespace", "ops"], more].concat());
    let made = eventually(TIMEOUT, || match mint(&[ACCOUNT]) {
        Err(error) if error.contains(TOKEN) => Ok(Err(error)),
        other => Err(format!("{other:?}")),
    });
    refused(made, "tokens", TOKEN);
    refused(mint(&[ACCOUNT, "--audience=vault"]), "tokens", TOKEN);
    mint(&["default"]).expect("another account");
    mint(&[ACCOUNT, "--as=system:serviceaccount:agent-creds-system:agent-creds-identity"])
        .expect("the identity server");
    let other = mint(&[ACCOUNT, "--as=system:serviceaccount:agent-creds-system:agent-creds-manage"]);
    assert!(other.expect_err("without a right").contains("cannot create resource"));

    let secret = |name: &str, account: &str, kind: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": name, "namespace": "ops",
            "annotations": {"kubernetes.io/service-account.name": account}}})
        .to_string()
    };
    refused(pipe(&secret("token", ACCOUNT, OF_TOKENS), &["create"]), "secrets", SECRET);
    pipe(&secret("other", "default", OF_TOKENS), &["create"]).expect("another account");
    refused(pipe(&secret("other", ACCOUNT, OF_TOKENS), &["apply"]), "secrets", SECRET);
    let annotation = format!("kubernetes.io/service-account.name={ACCOUNT}");
    let annotate = ["annotate", "secret", "other", "--namespace", "ops", "--overwrite", &annotation];
    refused(kubectl(&annotate), "secrets", SECRET);
    pipe(&secret("opaque", ACCOUNT, "Opaque"), &["create"]).expect("a Secret of another type");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_token_secret_from_before_the_policy_can_be_changed_and_deleted() {
    let _cluster = Cluster::alone();
    install(&["--set", "policies.credentialAccounts=false"]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "before", "namespace": "ops",
            "annotations": {"kubernetes.io/service-account.name": ACCOUNT}}});
    pipe(&secret.to_string(), &["create"]).expect("without the policy");
    let mut pod = keep_alive();
    pod["spec"]["containers"][0]["image"] = "x".into();
    admit(&pod).expect("without the policy");
    kubectl(&["create", "token", ACCOUNT, "--namespace", "ops"]).expect("without the policy");

    let values = ["--reuse-values", "--set", "policies.credentialAccounts=true"];
    FIRST.helm("upgrade", &[], &values).expect("enabling the policy");
    in_force();
    kubectl(&["label", "secret", "before", "--namespace", "ops", "a=b"]).expect("changing a label");
    kubectl(&["delete", "secret", "before", "--namespace", "ops"]).expect("deletion");
}

/// An expression in a policy has at most 100,000 characters.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_api_server_accepts_policies_for_650_accounts() {
    let _cluster = Cluster::alone();
    let grant = |n: usize| {
        json!({"agent": {"namespace": "ops", "name": format!("agent-{n}")}, "secrets": ["a"],
            "credential": {"namespace": "ops", "name": format!("{}-{n}", "x".repeat(60))}})
    };
    let grants = json!((0..650).map(grant).collect::<Vec<_>>());
    let arguments = ["--set-json", &format!("grants={grants}"), "--kube-version", "1.35.0"];
    let rendered = FIRST.helm("template", &[], &arguments).expect("rendering");
    let policies: Vec<_> = rendered
        .split("\n---\n")
        .filter(|part| part.contains("kind: ValidatingAdmissionPolicy\n") && part.contains("accounts2"))
        .collect();
    assert_eq!(policies.len(), 3, "pods, tokens and Secrets");
    for policy in policies {
        pipe(policy, &["create", "--dry-run=server"]).expect("expressions that compile");
    }
}
