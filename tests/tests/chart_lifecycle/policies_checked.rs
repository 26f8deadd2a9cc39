//! The API server's checks of the policies: type checking and cost.

use std::time::Duration;

use agent_creds_tests::cluster::eventually;

use super::*;

const KIND: &str = "validatingadmissionpolicies";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the API server's warnings about a policy's expressions, once it has checked them.
fn warnings(name: &str) -> Value {
    eventually(TIMEOUT, || {
        let policy = get(&[KIND, name]);
        let (seen, is) = (&policy["status"]["observedGeneration"], &policy["metadata"]["generation"]);
        let checked = !policy["status"]["typeChecking"].is_null() && seen == is;
        if checked { Ok(policy["status"]["typeChecking"].clone()) } else { Err(policy.to_string()) }
    })
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_policies_type_check_and_are_stored_unchanged() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &["a"], &[]).expect("installing, with an account to guard");
    let rendered = helm(&["get", "manifest", FIRST.0, "--namespace", FIRST.1], "").expect("helm get");
    let mut checked = 0;
    for part in rendered.split("\n---\n").filter(|part| part.contains("kind: ValidatingAdmissionPolicy")) {
        let ours: Value = serde_yaml::from_str(part).expect("YAML");
        let name = ours["metadata"]["name"].as_str().expect("a name");
        if ours["kind"] == "ValidatingAdmissionPolicy" {
            assert_eq!(warnings(name), json!({}), "{name}");
            checked += 1;
        }
        let kind = ours["kind"].as_str().expect("a kind").to_lowercase();
        assert_eq!(
            get(&[&kind, name])["spec"],
            ours["spec"],
            "a GitOps controller finds no difference: {name}"
        );
    }
    assert_eq!(checked, 7);

    // The API server knows the type of pods, so it reports a misspelt field.
    let mut wrong = get(&[KIND, "agent-creds-pods"]);
    wrong["metadata"] = json!({"name": "agent-creds-mistyped", "labels": wrong["metadata"]["labels"]});
    wrong["spec"]["validations"] = json!([{"expression": "object.spec.volume.size() > 0"}]);
    pipe(&wrong.to_string(), &["create"]).expect("a policy without a binding");
    let warned = warnings("agent-creds-mistyped");
    assert!(
        warned["expressionWarnings"][0]["warning"].as_str().is_some_and(|text| text.contains("volume")),
        "{warned}"
    );
}

/// Returns `count` annotations with keys of three letters, so that 256 KiB hold as many as possible.
fn annotations(count: usize) -> Value {
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let letter = |n: usize| letters[n % letters.len()];
    let key = |n: usize| String::from_iter([letter(n), letter(n / 62), letter(n / 62 / 62)]);
    (0..count).map(|n| (key(n), json!(""))).collect::<serde_json::Map<_, _>>().into()
}

/// A loop over so many annotations would exceed the API server's limit.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn updates_of_the_largest_pods_are_allowed() {
    let _cluster = Cluster::alone();
    FIRST.helm("install", &[], &[]).expect("installing");
    let audiences: Vec<_> = (0..50_000).map(|n| n.to_string()).collect();
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": audiences}});
    let tokens = "/api/v1/namespaces/ops/serviceaccounts/default/token";
    let volumes: Vec<_> = (0..4000).map(|n| json!({"name": format!("v{n}"), "emptyDir": {}})).collect();
    for (name, inject) in [("large", Value::Null), ("large-and-ours", json!("false"))] {
        let mut annotations = annotations(80_000);
        if !inject.is_null() {
            annotations["agent-creds/inject"] = inject;
        }
        let context = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "ops", "annotations": annotations},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "initContainers": [{"name": "agent-creds", "image": "x", "restartPolicy": "Always", "securityContext": context}],
                "containers": [{"name": "main", "image": "y", "securityContext": context}],
                "volumes": volumes,
            },
        });
        pipe(&pod.to_string(), &["create"]).expect("as many annotations as a pod may have");
        let patch = |more: &[&str], patch: Value| {
            kubectl(
                &[
                    &[
                        "patch",
                        "pod",
                        name,
                        "--namespace",
                        "ops",
                        "--type=merge",
                        "--patch",
                        &patch.to_string(),
                    ],
                    more,
                ]
                .concat(),
            )
        };
        let refused = eventually(TIMEOUT, || {
            let ours = patch(&[], json!({"metadata": {"annotations": {"agent-creds/grants": "x"}}}));
            ours.err().ok_or_else(|| "a new policy takes a moment to be in force".to_owned())
        });
        assert!(refused.contains("ValidatingAdmissionPolicy 'agent-creds-pods'"), "{refused}");
        patch(&["--subresource=status"], json!({"status": {"message": "x"}}))
            .expect("a report of the kubelet");
        patch(&[], json!({"metadata": {"labels": {"a": "b"}}})).expect("a label");
        patch(&[], json!({"metadata": {"annotations": {"aaa": "b"}}})).expect("another annotation");
        patch(&[], json!({"spec": {"activeDeadlineSeconds": 5}})).expect("the spec");
        kubectl(&["delete", "pod", name, "--namespace", "ops", "--now"]).expect("its deletion");
    }
    pipe(&request.to_string(), &["create", "--raw", tokens]).expect("a token with many audiences");
}
