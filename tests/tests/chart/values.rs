//! Checks that every value is used and validated.

use serde_json::{Value, json};

use super::{CA, read, render, try_render};

/// Values, and a part of the message that refuses them.
#[test]
fn invalid_values_are_refused_with_a_message() {
    let grant = |namespace: &str, name: &str, secrets: &[&str]| json!({"grants": [{"agent": {"namespace": namespace, "name": name}, "secrets": secrets}]});
    let ops = |secret: &str| grant("ops", "agent", &[secret]);
    let digest = "sha256:abc";
    let cases = [
        (json!({"certificates": {"mode": "secret"}}), "certificates.caBundle must be the PEM of the CA"),
        (json!({"certificates": {"caBundle": CA}}), "Set certificates.mode=secret, or remove caBundle"),
        (
            json!({"certificates": {"mode": "secret", "caBundle": "LS0tLS1CRUdJTg=="}}),
            "certificates.caBundle must be the PEM of the CA",
        ),
        (
            json!({"certificates": {"mode": "secret", "caBundle": format!("{CA}-----BEGIN PRIVATE KEY-----")}}),
            "contains a private key",
        ),
        (json!({"certificates": {"mode": "cert-manager"}}), "at '/certificates/mode': value must be one of"),
        (json!({"identity": {"mode": "none"}}), "at '/identity/mode': value must be one of"),
        (
            json!({"providerRoots": "https://example.com/ca.pem"}),
            "providerRoots must be the PEM of certificates",
        ),
        (json!({"seal": {"tolerate": ["newField"]}}), "at '/seal/tolerate/0'"),
        (json!({"defaultGrants": null}), "missing property 'defaultGrants'"),
        (json!({"defaultGrants": ["PagerDuty"]}), "at '/defaultGrants/0'"),
        (json!({"defaultGrants": ["a=b-state"]}), "does not end in -state"),
        (json!({"allowCapabilities": ["SYS_ADMIN"]}), "at '/allowCapabilities/0'"),
        (json!({"allowHostPaths": ["var/log"]}), "at '/allowHostPaths/0'"),
        (json!({"apiServer": "http://kubernetes.default.svc"}), "at '/apiServer'"),
        (json!({"apiServer": "https://user@kubernetes.default.svc"}), "at '/apiServer'"),
        (json!({"sidecar": {"uid": 0}}), "at '/sidecar/uid'"),
        (json!({"admit": {"port": 443}}), "at '/admit/port'"),
        (json!({"admit": {"port": 8080}}), "admit.port cannot be 8080"),
        (json!({"admit": {"replicas": 0}}), "at '/admit/replicas'"),
        (json!({"image": {"webhook": {"digest": digest}}}), "at '/image/webhook/digest'"),
        (json!({"image": {"registry": "https://images.example.com"}}), "at '/image/registry'"),
        (json!({"excludedNamespaces": ["Ops"]}), "at '/excludedNamespaces/0'"),
        (ops("Upper"), "at '/grants/0/secrets/0'"),
        (ops("a_b"), "at '/grants/0/secrets/0'"),
        (ops("*"), "at '/grants/0/secrets/0'"),
        (ops(""), "at '/grants/0/secrets/0'"),
        (ops(&"a".repeat(58)), "at '/grants/0/secrets/0'"),
        (ops("pagerduty-state"), "is the name of a state Secret"),
        (grant("ops", "agent", &[]), "at '/grants/0/secrets'"),
        (grant("ops", "agent", &["a", "a"]), "at '/grants/0/secrets'"),
        (grant("Ops", "agent", &["a"]), "at '/grants/0/agent/namespace'"),
        (grant("ops", "a/b", &["a"]), "at '/grants/0/agent/name'"),
        (grant("kube-system", "agent", &["a"]), "are never injected"),
        (grant("agent-creds-system", "agent", &["a"]), "are never injected"),
        (
            json!({"grants": [
                {"agent": {"namespace": "ops", "name": "agent"}, "secrets": ["a"]},
                {"agent": {"namespace": "ops", "name": "agent"}, "secrets": ["b"]},
            ]}),
            "agent ops/agent is listed twice",
        ),
        (
            json!({"identity": {"mode": "pod"}, "grants": [{"agent": {"namespace": "ops", "name": "agent"}, "secrets": ["a"],
                "credential": {"namespace": "ops", "name": "agent-creds"}}]}),
            "with identity.mode=pod the sidecar uses the agent's own ServiceAccount",
        ),
    ];
    for (values, expected) in cases {
        let error = try_render(&values, &[]).err().unwrap_or_else(|| panic!("accepted: {values}"));
        assert!(error.contains(expected), "{values}\nexpected: {expected}\nfound: {error}");
    }
    render(&ops(&"a".repeat(57)));
    render(&ops("a.b-c"));
    render(&json!({"global": {"anything": 1}}));
}

/// Maps whose keys are the reader's own: each is one value.
const MAPS: [&str; 7] = [
    "admit.nodeSelector",
    "admit.podAnnotations",
    "identity.nodeSelector",
    "identity.podAnnotations",
    "manage.nodeSelector",
    "manage.podAnnotations",
    "podMonitor.labels",
];

#[test]
fn unknown_values_are_refused_at_every_depth() {
    let values: Value = serde_yaml::from_str(&read("charts/agent-creds/values.yaml")).expect("YAML");
    let mut paths = vec![String::new()];
    let mut tried = 0;
    while let Some(path) = paths.pop() {
        let at = path.split('.').filter(|key| !key.is_empty()).fold(&values, |value, key| &value[key]);
        let Value::Object(map) = at else { continue };
        paths.extend(map.keys().map(
            |key| {
                if path.is_empty() { key.clone() } else { format!("{path}.{key}") }
            },
        ));
        let quantities = path.ends_with(".requests") || path.ends_with(".limits");
        if MAPS.contains(&path.as_str()) || quantities {
            continue;
        }
        let keys = path.split('.').filter(|key| !key.is_empty()).rev();
        let wrong = keys.fold(json!({"misspelt": 1}), |value, key| json!({key: value}));
        let error = try_render(&wrong, &[]).err().unwrap_or_else(|| panic!("ignored: {wrong}"));
        assert!(error.contains("'misspelt' not allowed"), "{wrong}: {error}");
        tried += 1;
    }
    assert!(tried > 10, "only {tried} places tried");
}

/// Checks the schema itself, for places without a default value, such as items of lists.
#[test]
fn the_schema_allows_no_additional_properties() {
    fn closed(schema: &Value, path: &str) {
        if schema.get("properties").is_some() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
        }
        match schema {
            Value::Object(map) => map.iter().for_each(|(key, value)| closed(value, &format!("{path}/{key}"))),
            Value::Array(items) => items.iter().for_each(|value| closed(value, path)),
            _ => {}
        }
    }
    closed(&serde_json::from_str(&read("charts/agent-creds/values.schema.json")).expect("JSON"), "");
}
