//! The role `manage`: rights by name, and objects that a helm command does not empty.

use agent_creds_webhook::roles::{Cli, Role};

use super::*;

fn given() -> Value {
    json!({"certificates": {"mode": "secret", "secretName": "tls", "caBundle": CA}})
}

#[test]
fn manage_has_its_rights_by_name_except_create_events_and_list_pods() {
    let objects = render(&json!({}));
    let rules =
        |kind| named(&objects, kind, "agent-creds-manage")["rules"].as_array().expect("rules").clone();
    assert_eq!(
        json!(rules("Role")),
        json!([
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["agent-creds-manage"],
                "verbs": ["get", "update"]},
            {"apiGroups": [""], "resources": ["secrets"],
                "resourceNames": ["agent-creds-seal", "agent-creds-certificates"], "verbs": ["get", "update"]},
            {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["agent-creds-ca"],
                "verbs": ["get", "update"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        ])
    );
    assert_eq!(
        json!(rules("ClusterRole")),
        json!([
            {"apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                "resourceNames": ["agent-creds"], "verbs": ["get", "patch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        ])
    );
    let public = named(&objects, "Role", "agent-creds-ca");
    assert_eq!(public["rules"].as_array().map(Vec::len), Some(1));
    assert_eq!(public["rules"][0]["resourceNames"], json!(["agent-creds-ca"]));
    assert_eq!(public["rules"][0]["verbs"], json!(["get"]));
}

#[test]
fn with_a_given_certificate_manage_writes_only_seal_keys() {
    let objects = render(&given());
    let role = named(&objects, "Role", "agent-creds-manage").to_string()
        + &named(&objects, "ClusterRole", "agent-creds-manage").to_string();
    assert!(!role.contains("patch") && !role.contains("agent-creds-certificates"), "{role}");
    assert_eq!(role.matches("update").count(), 2, "the Lease and the keys: {role}");
    assert_eq!(named(&objects, "ConfigMap", "agent-creds-ca")["data"]["ca.crt"], CA);
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        assert!(only(&objects, kind)["webhooks"][0]["clientConfig"]["caBundle"].is_string());
    }
    let pod = named(&objects, "Deployment", "agent-creds-admit")["spec"]["template"].to_string();
    assert!(pod.contains("\"name\":\"tls\"") && !pod.contains("agent-creds-certificates"));
}

#[test]
fn objects_that_manage_writes_are_rendered_empty_and_kept() {
    let objects = render(&json!({}));
    for (kind, name) in [
        ("Secret", "agent-creds-certificates"),
        ("Secret", "agent-creds-seal"),
        ("ConfigMap", "agent-creds-ca"),
        ("Lease", "agent-creds-manage"),
    ] {
        let object = named(&objects, kind, name);
        for content in ["data", "stringData", "spec"] {
            assert!(object.get(content).is_none(), "an apply would empty {name}");
        }
        assert_eq!(object["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        assert!(
            object["metadata"]["labels"]["helm.sh/chart"].is_null(),
            "an upgrade would change the object"
        );
    }
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        for webhook in only(&objects, kind)["webhooks"].as_array().expect("webhooks") {
            assert!(webhook["clientConfig"].get("caBundle").is_none(), "an upgrade would remove it");
        }
    }
}

#[test]
fn manage_runs_restricted_with_valid_arguments() {
    for (values, source) in [(json!({}), "self-managed"), (given(), "given")] {
        let objects = render(&values);
        let deployment = named(&objects, "Deployment", "agent-creds-manage");
        assert_eq!(deployment["spec"]["replicas"], 1);
        let pod = &deployment["spec"]["template"];
        assert_restricted(pod);
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false, "its token is in a projected volume");
        assert_eq!(pod["spec"]["serviceAccountName"], "agent-creds-manage");
        let arguments = pod["spec"]["containers"][0]["args"].as_array().expect("arguments");
        let arguments: Vec<_> = arguments.iter().filter_map(Value::as_str).collect();
        assert!(arguments.contains(&format!("--certificates={source}").as_str()), "{arguments:?}");
        let parsed = Cli::try_parse_from(["agent-creds-webhook"].into_iter().chain(arguments));
        assert!(matches!(parsed.expect("arguments of this version").role, Role::Manage(_)));
        // Only `manage` has the private keys, and it mounts no other Secret.
        let others = named(&objects, "Deployment", "agent-creds-admit").to_string();
        assert!(!others.contains("ca.key") && !others.contains("next.key"));
        assert!(!deployment.to_string().contains("\"secret\""));
    }
}
