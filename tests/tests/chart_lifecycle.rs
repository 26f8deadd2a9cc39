//! The chart on a real API server: the effect of helm commands on state Secrets (a rotated refresh token exists nowhere
//! else), and the API server's treatment of the other objects. There are no nodes, so the webhook never answers, and
//! the API server refuses each pod for which it calls the webhook.

mod cluster;
mod newer;
mod policies_accounts;
mod policies_checked;
mod policies_injected;

use serde_json::{Value, json};

use agent_creds_tests::cluster::{self as api, SYSTEM, get, helm, kubectl, manifest, pipe};
use cluster::{Cluster, FIRST, SECOND};

/// Updates the existing object, as the sidecar does.
fn write_state(name: &str) {
    let mut secret = get(&["secret", name, "--namespace", "ops"]);
    assert!(secret.get("data").is_none(), "{name} was created with data");
    secret["stringData"] = json!({"state": "the only refresh token"});
    pipe(&secret.to_string(), &["replace"]).expect("writing the state");
}

fn assert_state(names: &[&str], after: &str) {
    for name in names {
        let secret = get(&["secret", name, "--namespace", "ops"]);
        assert_eq!(secret["data"]["state"], "dGhlIG9ubHkgcmVmcmVzaCB0b2tlbg==", "{name} after {after}");
        let label = &secret["metadata"]["labels"]["agent-creds/state-of"];
        assert_eq!(label, name.trim_end_matches("-state"), "after {after}");
    }
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_state_secret_survives_every_helm_command() {
    let _cluster = Cluster::alone();
    let first = |verb: &str, grants: &[&str], more: &[&str]| {
        FIRST.helm(verb, grants, more).unwrap_or_else(|error| panic!("helm {verb} {more:?}: {error}"))
    };
    let kept = |after: &str| assert_state(&["a-state", "b-state"], after);

    first("install", &["a", "b"], &["--dry-run=server"]);
    kubectl(&["get", "secret", "a-state", "--namespace", "ops"]).expect_err("a dry run creates nothing");
    first("install", &["a", "b"], &[]); // revision 1
    write_state("a-state");
    write_state("b-state");

    first("upgrade", &["a", "b"], &[]); // 2
    kept("an upgrade");
    first(
        "upgrade",
        &["a", "b", "c"],
        &["--set", "sidecar.uid=54912", "--set", "image.registry=localhost/x"],
    ); // 3
    kept("an upgrade with other values");
    write_state("c-state");
    first("upgrade", &["a", "b", "c"], &["--force"]); // 4
    assert_state(&["a-state", "b-state", "c-state"], "upgrade --force");
    first("upgrade", &["b"], &[]); // 5
    kept("removing a grant");
    FIRST.rollback("1", &[]); // 6
    kept("a rollback that brings a grant back");
    FIRST.rollback("5", &["--force"]); // 7
    FIRST.rollback("1", &["--force"]); // 8
    kept("rollback --force");
    first("upgrade", &[], &[]);
    kept("removing the last grant");

    FIRST.uninstall();
    kept("uninstall");
    first("install", &["a", "b"], &[]);
    kept("installing again");
    FIRST.uninstall();
    first("install", &["a", "b"], &["--force"]);
    kept("installing again with --force");
    FIRST.uninstall();
    SECOND.helm("install", &["a", "b"], &[]).expect("installing under another name");
    kept("installing under another name");
}

/// GitOps controllers render without a cluster and apply repeatedly.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn a_state_secret_survives_an_apply_of_the_rendered_chart() {
    let _cluster = Cluster::alone();
    let rendered = FIRST.helm("template", &["a"], &["--kube-version", "1.35.0"]).expect("rendering");
    let apply = |more: &[&str]| pipe(&rendered, &[&["apply"], more].concat()).expect("applying");
    apply(&[]);
    write_state("a-state");
    apply(&[]);
    assert_state(&["a-state"], "kubectl apply");
    apply(&["--server-side", "--force-conflicts"]);
    assert_state(&["a-state"], "kubectl apply --server-side");
    FIRST.helm("install", &["a"], &["--take-ownership"]).expect("taking the objects over with helm");
    assert_state(&["a-state"], "helm install --take-ownership");
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn conflicts_with_the_cluster_are_refused_with_a_message() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &[], &[]).expect("the first release");
    let one =
        "This cluster already has agent-creds: release \"agent-creds\" in namespace \"agent-creds-system\"";
    for more in [&[][..], &["--dry-run=server"]] {
        let error = SECOND.helm("install", &[], more).expect_err("a second release");
        assert!(error.contains(one), "{error}");
    }

    let upgrade = |namespace: &str, secret: &str| {
        let grants = json!([{"agent": {"namespace": namespace, "name": "x"}, "secrets": [secret]}]);
        FIRST.helm("upgrade", &[], &["--set-json", &format!("grants={grants}")]).expect_err("an upgrade")
    };
    let error = upgrade("nowhere", "a");
    assert!(error.contains("namespace \"nowhere\" does not exist. Create it first."), "{error}");
    kubectl(&["create", "secret", "generic", "theirs-state", "--namespace", "ops"])
        .expect("a Secret that is not ours");
    let error = upgrade("ops", "theirs");
    assert!(
        error.contains("ops/theirs-state exists without the label agent-creds/state-of: theirs"),
        "{error}"
    );
}

/// A GitOps controller compares the applied object with the live one.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_api_server_adds_nothing_to_the_webhook_configuration() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &[], &[]).expect("installing");
    let rendered = helm(&["get", "manifest", FIRST.0, "--namespace", FIRST.1], "").expect("helm get");
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let part = rendered.split("\n---\n").find(|part| part.contains(&format!("kind: {kind}\n")));
        let ours: Value = serde_yaml::from_str(part.expect("in the chart")).expect("YAML");
        assert_eq!(get(&[kind, "agent-creds"])["webhooks"], ours["webhooks"]);
    }
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_api_server_stores_the_network_policies_unchanged() {
    let _cluster = Cluster::alone();
    let sources = r#"networkPolicy.apiServer={"cidrs": ["192.0.2.0/28"], "peers": [{"podSelector": {}}]}"#;
    let values = ["--set", "networkPolicy.enabled=true", "--set-json", sources];
    FIRST.helm("install", &[], &values).expect("installing");
    let rendered = helm(&["get", "manifest", FIRST.0, "--namespace", FIRST.1], "").expect("helm get");
    let parts: Vec<_> =
        rendered.split("\n---\n").filter(|part| part.contains("kind: NetworkPolicy\n")).collect();
    assert_eq!(parts.len(), 3);
    for part in parts {
        let ours: Value = serde_yaml::from_str(part).expect("YAML");
        let name = ours["metadata"]["name"].as_str().expect("a name");
        let stored = get(&["networkpolicy", name, "--namespace", SYSTEM]);
        let mut ours = ours["spec"].clone();
        // The API server drops an empty list.
        let empty = ours["egress"] == json!([]);
        if empty {
            ours.as_object_mut().expect("a spec").remove("egress");
        }
        assert_eq!(stored["spec"], ours, "{name}");
    }
}

/// Sends a pod as a dry run.
fn admit(namespace: &str, annotations: &Value) -> Result<String, String> {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": namespace, "annotations": annotations},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "main", "image": "x", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
        },
    });
    pipe(&object.to_string(), &["create", "--dry-run=server"])
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn while_the_webhook_is_down_only_annotated_pods_are_refused() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &[], &["--set", "excludedNamespaces={elsewhere}"]).expect("installing");
    let asks = json!({"agent-creds/inject": "true"});
    // A new configuration takes a moment to be in force.
    let refused =
        (0..200).find_map(|_| admit("ops", &asks).err()).expect("an annotated pod needs the webhook");
    assert!(refused.contains("pods.mutate.agent-creds"), "{refused}");
    admit("ops", &json!({"agent-creds/inject": "yes"})).expect_err("only the webhook can check the value");

    admit("ops", &Value::Null).expect("no annotations");
    admit("ops", &json!({"a": "b", "agent-creds/grants": "x"})).expect("other annotations");
    admit("ops", &json!({"agent-creds/inject": "false"})).expect("the value false");
    for namespace in [SYSTEM, "kube-system", "elsewhere"] {
        admit(namespace, &asks).unwrap_or_else(|error| panic!("{namespace} is excluded: {error}"));
    }
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn pod_security_restricted_accepts_the_webhook_and_the_example() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &[], &[]).expect("installing");
    let mut templates = vec![(SYSTEM, get(&["deployment", "agent-creds-admit", "--namespace", SYSTEM]))];
    for part in manifest("example-agent.yaml").split("\n---\n") {
        pipe(part, &["apply"]).expect("the example");
    }
    templates.push(("ops", get(&["deployment", "devops-agent", "--namespace", "ops"])));
    for (namespace, deployment) in templates {
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        // Without annotations, because the webhook does not answer here.
        pod["metadata"] = json!({"name": "pod", "namespace": namespace});
        pipe(&pod.to_string(), &["create", "--dry-run=server"]).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn only_the_credential_account_may_use_its_secrets() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &["a"], &[]).expect("installing");
    let may = |account: &str, verb: &str, what: &str, namespace: &str| {
        let account = format!("system:serviceaccount:{account}");
        api::may(&account, verb, what, namespace)
    };
    for (verb, what, expected) in [
        ("get", "secrets/a", true),
        ("watch", "secrets/a", true),
        ("update", "secrets/a", false),
        ("get", "secrets/a-state", true),
        ("watch", "secrets/a-state", true),
        ("update", "secrets/a-state", true),
        ("patch", "secrets/a-state", false),
        ("delete", "secrets/a-state", false),
        ("get", "secrets/b", false),
        ("list", "secrets", false),
        ("watch", "secrets", false),
        ("create", "secrets", false),
        ("create", "events.events.k8s.io", true),
        ("list", "events.events.k8s.io", false),
    ] {
        assert_eq!(may("ops:devops-agent-creds", verb, what, "ops"), expected, "{verb} {what}");
        // Invariant I1: the agent's containers have the agent's account, so it has none of these rights.
        assert!(!may("ops:devops-agent", verb, what, "ops"), "{verb} {what}");
    }
    assert!(!may("ops:default", "get", "secrets/a", "ops"));
    assert!(!may("ops:devops-agent-creds", "get", "secrets/a", "elsewhere"));
    let account = "serviceaccounts/devops-agent-creds";
    assert!(may("ops:devops-agent", "assume", account, "ops"));
    assert!(!may("ops:devops-agent", "assume", "serviceaccounts/other", "ops"));
    for what in ["secrets", "pods", "configmaps"] {
        for namespace in [SYSTEM, "ops"] {
            assert!(
                !may("agent-creds-system:agent-creds-admit", "get", what, namespace),
                "{what} in {namespace}"
            );
        }
    }
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_rendered_manifests_can_be_applied_repeatedly_without_emptying_objects() {
    let _cluster = Cluster::alone();
    pipe(&manifest("install.yaml"), &["apply"]).expect("install.yaml");
    let system = |kind: &str, name: &str| get(&[kind, name, "--namespace", SYSTEM]);
    // `kubectl replace` would write the annotation that an apply compares with; `manage` does not.
    let written = |kind: &str, name: &str, data: &Value| {
        let patch = json!({"data": data}).to_string();
        let patched = ["patch", kind, name, "--namespace", SYSTEM, "--type=merge", "-p", &patch];
        kubectl(&patched).expect("written");
    };
    written("secret", "agent-creds-certificates", &secret_data("by manage"));
    written("configmap", "agent-creds-ca", &json!({"ca.crt": "by manage"}));
    let bundle =
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "Cg=="}]).to_string();
    let configuration = "mutatingwebhookconfiguration";
    kubectl(&["patch", configuration, "agent-creds", "--type=json", "-p", &bundle]).expect("patched");

    for more in [&[][..], &["--server-side", "--force-conflicts"]] {
        pipe(&manifest("install.yaml"), &[&["apply"], more].concat()).expect("install.yaml");
        assert_eq!(system("secret", "agent-creds-certificates")["data"], secret_data("by manage"));
        assert_eq!(system("configmap", "agent-creds-ca")["data"]["ca.crt"], "by manage");
        let webhook = &get(&[configuration, "agent-creds"])["webhooks"][0];
        assert_eq!(webhook["clientConfig"]["caBundle"], "Cg==", "{more:?}");
    }
    for name in ["example-grants.yaml", "example-grant-secret.yaml", "example-agent.yaml"] {
        pipe(&manifest(name), &["apply"]).expect(name);
    }
}

fn secret_data(ca: &str) -> Value {
    use base64::Engine as _;
    json!({"ca.crt": base64::engine::general_purpose::STANDARD.encode(ca)})
}

/// No helm command may empty what `manage` wrote: the seal keys of running pods, and the CA that clients trust.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn certificates_keys_and_lease_survive_every_helm_command() {
    let _cluster = Cluster::alone();
    let install = |verb: &str, more: &[&str]| {
        FIRST.helm(verb, &[], more).unwrap_or_else(|error| panic!("helm {verb} {more:?}: {error}"));
    };
    let kept = [
        ("secret", "agent-creds-certificates"),
        ("secret", "agent-creds-seal"),
        ("configmap", "agent-creds-ca"),
    ];
    let read = |(kind, name): (&str, &str)| get(&[kind, name, "--namespace", SYSTEM]);
    install("install", &[]);
    for object in kept {
        let mut written = read(object);
        let value = if object.0 == "secret" { "a2V5" } else { "key" };
        written["data"] = json!({"ca.crt": value});
        pipe(&written.to_string(), &["replace"]).expect("written");
    }
    let mut lease = read(("lease", "agent-creds-manage"));
    lease["spec"] = json!({"holderIdentity": "a-manager"});
    pipe(&lease.to_string(), &["replace"]).expect("written");
    let stays = |after: &str| {
        for object in kept {
            assert!(read(object)["data"]["ca.crt"].is_string(), "{object:?} after {after}");
        }
        assert_eq!(
            read(("lease", "agent-creds-manage"))["spec"]["holderIdentity"],
            "a-manager",
            "after {after}"
        );
    };
    install("upgrade", &["--set", "sidecar.uid=54912"]);
    stays("an upgrade");
    install("upgrade", &["--force"]);
    stays("upgrade --force");
    FIRST.rollback("1", &["--force"]);
    stays("a rollback");
    FIRST.uninstall();
    stays("uninstall");
    install("install", &[]);
    stays("installing again");

    // With a given certificate, the chart writes the ConfigMap and leaves the other objects unchanged.
    let ca = [
        "--set",
        "certificates.mode=secret",
        "--set-string",
        "certificates.caBundle=-----BEGIN CERTIFICATE-----",
    ];
    install("upgrade", &ca);
    stays("a given certificate");
    assert_eq!(read(kept[2])["data"]["ca.crt"], "-----BEGIN CERTIFICATE-----\n");
    install("upgrade", &[]);
    stays("self-managed again");
}
