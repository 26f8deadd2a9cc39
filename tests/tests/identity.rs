//! The identity server beside a real API server, with the rights that the chart gives it and nothing else: a proven pod
//! gets a token that reads its grants alone, and each other is refused with its reason, which reads the same outside.

mod sidecar;
mod world;

use agent_creds_tests::cluster::{self, get, kubectl};
use agent_creds_tests::sidecar::eventually;
use http::StatusCode;
use serde_json::json;
use world::{RELEASE, World, timing};

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_proven_pod_gets_a_token_that_reads_its_grants_and_nothing_else() {
    let world = World::start("proven", timing()).await;
    let pod = world.pod("agent-1", world.sealed()).await;
    let answer = world.gets_one(&world.token(&pod).await).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let ends: jiff::Timestamp =
        answer.text("expirationTimestamp").and_then(|at| at.parse().ok()).expect("a time");
    let life = ends.as_second() - jiff::Timestamp::now().as_second();
    assert!((840..=900).contains(&life), "as long as was asked for: {life}");

    let token = answer.text("token").expect("a token");
    let (vault, ops) = (&world.vault, &world.namespace);
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
        assert_eq!(world.api(&token, verb, &path).await.status, status, "{verb} {path}");
    }
    // Nor may the agent's account, of course, whose token is in the agent's reach.
    let agents = world.mint(&json!({})).await;
    assert_eq!(
        world.api(&agents, "GET", &format!("/api/v1/namespaces/{vault}/secrets/one")).await.status,
        403
    );
    assert_eq!(world.counted("issued").await, 1);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn tokens_that_are_none_of_a_sidecar_are_refused() {
    let world = World::start("tokens", timing()).await;
    let pod = world.pod("agent-1", world.sealed()).await;
    let good = world.token(&pod).await;
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "agent-1", "uid": pod["metadata"]["uid"]});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "bystander"});
    let (head, signature) = good.rsplit_once('.').expect("three parts");
    let mut forged = signature.to_owned();
    forged.replace_range(10..11, if &forged[10..11] == "A" { "B" } else { "A" });

    for (reason, token) in [
        // What lies in the agent's own containers.
        ("audience", world.mint(&json!({"boundObjectRef": bound})).await),
        ("audience", world.mint(&json!({"audiences": ["vault"], "boundObjectRef": bound})).await),
        // What `edit` may mint where the chart's policies are not installed.
        ("not_of_a_pod", world.mint(&json!({"audiences": ["agent-creds"]})).await),
        ("not_of_a_pod", world.mint(&json!({"audiences": ["agent-creds"], "boundObjectRef": secret})).await),
        ("token_refused", format!("{head}.{forged}")),
        ("token_malformed", format!("{head}.")),
        ("token_malformed", "no token at all".to_owned()),
    ] {
        world.is_refused(&token, reason).await;
    }
    world.gets_one(&good).await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_pod_that_changed_or_ended_is_refused() {
    let world = World::start("pods", timing()).await;
    let unsealed = world.pod("unsealed", json!({})).await;
    world.is_refused(&world.token(&unsealed).await, "seal").await;
    // The sidecar's image swapped, as a living pod allows it where the chart's policies are not installed.
    let swapped = world.pod("swapped", world.sealed()).await;
    let token = world.token(&swapped).await;
    world.gets_one(&token).await;
    kubectl(&["set", "image", "pod/swapped", "agent-creds=evil:1", "--namespace", &world.namespace])
        .expect("an image");
    world.is_refused(&token, "seal").await;

    for phase in ["Succeeded", "Failed"] {
        let name = phase.to_lowercase();
        let pod = world.pod(&name, world.sealed()).await;
        let token = world.token(&pod).await;
        world.gets_one(&token).await;
        let status = json!({"status": {"phase": phase}}).to_string();
        let patch = ["patch", "pod", &name, "--namespace", &world.namespace, "--subresource=status"];
        kubectl(&[&patch[..], &["--type=merge", "--patch", &status]].concat()).expect("a status");
        world.is_refused(&token, "pod_ended").await;
    }

    // In its grace period it goes on; there is no kubelet here that would end it.
    let leaving = world.pod("leaving", world.sealed()).await;
    let token = world.token(&leaving).await;
    let name = &world.namespace;
    kubectl(&["delete", "pod", "leaving", "--namespace", name, "--grace-period=600", "--wait=false"])
        .expect("deleting");
    assert!(get(&["pod", "leaving", "--namespace", name])["metadata"]["deletionTimestamp"].is_string());
    world.gets_one(&token).await;

    // Gone, and another one in its place. The API server may remember the token for ten seconds.
    kubectl(&["delete", "pod", "leaving", "--namespace", name, "--grace-period=0", "--force"])
        .expect("deleting");
    world.is_refused_for_one_of(&token, &["pod_missing", "token_refused"]).await;
    let after = world.pod("leaving", world.sealed()).await;
    world.is_refused_for_one_of(&token, &["pod_replaced", "token_refused"]).await;
    world.gets_one(&world.token(&after).await).await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_proven_pod_learns_what_is_missing_and_no_other_does() {
    let world = World::start("missing", timing()).await;
    let pod = world.pod("agent-1", world.sealed()).await;
    let token = world.token(&pod).await;
    let unsealed = world.token(&world.pod("unsealed", json!({})).await).await;
    let told = async |reason: &str| {
        eventually(reason, async || {
            let answer = world.show(&token).await;
            let expected = json!({"error": "access_denied", "reason": reason});
            if answer.status == StatusCode::FORBIDDEN && answer.json() == expected {
                Ok(())
            } else {
                Err(answer.json())
            }
        })
        .await;
        world.is_refused(&unsealed, "seal").await;
        world.restore();
        eventually("it is mended", async || {
            let answer = world.show(&token).await;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(answer.json()) }
        })
        .await;
    };
    let delete = |kind: &str, name: &str| {
        kubectl(&["delete", kind, name, "--namespace", &world.vault]).expect("deleted");
    };
    delete("rolebinding", "agent-creds-agent-creds:assume");
    told("assume_missing").await;
    delete("role", "agent-creds-agent-creds:mint");
    told("mint_missing").await;
    delete("serviceaccount", "agent-creds");
    told("account_missing").await;
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn without_its_own_rights_it_is_unavailable_and_says_so() {
    let world = World::start("rights", timing()).await;
    let pod = world.pod("agent-1", world.sealed()).await;
    let token = world.token(&pod).await;
    world.gets_one(&token).await;
    kubectl(&["delete", "clusterrolebinding", "agent-creds-identity"]).expect("deleted");
    let answer = eventually("it has no rights", async || {
        let answer = world.show(&token).await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!(answer.json(), json!({"error": "temporarily_unavailable"}));
    assert!(answer.headers.contains_key("retry-after"));
    assert!(world.counted("own_rights").await >= 1);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn the_identity_server_may_do_what_it_needs_and_no_more() {
    let world = World::start("least", timing()).await;
    let may = |verb: &str, what: &str, namespace: &str| {
        let account = format!("system:serviceaccount:{RELEASE}:agent-creds-identity");
        cluster::may(&account, verb, what, namespace)
    };
    let (vault, ops) = (world.vault.as_str(), world.namespace.as_str());
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
    let mint = |account: &str, namespace: &str| {
        let identity = format!("system:serviceaccount:{RELEASE}:agent-creds-identity");
        kubectl(&["create", "token", account, "--namespace", namespace, "--as", &identity])
    };
    assert!(mint("agent-creds", vault).is_ok(), "of the account that opted in");
    for (account, namespace) in [("default", vault), ("agent", ops), ("agent-creds-identity", RELEASE)] {
        let refused = mint(account, namespace).expect_err("and of no other");
        assert!(refused.contains("Forbidden") || refused.contains("forbidden"), "{refused}");
    }
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn one_pod_that_asks_too_often_is_told_to_wait_and_no_other_is() {
    let mut timing = timing();
    timing.bounds.pod.burst = 3;
    let world = World::start("limits", timing).await;
    let (one, other) = (world.pod("one", world.sealed()).await, world.pod("other", world.sealed()).await);
    let token = world.token(&one).await;
    for _ in 0..3 {
        world.gets_one(&token).await;
    }
    let answer = world.show(&token).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 =
        answer.headers["retry-after"].to_str().ok().and_then(|wait| wait.parse().ok()).expect("seconds");
    assert!((3500..=3600).contains(&wait), "{wait}");
    // The pod counts, not the token that it shows.
    assert_eq!(world.show(&world.token(&one).await).await.status, StatusCode::TOO_MANY_REQUESTS);
    world.gets_one(&world.token(&other).await).await;
    // A token that only claims to be of the other pod does not count against it.
    let (head, _) =
        world.token(&other).await.rsplit_once('.').map(|(a, b)| (a.to_owned(), b.len())).expect("parts");
    for _ in 0..5 {
        world.is_refused(&format!("{head}.{}", "A".repeat(342)), "token_refused").await;
    }
    world.gets_one(&world.token(&other).await).await;
    assert_eq!(world.counted("pod_limited").await, 2);
}
