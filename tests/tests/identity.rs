//! The identity server beside a real API server, with the rights that the chart grants it. A proven pod gets a token
//! that reads its grants and nothing else. Every other request is refused with the same answer; the reason is in the
//! metrics.

mod environment;
mod sidecar;

use agent_creds_tests::cluster::{self, get, kubectl};
use agent_creds_tests::sidecar::eventually;
use environment::{Environment, RELEASE, timing};
use http::StatusCode;
use serde_json::json;

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_proven_pod_gets_a_token_that_reads_its_grants_and_nothing_else() {
    let environment = Environment::start("proven", timing()).await;
    let pod = environment.pod("agent-1", environment.sealed()).await;
    let answer = environment.is_issued(&environment.token(&pod).await).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let ends: jiff::Timestamp =
        answer.text("expirationTimestamp").and_then(|at| at.parse().ok()).expect("a time");
    let life = ends.as_second() - jiff::Timestamp::now().as_second();
    assert!((840..=900).contains(&life), "the requested lifetime: {life}");

    let token = answer.text("token").expect("a token");
    let (vault, ops) = (&environment.vault, &environment.namespace);
    for (verb, path, status) in [
        ("GET", format!("/api/v1/namespaces/{vault}/secrets/one"), 200),
        ("GET", format!("/api/v1/namespaces/{vault}/secrets/one-state"), 200),
        ("GET", format!("/api/v1/namespaces/{vault}/secrets/other"), 403),
        ("GET", format!("/api/v1/namespaces/{vault}/secrets"), 403),
        ("DELETE", format!("/api/v1/namespaces/{vault}/secrets/one-state"), 403),
        ("GET", format!("/api/v1/namespaces/{ops}/secrets/one"), 403),
        ("GET", format!("/api/v1/namespaces/{ops}/pods/agent-1"), 403),
        ("POST", format!("/api/v1/namespaces/{vault}/serviceaccounts/agent-creds/token"), 403),
        ("GET", format!("/api/v1/namespaces/{vault}/serviceaccounts/agent-creds"), 403),
    ] {
        assert_eq!(environment.api(&token, verb, &path).await.status, status, "{verb} {path}");
    }
    // The agent's own account has a token that the agent can read, so it must not read the grant either.
    let agents = environment.create_token(&json!({})).await;
    assert_eq!(
        environment.api(&agents, "GET", &format!("/api/v1/namespaces/{vault}/secrets/one")).await.status,
        403
    );
    assert_eq!(environment.counted("issued").await, 1);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn tokens_that_do_not_belong_to_a_sidecar_are_refused() {
    let environment = Environment::start("tokens", timing()).await;
    let pod = environment.pod("agent-1", environment.sealed()).await;
    let good = environment.token(&pod).await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "agent-1", "uid": pod["metadata"]["uid"]});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "bystander"});
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let mut forged = signature.to_owned();
    forged.replace_range(10..11, if &forged[10..11] == "A" { "B" } else { "A" });

    for (reason, token) in [
        // Tokens in the agent's own containers.
        ("audience", environment.create_token(&json!({"boundObjectRef": bound})).await),
        (
            "audience",
            environment.create_token(&json!({"audiences": ["vault"], "boundObjectRef": bound})).await,
        ),
        // Tokens that the role `edit` may create if the chart's policies are not installed.
        ("not_of_a_pod", environment.create_token(&json!({"audiences": ["agent-creds"]})).await),
        (
            "not_of_a_pod",
            environment.create_token(&json!({"audiences": ["agent-creds"], "boundObjectRef": secret})).await,
        ),
        ("token_refused", format!("{head}.{forged}")),
        ("token_malformed", format!("{head}.")),
        ("token_malformed", "not a token".to_owned()),
    ] {
        environment.is_refused(&token, reason).await;
    }
    environment.is_issued(&good).await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_pod_that_changed_or_ended_is_refused() {
    let environment = Environment::start("pods", timing()).await;
    let unsealed = environment.pod("unsealed", json!({})).await;
    environment.is_refused(&environment.token(&unsealed).await, "seal").await;
    // The API server allows a change of the image if the chart's policies are not installed.
    let swapped = environment.pod("swapped", environment.sealed()).await;
    let token = environment.token(&swapped).await;
    environment.is_issued(&token).await;
    kubectl(&["set", "image", "pod/swapped", "agent-creds=evil:1", "--namespace", &environment.namespace])
        .expect("an image");
    environment.is_refused(&token, "seal").await;

    for phase in ["Succeeded", "Failed"] {
        let name = phase.to_lowercase();
        let pod = environment.pod(&name, environment.sealed()).await;
        let token = environment.token(&pod).await;
        environment.is_issued(&token).await;
        let status = json!({"status": {"phase": phase}}).to_string();
        let patch = ["patch", "pod", &name, "--namespace", &environment.namespace, "--subresource=status"];
        kubectl(&[&patch[..], &["--type=merge", "--patch", &status]].concat()).expect("a status");
        environment.is_refused(&token, "pod_ended").await;
    }

    // During the grace period it still gets tokens. No kubelet runs here, so the pod does not end.
    let leaving = environment.pod("leaving", environment.sealed()).await;
    let token = environment.token(&leaving).await;
    let name = &environment.namespace;
    kubectl(&["delete", "pod", "leaving", "--namespace", name, "--grace-period=600", "--wait=false"])
        .expect("deleting");
    assert!(get(&["pod", "leaving", "--namespace", name])["metadata"]["deletionTimestamp"].is_string());
    environment.is_issued(&token).await;

    // The pod is deleted and replaced by another one. The API server may cache the token's validity for ten seconds.
    kubectl(&["delete", "pod", "leaving", "--namespace", name, "--grace-period=0", "--force"])
        .expect("deleting");
    environment.is_refused_for_one_of(&token, &["pod_missing", "token_refused"]).await;
    let after = environment.pod("leaving", environment.sealed()).await;
    environment.is_refused_for_one_of(&token, &["pod_replaced", "token_refused"]).await;
    environment.is_issued(&environment.token(&after).await).await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn only_a_proven_pod_gets_the_missing_right_as_reason() {
    let environment = Environment::start("missing", timing()).await;
    let pod = environment.pod("agent-1", environment.sealed()).await;
    let token = environment.token(&pod).await;
    let unsealed = environment.token(&environment.pod("unsealed", json!({})).await).await;
    let is_refused_with = async |reason: &str| {
        eventually(reason, async || {
            let answer = environment.exchange(&token).await;
            let expected = json!({"error": "access_denied", "reason": reason});
            if answer.status == StatusCode::FORBIDDEN && answer.json() == expected {
                Ok(())
            } else {
                Err(answer.json())
            }
        })
        .await;
        environment.is_refused(&unsealed, "seal").await;
        environment.restore();
        eventually("the exchange succeeds again", async || {
            let answer = environment.exchange(&token).await;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.json()) }
        })
        .await;
    };
    let delete = |kind: &str, name: &str| {
        kubectl(&["delete", kind, name, "--namespace", &environment.vault]).expect("deleted");
    };
    delete("rolebinding", "agent-creds-agent-creds:assume");
    is_refused_with("assume_missing").await;
    delete("role", "agent-creds-agent-creds:mint");
    is_refused_with("mint_missing").await;
    delete("serviceaccount", "agent-creds");
    is_refused_with("account_missing").await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn without_its_own_rights_it_answers_503_and_counts_the_reason() {
    let environment = Environment::start("rights", timing()).await;
    let pod = environment.pod("agent-1", environment.sealed()).await;
    let token = environment.token(&pod).await;
    environment.is_issued(&token).await;
    kubectl(&["delete", "clusterrolebinding", "agent-creds-identity"]).expect("deleted");
    let answer = eventually("the exchange fails", async || {
        let answer = environment.exchange(&token).await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!(answer.json(), json!({"error": "temporarily_unavailable"}));
    assert!(answer.headers.contains_key("retry-after"));
    assert!(environment.counted("own_rights").await >= 1);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn the_identity_server_has_no_more_rights_than_it_needs() {
    let environment = Environment::start("least", timing()).await;
    let may = |verb: &str, what: &str, namespace: &str| {
        let account = format!("system:serviceaccount:{RELEASE}:agent-creds-identity");
        cluster::may(&account, verb, what, namespace)
    };
    let (vault, ops) = (environment.vault.as_str(), environment.namespace.as_str());
    for (verb, what, namespace, expected) in [
        ("get", "pods", ops, true),
        ("list", "pods", ops, false),
        ("watch", "pods", ops, false),
        ("update", "pods", ops, false),
        ("create", "tokenreviews.authentication.k8s.io", ops, true),
        ("create", "subjectaccessreviews.authorization.k8s.io", ops, true),
        ("assume", "serviceaccounts/agent-creds", vault, false),
        ("get", "secrets", vault, false),
        ("get", "secrets/one", vault, false),
        ("impersonate", "serviceaccounts", vault, false),
    ] {
        assert_eq!(may(verb, what, namespace), expected, "{verb} {what}");
    }
    let create_token = |account: &str, namespace: &str| {
        let identity = format!("system:serviceaccount:{RELEASE}:agent-creds-identity");
        kubectl(&["create", "token", account, "--namespace", namespace, "--as", &identity])
    };
    assert!(create_token("agent-creds", vault).is_ok(), "tokens of the credential account");
    for (account, namespace) in [("default", vault), ("agent", ops), ("agent-creds-identity", RELEASE)] {
        let refused = create_token(account, namespace).expect_err("tokens of another account");
        assert!(refused.contains("Forbidden") || refused.contains("forbidden"), "{refused}");
    }
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn only_the_pod_that_asks_too_often_is_rate_limited() {
    let mut timing = timing();
    timing.bounds.pod.burst = 3;
    let environment = Environment::start("limits", timing).await;
    let (one, other) = (
        environment.pod("one", environment.sealed()).await,
        environment.pod("other", environment.sealed()).await,
    );
    let token = environment.token(&one).await;
    for _ in 0..3 {
        environment.is_issued(&token).await;
    }
    let answer = environment.exchange(&token).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 =
        answer.headers["retry-after"].to_str().ok().and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((3500..=3600).contains(&wait), "{wait}");
    // The limit counts the pod and not the token.
    assert_eq!(
        environment.exchange(&environment.token(&one).await).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    environment.is_issued(&environment.token(&other).await).await;
    // A token that only claims to be of the other pod does not count against that pod's limit.
    let (head, _) = environment
        .token(&other)
        .await
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.len()))
        .expect("parts");
    for _ in 0..5 {
        environment.is_refused(&format!("{head}.{}", "A".repeat(342)), "token_refused").await;
    }
    environment.is_issued(&environment.token(&other).await).await;
    assert_eq!(environment.counted("pod_limited").await, 2);
}
