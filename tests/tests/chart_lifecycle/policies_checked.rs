//! What the API server makes of the rules that it checks by itself.

use std::time::Duration;

use agent_creds_tests::cluster::eventually;

use super::*;

const KIND: &str = "validatingadmissionpolicies";
const MINUTE: Duration = Duration::from_secs(60);

/// What the API server has against the expressions of a policy, once it has looked.
fn warnings(name: &str) -> Value {
    eventually(MINUTE, || {
        let policy = get(&[KIND, name]);
        let (seen, is) = (&policy["status"]["observedGeneration"], &policy["metadata"]["generation"]);
        let checked = !policy["status"]["typeChecking"].is_null() && seen == is;
        if checked { Ok(policy["status"]["typeChecking"].clone()) } else { Err(policy.to_string()) }
    })
}

#[test]
#[ignore = "needs the API server: make test starts it"]
fn the_policies_type_check_and_are_what_was_applied() {
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

    // The API server would say so: pods are of a type that it knows.
    let mut wrong = get(&[KIND, "agent-creds-pods"]);
    wrong["metadata"] = json!({"name": "agent-creds-mistyped", "labels": wrong["metadata"]["labels"]});
    wrong["spec"]["validations"] = json!([{"expression": "object.spec.volume.size() > 0"}]);
    pipe(&wrong.to_string(), &["create"]).expect("a policy of nobody, bound to nothing");
    let warned = warnings("agent-creds-mistyped");
    assert!(
        warned["expressionWarnings"][0]["warning"].as_str().is_some_and(|text| text.contains("volume")),
        "{warned}"
    );
}

/// Three letters each, so that 256 KiB hold as many as can be.
fn annotations(count: usize) -> Value {
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
    let letter = |n: usize| letters[n % letters.len()];
    let key = |n: usize| String::from_iter([letter(n), letter(n / 62), letter(n / 62 / 62)]);
    (0..count).map(|n| (key(n), json!(""))).collect::<serde_json::Map<_, _>>().into()
}

/// A loop over so many annotations takes the API server longer than a request may.
#[test]
#[ignore = "needs the API server: make test starts it"]
fn no_pod_is_so_large_that_its_updates_are_refused() {
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
        let refused = eventually(MINUTE, || {
            let ours = patch(&[], json!({"metadata": {"annotations": {"agent-creds/grants": "x"}}}));
            ours.err().ok_or_else(|| "a new policy takes a moment to be in force".to_owned())
        });
        assert!(refused.contains("ValidatingAdmissionPolicy 'agent-creds-pods'"), "{refused}");
        patch(&["--subresource=status"], json!({"status": {"message": "x"}}))
            .expect("a report of the kubelet");
        patch(&[], json!({"metadata": {"labels": {"a": "b"}}})).expect("a label");
        patch(&[], json!({"metadata": {"annotations": {"aaa": "b"}}})).expect("an annotation of theirs");
        patch(&[], json!({"spec": {"activeDeadlineSeconds": 5}})).expect("the spec");
        kubectl(&["delete", "pod", name, "--namespace", "ops", "--now"]).expect("its deletion");
    }
    pipe(&request.to_string(), &["create", "--raw", tokens]).expect("a token for many");
}
