//! Many sidecars with one grant: each refresh token is presented once, and all serve the result.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;

/// Returns all tokens that a grant's sidecars serve now, after checking that each is valid.
async fn served(world: &World, sidecars: &[Sidecar], grant: &str) -> BTreeSet<String> {
    let mut tokens = BTreeSet::new();
    for sidecar in sidecars {
        let before = now();
        let answer = sidecar.token(grant).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        let (body, token) = (answer.json(), answer.text("access_token").expect("a token"));
        let end = body["expires_at"].as_i64().expect("integer seconds");
        assert!(end >= before, "ended at {end}, served after {before}");
        assert!(
            end <= now() + 1 || world.standin.is_active(&token),
            "a token that the provider does not accept"
        );
        tokens.insert(token);
    }
    tokens
}

/// Checks that each token was presented once, each is the child of the previous one, and nothing was revoked.
async fn one_unbroken_line(world: &World, seed: &str, grant: &str) {
    let mut expected = Some(fingerprint(seed));
    for presentation in world.presented(grant) {
        assert_eq!((&presentation.token_sha256, &*presentation.outcome), (&expected, "granted"));
        expected = presentation.child_sha256;
    }
    eventually("the last child is stored", async || {
        let state = world.secrets.state(grant);
        if state["refresh"]["fp"].as_str() == expected.as_deref() {
            Ok(())
        } else {
            Err(state["gen"].clone())
        }
    })
    .await;
    assert_eq!(world.revoked(), 0);
}

#[tokio::test]
async fn three_sidecars_make_twenty_refreshes_with_one_presentation_each() {
    let world = World::without_logins(&["one"]).await;
    let seed = world.log_in("one");
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(world.sidecar(&["one"]).start().await);
    }
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    for refreshes in 1..=20 {
        // Some answers take so long that all sidecars want a refresh.
        front.is_slow(if refreshes % 5 == 0 { Duration::from_millis(700) } else { Duration::ZERO });
        world.secrets.age("one");
        eventually("one refresh", async || {
            served(&world, &sidecars, "one").await;
            let state = world.secrets.state("one");
            if state["gen"] == refreshes + 1 { Ok(()) } else { Err(state["gen"].clone()) }
        })
        .await;
    }
    eventually("all serve the newest token", async || {
        let tokens = served(&world, &sidecars, "one").await;
        if tokens.len() == 1 { Ok(()) } else { Err(tokens.len()) }
    })
    .await;
    assert_eq!(world.presented("one").len(), 21);
    one_unbroken_line(&world, &seed, "one").await;
    let mut counted = 0.0;
    for sidecar in &sidecars {
        let metrics = sidecar.metrics().await;
        let labels = "grant=\"one\",provider=\"oauth2\"";
        counted += metrics
            .get(&format!("agent_creds_refresh_total{{{labels},outcome=\"success\"}}"))
            .unwrap_or(&0.0);
        assert!(
            !metrics.keys().any(|series| series.starts_with("agent_creds_refresh_failures_total{")),
            "{metrics:?}"
        );
    }
    assert_eq!(counted, 21.0, "each refresh is counted by the sidecar that made it");
}

#[tokio::test]
async fn tokens_of_a_few_seconds_are_refreshed_in_time() {
    let world = World::without_logins(&["one"]).await;
    let seed = world.log_in("one");
    world.standin.set_token_life(Some(12));
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(world.sidecar(&["one"]).start().await);
    }
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    eventually("two refreshes", async || {
        served(&world, &sidecars, "one").await;
        let presented = world.presented("one").len();
        if presented >= 3 { Ok(()) } else { Err(presented) }
    })
    .await;
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    one_unbroken_line(&world, &seed, "one").await;
    let times: Vec<_> = world.presented("one").iter().map(|seen| seen.at_ms).collect();
    for pair in times.windows(2) {
        let between = pair[1] - pair[0];
        assert!((8_800..12_000).contains(&between), "neither early nor late: {between} ms of 12 s");
    }
}

#[tokio::test]
async fn a_later_sidecar_presents_nothing_and_serves_at_once() {
    let world = World::with(&["one"]).await;
    let first = world.sidecar(&["one"]).start().await;
    first.becomes("one", "ready", "ok").await;
    let token = first.access_token("one").await;
    drop(first);
    for _ in 0..3 {
        let later = world.sidecar(&["one"]).start().await;
        later.becomes("one", "ready", "ok").await;
        assert_eq!(later.access_token("one").await, token);
        assert!(!later.metrics().await.keys().any(|series| series.starts_with("agent_creds_refresh_total")));
    }
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn while_one_replica_waits_for_its_answer_the_others_present_nothing() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    let holder = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    let other = world.sidecar(&["one"]).start().await;
    decides_anew(&world, &other, "one").await;
    assert_eq!(other.token("one").await.status, 503);
    front.release();
    holder.becomes("one", "ready", "ok").await;
    other.becomes("one", "ready", "ok").await;
    assert_eq!(other.access_token("one").await, holder.access_token("one").await);
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn two_grants_with_one_refresh_token_do_not_present_it_twice() {
    let world = World::without_logins(&["one"]).await;
    world.log_in("one");
    let copy = world.secrets.bytes("one");
    world.secrets.write("copy", &copy);
    world.secrets.empty_state("copy");
    let sidecar = world.sidecar(&["one", "copy"]).start().await;
    eventually("both grants are settled", async || {
        let states = [sidecar.grant("one").await, sidecar.grant("copy").await];
        if states.iter().all(|grant| grant["state"] != "pending") { Ok(()) } else { Err(states) }
    })
    .await;
    assert_eq!(world.revoked(), 0, "the token is presented once");
}

#[tokio::test]
async fn a_killed_holders_claim_is_waited_for_and_then_in_doubt() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    // The claim term is 12 seconds.
    let start = || world.sidecar(&["one"]).argument("--time-scale=0.2").start();
    let holder = start().await;
    holder.becomes("one", "ready", "ok").await;
    let token = holder.access_token("one").await;
    front.hold();
    world.secrets.age("one");
    world.presented_times("one", 2).await;
    drop(holder);
    let since = Instant::now();
    let other = start().await;
    let listed = other.becomes("one", "degraded", "in_doubt").await;
    assert!(since.elapsed() >= Duration::from_secs(12), "the claim's term is not over: {listed}");
    assert_eq!(other.access_token("one").await, token);
    decides_anew(&world, &other, "one").await;
    assert_eq!(world.outcomes("one"), ["granted"; 2], "while the token lives, nothing is risked");
}
