//! The agent reports a rejected access token. It gets another one, once; repeated reports cause no further refreshes.

use std::time::Instant;

use super::*;

/// Reports this token as rejected, and returns the answer.
async fn complain(sidecar: &Sidecar, access_token: &str) -> Answer {
    sidecar.get(&format!("/v1/token/one?rejected={}", fingerprint(access_token))).await
}

async fn suppressed(sidecar: &Sidecar) -> f64 {
    sidecar.metrics().await["agent_creds_forced_refresh_suppressed_total{grant=\"one\"}"]
}

/// Creates an environment with an old redemption and ready sidecars. Returns the token that they serve, too.
async fn ready(replicas: usize) -> (World, Vec<Sidecar>, String) {
    let world = World::with(&["one"]).await;
    let mut sidecars = Vec::new();
    for _ in 0..replicas {
        sidecars.push(world.sidecar(&["one"]).start().await);
    }
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    world.secrets.rest("one");
    let token = sidecars[0].access_token("one").await;
    (world, sidecars, token)
}

#[tokio::test]
async fn a_rejected_token_is_replaced_once_for_all_replicas() {
    let (world, sidecars, refused) = ready(3).await;
    let answers = tokio::join!(
        complain(&sidecars[0], &refused),
        complain(&sidecars[1], &refused),
        complain(&sidecars[2], &refused),
        complain(&sidecars[0], &refused),
    );
    let tokens: Vec<_> = [answers.0, answers.1, answers.2, answers.3]
        .iter()
        .map(|answer| answer.text("access_token").expect("a token"))
        .collect();
    assert!(tokens.iter().all(|token| *token == tokens[0] && *token != refused));
    assert!(world.standin.is_active(&tokens[0]));
    assert_eq!(world.outcomes("one"), ["granted"; 2], "one refresh for four reports");
    for sidecar in &sidecars {
        assert_eq!(suppressed(sidecar).await, 0.0);
    }
    // A report about the previous token changes nothing, because that token is no longer served.
    world.secrets.rest("one");
    for sidecar in &sidecars {
        assert_eq!(complain(sidecar, &refused).await.text("access_token").as_ref(), Some(&tokens[0]));
    }
    assert_eq!((world.presented("one").len(), suppressed(&sidecars[0]).await), (2, 0.0));
}

#[tokio::test]
async fn a_rejected_replacement_is_not_replaced_again() {
    let (world, sidecars, refused) = ready(1).await;
    let second = complain(&sidecars[0], &refused).await.text("access_token").expect("a token");
    assert_ne!(second, refused);
    world.secrets.rest("one");
    // Not even after the least distance between two forced refreshes, because the last one did not help.
    world.secrets.edit_state("one", |document| {
        document["forced"]["at"] = json!(LONG_AGO);
        document["access"]["issued_at"] = json!(LONG_AGO);
        document["access"]["lifetime_s"] = json!(1_000_000_000);
    });
    let since = Instant::now();
    let third = complain(&sidecars[0], &second).await;
    assert_eq!(third.text("access_token"), Some(second));
    assert!(since.elapsed() < Duration::from_secs(10), "the answer does not wait");
    assert_eq!((world.presented("one").len(), suppressed(&sidecars[0]).await), (2, 1.0));
}

#[tokio::test]
async fn right_after_a_refresh_the_current_token_is_served_at_once() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let token = sidecar.access_token("one").await;
    let since = Instant::now();
    assert_eq!(complain(&sidecar, &token).await.text("access_token"), Some(token));
    assert!(since.elapsed() < Duration::from_secs(10), "two redemptions are a minute apart");
    assert_eq!((world.presented("one").len(), suppressed(&sidecar).await), (1, 1.0));
}

#[tokio::test]
async fn a_report_during_a_refresh_waits_for_its_result() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    let holder = world.sidecar(&["one"]).start().await;
    holder.becomes("one", "ready", "ok").await;
    let other = world.sidecar(&["one"]).start().await;
    other.becomes("one", "ready", "ok").await;
    let token = other.access_token("one").await;
    front.hold();
    world.secrets.age("one");
    world.presented_times("one", 2).await;
    let (first, second, ()) = tokio::join!(complain(&holder, &token), complain(&other, &token), async {
        decides_anew(&world, &other, "one").await;
        front.release();
    });
    let second = second.text("access_token").expect("a token");
    assert_eq!(first.text("access_token").as_ref(), Some(&second));
    assert_ne!(second, token);
    assert_eq!(world.outcomes("one"), ["granted"; 2]);
}

#[tokio::test]
async fn a_failed_forced_refresh_keeps_the_current_token() {
    let (world, sidecars, token) = ready(1).await;
    world.standin.fail_next(1, &Fault::status(429).with_header("retry-after", "600"));
    let answer = complain(&sidecars[0], &token).await;
    assert_eq!((answer.status.as_u16(), answer.text("access_token").as_ref()), (200, Some(&token)));
    assert_eq!((world.presented("one").len(), suppressed(&sidecars[0]).await), (2, 1.0));
    assert_eq!(sidecars[0].access_token("one").await, token);
}

#[tokio::test]
async fn other_queries_are_refused() {
    let (world, sidecars, token) = ready(1).await;
    let fp = fingerprint(&token);
    for query in ["x=y", "rejected", "rejected=", "rejected=abc", &format!("rejected={fp}&x=y")] {
        let (status, error, text) = refusal(&sidecars[0].get(&format!("/v1/token/one?{query}")).await);
        assert_eq!((status, &*error), (400, "invalid_request"), "{query}");
        assert!(text.contains("rejected=<SHA-256"), "{text}");
    }
    let (status, error, _) = refusal(&sidecars[0].get(&format!("/v1/token/two?rejected={fp}")).await);
    assert_eq!((status, &*error), (404, "unknown_grant"));
    let unknown = sidecars[0].get(&format!("/v1/token/one?rejected={}", "0".repeat(64))).await;
    assert_eq!(unknown.text("access_token"), Some(token));
    assert_eq!((world.presented("one").len(), suppressed(&sidecars[0]).await), (1, 0.0));
}
