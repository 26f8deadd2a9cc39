//! The rendered ValidatingAdmissionPolicies. `e2e/policies.rs` tests their effect with pods.

use agent_creds_core::annotations::{Annotation, INJECT, PREFIX, SEAL, STATUS};
use agent_creds_core::pod::{
    AUDIENCE, CONTAINER, GRACE_PERIOD_SECONDS, IDENTITY_VOLUME, INJECTED_LABEL, VOLUMES,
};

use super::*;

const NAMES: [&str; 7] = [
    "agent-creds-accounts",
    "agent-creds-bindings",
    "agent-creds-exec",
    "agent-creds-injected",
    "agent-creds-pods",
    "agent-creds-secrets",
    "agent-creds-tokens",
];
/// The policies that protect the credential accounts of the value `grants`.
const OF_ACCOUNTS: [&str; 2] = ["agent-creds-accounts", "agent-creds-secrets"];

fn names(objects: &[Value], kind: &str) -> BTreeSet<String> {
    let name = |object: &&Value| object["metadata"]["name"].as_str().expect("a name").to_owned();
    of_kind(objects, kind).iter().map(name).collect()
}

/// Returns all expressions and messages of a policy.
fn texts(policy: &Value) -> String {
    ["matchConditions", "variables", "validations"].map(|key| policy["spec"][key].to_string()).concat()
}

#[test]
fn each_policy_is_bound_and_denies_unless_policies_are_disabled() {
    let objects = render(&grants());
    assert!(names(&objects, "ValidatingAdmissionPolicy").iter().eq(&NAMES));
    assert!(names(&objects, "ValidatingAdmissionPolicyBinding").iter().eq(&NAMES));
    for policy in of_kind(&objects, "ValidatingAdmissionPolicy") {
        let name = policy["metadata"]["name"].as_str().expect("a name");
        let spec = &policy["spec"];
        assert_eq!(spec["failurePolicy"], "Fail", "{name}");
        assert!(spec["paramKind"].is_null(), "{name}: a parameter that is missing refuses everything");
        for validation in spec["validations"].as_array().expect("validations") {
            let message = validation["message"].as_str().expect("a sentence");
            assert!(
                message.contains("; ") && !message.contains('\n'),
                "a message says what was refused; what to do: {message}"
            );
            // The API server also evaluates a messageExpression for allowed requests, and refuses if that costs too
            // much.
            assert!(validation["messageExpression"].is_null(), "{message}");
            assert_eq!(validation["reason"], "Forbidden", "{message}");
        }
    }
    for binding in of_kind(&objects, "ValidatingAdmissionPolicyBinding") {
        assert_eq!(binding["spec"]["policyName"], binding["metadata"]["name"]);
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
        assert!(binding["spec"]["matchResources"].is_null(), "the binding covers the whole cluster");
    }
    let mut off = grants();
    off["policies"] = json!({"enabled": false});
    let off = render(&off);
    assert!(
        off.iter().all(|object| !object["kind"].as_str().expect("a kind").starts_with("ValidatingAdmission"))
    );
}

#[test]
fn the_policies_match_only_resources_that_can_be_ours() {
    // An exclusion does not remove the protection of pods that were injected before.
    let mut values = grants();
    values["excludedNamespaces"] = json!(["monitoring"]);
    let objects = render(&values);
    let of_accounts = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["dev", "ops"]}]});
    let never_injected = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["agent-creds-system", "kube-system"]},
    ]});
    let expected = [
        (
            "pods",
            json!(["pods", "pods/status", "pods/ephemeralcontainers", "pods/resize"]),
            json!(["UPDATE"]),
            &never_injected,
        ),
        ("bindings", json!(["pods/binding", "bindings"]), json!(["CREATE"]), &never_injected),
        ("exec", json!(["pods/exec", "pods/attach"]), json!(["CONNECT"]), &json!({})),
        ("tokens", json!(["serviceaccounts/token"]), json!(["CREATE"]), &json!({})),
        ("injected", json!(["pods"]), json!(["CREATE"]), &json!({})),
        ("accounts", json!(["pods"]), json!(["CREATE"]), &of_accounts),
        ("secrets", json!(["secrets"]), json!(["CREATE", "UPDATE"]), &of_accounts),
    ];
    assert_eq!(expected.len(), NAMES.len());
    for (name, resources, operations, namespaces) in expected {
        let policy = named(&objects, "ValidatingAdmissionPolicy", &format!("agent-creds-{name}"));
        let constraints = &policy["spec"]["matchConstraints"];
        let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": operations,
            "resources": resources, "scope": "Namespaced"}]);
        assert_eq!(constraints["resourceRules"], rules, "{name}");
        assert_eq!(constraints["namespaceSelector"], *namespaces, "{name}");
    }
}

/// Checks that the policies contain the names that are defined in the source.
#[test]
fn the_policies_contain_every_name_of_this_version() {
    let objects = render(&grants());
    let policy = |name: &str| {
        let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
        texts(policies.iter().find(|policy| policy["metadata"]["name"] == name).expect("it is rendered"))
    };
    let [accounts, bindings, exec, injected, pods, _, tokens] = NAMES.map(policy);
    for text in [&pods, &bindings] {
        for annotation in Annotation::all().map(Annotation::key) {
            assert!(text.contains(&format!("'{annotation}'")), "{annotation} is in the list of _helpers.tpl");
        }
        assert!(
            text.contains(&format!("startsWith('{PREFIX}')"))
                && text.contains(&format!("'{INJECTED_LABEL}'"))
        );
    }
    assert!(pods.contains(&format!("== '{CONTAINER}'")) && pods.contains(&format!("!= '{CONTAINER}'")));
    assert!(exec.contains(&format!("!= '{CONTAINER}'")) && accounts.contains(&format!("== '{CONTAINER}'")));
    for name in [INJECTED_LABEL, INJECT, SEAL, STATUS, CONTAINER, IDENTITY_VOLUME] {
        assert!(injected.contains(&format!("'{name}'")), "{name}");
    }
    let grace = format!("terminationGracePeriodSeconds.orValue(30) >= {GRACE_PERIOD_SECONDS}\"");
    assert!(injected.contains(&grace), "{injected}");
    assert!(VOLUMES.iter().all(|volume| volume.starts_with(&format!("{CONTAINER}-"))));
    assert!(pods.contains(&format!("startsWith('{CONTAINER}-')")));
    assert!(tokens.contains(&format!("'{AUDIENCE}' in object.spec.audiences")));
}

/// With `identity.mode: pod` the agent's own account is used, and the agent's pods run as it.
#[test]
fn credential_accounts_are_protected_unless_disabled() {
    let guards = |values: &Value| {
        let objects = render(values);
        let found = names(&objects, "ValidatingAdmissionPolicy");
        let tokens = named(&objects, "ValidatingAdmissionPolicy", "agent-creds-tokens");
        let of_tokens = texts(tokens).contains("isCredential");
        let of_accounts = OF_ACCOUNTS.map(|name| found.contains(name));
        assert_eq!(of_accounts, [of_tokens; 2], "all policies of the accounts or none");
        of_tokens
    };
    assert!(guards(&grants()));
    assert!(!guards(&json!({})));
    assert!(!guards(&as_the_pod(grants())));
    let mut off = grants();
    off["policies"] = json!({"credentialAccounts": false});
    assert!(!guards(&off));
}

#[test]
fn keep_alive_pods_are_protected_in_every_namespace_of_an_account() {
    let selector = |namespaces: &[&str]| {
        let grant = |(n, namespace): (usize, &&str)| {
            json!({"agent": {"namespace": "ops", "name": format!("agent-{n}")}, "secrets": ["a"],
                "credential": {"namespace": namespace, "name": format!("account-{n}")},
                "keepAlive": {"schedule": "@daily"}})
        };
        let grants: Vec<_> = namespaces.iter().enumerate().map(grant).collect();
        let objects = render(&json!({"grants": grants}));
        let policy = named(&objects, "ValidatingAdmissionPolicy", "agent-creds-pods");
        policy["spec"]["matchConstraints"]["namespaceSelector"].clone()
    };
    let without = |namespaces: &[&str]| {
        json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": namespaces}]})
    };
    assert_eq!(selector(&["vault"]), without(&["agent-creds-system", "kube-system"]));
    assert_eq!(selector(&["agent-creds-system", "vault"]), without(&["kube-system"]));
    assert_eq!(selector(&["agent-creds-system", "kube-system"]), json!({}));
}

#[test]
fn six_hundred_credential_accounts_are_protected() {
    let grant = |n: usize| {
        json!({"agent": {"namespace": format!("team-{n}"), "name": format!("agent-{n}")},
            "credential": {"namespace": "vault", "name": format!("{}-{n}", "x".repeat(230))}, "secrets": ["a"]})
    };
    let objects = render(&json!({"grants": (0..650).map(grant).collect::<Vec<_>>()}));
    for name in OF_ACCOUNTS.into_iter().chain(["agent-creds-tokens"]) {
        let policy = named(&objects, "ValidatingAdmissionPolicy", name);
        let text = texts(policy);
        assert!((0..650).all(|n| text.contains(&format!("x-{n}\\\""))), "{name}: one is missing");
        for variable in policy["spec"]["variables"].as_array().expect("variables") {
            let expression = variable["expression"].as_str().expect("an expression");
            assert!(
                expression.len() < 100_000,
                "longer than the API server allows: {} of {name}",
                variable["name"]
            );
        }
    }
}
