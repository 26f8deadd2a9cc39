//! `POST /identity` with tokens that do not belong to a running sidecar. Each is sent from the agent's container; the
//! control is the sidecar's own token, sent from there too.

use std::time::Duration;

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use agent_creds_tests::platform::ACCOUNT;
use serde_json::{Value, json};

use crate::hostile::agent::{IMAGE, NAMESPACE, agent_pod, as_account, as_administrator, await_ready, inside};
use crate::hostile::attempt::{all, attempts, control, stopped};
use crate::hostile::exchange::{
    claims, cluster_key, genuine, mounted, refused, refused_for, shown, signed, strangers_key,
};

/// Returns a token with the cluster's signature, after a change of the claims.
fn changed(change: impl Fn(&mut Value)) -> String {
    let mut claims = claims();
    change(&mut claims);
    signed(&claims, &cluster_key())
}

/// Returns a pod that is not injected, with a token of our audience in a volume.
fn pod_with_the_audience(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "serviceAccountName": ACCOUNT, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "a", "image": IMAGE, "command": ["sleep", "1000"],
                "volumeMounts": [{"name": "own", "mountPath": "/own"}]}],
            "volumes": [{"name": "own", "projected": {"sources": [
                {"serviceAccountToken": {"audience": "agent-creds", "path": "identity-token"}}]}}],
        },
    })
}

fn make(pod: &Value) {
    pipe(&pod.to_string(), &["create"]).expect("making a pod");
}

fn gone(pod: &str) {
    kubectl(&["delete", "pod", pod, "--namespace", NAMESPACE, "--now"]).expect("deleting a pod");
}

attempts! {
    /// The agent sends its own token, and tokens of other audiences
    wrong_audience {
        control(shown(&genuine()));
        let own = control(inside("cat $S/token"));
        let other = control(as_administrator(&["create", "token", ACCOUNT, "--audience=vault"]));
        all(vec![
            refused(own.trim(), "audience"),
            refused(other.trim(), "audience"),
            refused(&changed(|claims| claims["aud"] = json!(["agent-creds.example.com"])), "audience"),
        ])
    }
    /// An account with `edit` and the administrator create a token of our audience, bound to the agent's pod
    minted_by_edit {
        let mint = |audience: &'static str| ["create", "token", ACCOUNT, audience, "--bound-object-kind=Pod", "--bound-object-name=agent"];
        control(as_account("editor", &mint("--audience=other")));
        let words = "only the kubelet may create tokens of audience agent-creds";
        all(vec![
            stopped(as_account("editor", &mint("--audience=agent-creds")), words),
            stopped(as_administrator(&mint("--audience=agent-creds")), words),
        ])
    }
    /// The agent sends a token of our audience without a pod, which an administrator may have created before the
    /// policies existed
    token_without_a_pod {
        control(shown(&changed(|_| {})));
        refused(&changed(|claims| drop(claims["kubernetes.io"].as_object_mut().expect("claims").remove("pod"))), "not_of_a_pod")
    }
    /// The agent sends a token of our audience that is bound to a Secret instead of a pod
    token_of_a_secret {
        control(shown(&changed(|_| {})));
        let uid = get(&["secret", "devops-agent-pagerduty", "--namespace", NAMESPACE])["metadata"]["uid"].clone();
        refused(
            &changed(|claims| {
                let bound = claims["kubernetes.io"].as_object_mut().expect("claims");
                bound.remove("pod");
                bound.insert("secret".to_owned(), json!({"name": "devops-agent-pagerduty", "uid": uid}));
            }),
            "not_of_a_pod",
        )
    }
    /// The agent sends a token of our audience from a pod of the same account that was not injected
    another_pods_token {
        control(shown(&genuine()));
        make(&pod_with_the_audience("uninjected"));
        await_ready("uninjected", NAMESPACE);
        let token = mounted(NAMESPACE, "uninjected", "own");
        let outcome = refused(&token, "seal");
        gone("uninjected");
        outcome
    }
    /// The agent sends the token of a deleted pod, and of one whose name another pod has now
    token_of_a_deleted_pod {
        make(&agent_pod("deleted", NAMESPACE));
        await_ready("deleted", NAMESPACE);
        let token = mounted(NAMESPACE, "deleted", "agent-creds-identity");
        control(shown(&token));
        gone("deleted");
        let first = refused_for(&token, &["pod_missing", "token_refused"]);
        make(&agent_pod("deleted", NAMESPACE));
        let second = refused_for(&token, &["pod_replaced", "token_refused"]);
        gone("deleted");
        all(vec![first, second])
    }
    /// The agent sends the token of a pod that has finished and still exists
    token_of_a_finished_pod {
        let mut pod = agent_pod("finished", NAMESPACE);
        pod["spec"]["restartPolicy"] = json!("Never");
        pod["spec"]["containers"][0]["command"] = json!(["sh", "-c", "while [ ! -e /tmp/end ]; do sleep 0.1; done"]);
        make(&pod);
        await_ready("finished", NAMESPACE);
        let token = mounted(NAMESPACE, "finished", "agent-creds-identity");
        control(shown(&token));
        control(crate::hostile::agent::in_pod("finished", "agent", "touch /tmp/end"));
        eventually(Duration::from_secs(60), || match get(&["pod", "finished", "--namespace", NAMESPACE])["status"]["phase"].as_str() {
            Some("Succeeded") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        let outcome = refused(&token, "pod_ended");
        gone("finished");
        outcome
    }
    /// The agent sends an expired token with the right signature
    expired_token {
        control(shown(&changed(|_| {})));
        refused(&changed(|claims| claims["exp"] = json!(claims["iat"].as_u64().expect("a time") - 120)), "token_expired")
    }
    /// The agent sends data that is not a token: nothing, words, parts without meaning, 12 KiB
    garbage {
        control(shown(&genuine()));
        let long = "a".repeat(12 * 1024);
        let parts = format!("e30.e30.{}", "a".repeat(86));
        all(["", "token", "a.b.c", &parts, &long].map(|token| refused(token, "token_malformed")).into())
    }
    /// The agent sends unsigned tokens, tokens with another key's signature, and tokens with `alg: none`, with the
    /// sidecar's claims
    forged_tokens {
        let claims = claims();
        control(shown(&signed(&claims, &cluster_key())));
        let strangers = signed(&claims, &strangers_key());
        let (text, signature) = strangers.rsplit_once('.').expect("three parts");
        let (_, payload) = text.split_once('.').expect("three parts");
        // {"alg":"none","typ":"JWT"}
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.{signature}");
        // The signature of the agent's own token, with other claims.
        let own = control(inside("cat $S/token"));
        let borrowed = format!("{text}.{}", own.trim().rsplit_once('.').expect("three parts").1);
        all([strangers.as_str(), &unsigned, &borrowed].map(|token| refused(token, "token_refused")).into())
    }
    /// The agent sends a token of another cluster, with the same names
    token_of_another_cluster {
        control(shown(&changed(|_| {})));
        let foreign = changed(|claims| claims["iss"] = json!("https://oidc.example.com/another-cluster"));
        refused(&foreign, "token_refused")
    }
    /// The agent sends a signed token that names another account than its pod's, or another pod uid
    token_that_names_others {
        control(shown(&changed(|_| {})));
        let uid = get(&["serviceaccount", "editor", "--namespace", NAMESPACE])["metadata"]["uid"].clone();
        all(vec![
            refused(
                &changed(|claims| {
                    claims["sub"] = json!(format!("system:serviceaccount:{NAMESPACE}:editor"));
                    claims["kubernetes.io"]["serviceaccount"] = json!({"name": "editor", "uid": uid});
                }),
                "pod_account",
            ),
            refused(&changed(|claims| claims["kubernetes.io"]["pod"]["uid"] = json!("0")), "token_refused"),
        ])
    }
}
