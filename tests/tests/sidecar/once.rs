//! `refresh --once`, as the keep-alive CronJob runs it: it refreshes only grants that would expire.

use std::process::Output;

use super::*;

const DAY: i64 = 86_400;

/// Returns exit code and standard error.
fn end(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Exit code and standard error of a successful run.
const FINE: (Option<i32>, String) = (Some(0), String::new());

/// Makes the access token `days` old and valid for another day.
fn aged(world: &World, days: i64) {
    let at = |seconds: i64| json!(jiff::Timestamp::from_second(now() + seconds).expect("a time").to_string());
    world.secrets.edit_state("one", |document| {
        document["access"]["issued_at"] = at(-days * DAY);
        document["access"]["expires_at"] = at(DAY);
        document["access"]["lifetime_s"] = json!((days + 1) * DAY);
        document["last"]["redeemed_at"] = at(-days * DAY);
    });
}

#[tokio::test]
async fn refreshes_only_grants_that_would_expire() {
    let world = World::with(&["one"]).await;
    let job = world.sidecar(&["one"]);
    assert_eq!(end(&job.refresh(&[]).await), FINE, "a new login");
    assert_eq!(world.outcomes("one"), ["granted"]);

    assert_eq!(end(&job.refresh(&[]).await), FINE);
    aged(&world, 6);
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.presented("one").len(), 1, "the grant would not expire");

    aged(&world, 8);
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.presented("one").len(), 2, "due after a quarter of the idle limit, seven days at most");

    world.secrets.edit_state("one", |document| {
        document["access"]["expires_at"] = json!(LONG_AGO);
        document["last"]["redeemed_at"] = json!(LONG_AGO);
    });
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.outcomes("one"), ["granted"; 3], "the access token had expired");
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_by_the_next_run() {
    let world = World::with(&["one"]).await;
    let job = world.sidecar(&["one"]);
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    aged(&world, 8);
    world.standin.fail_next(1, &Fault::status(429).with_header("retry-after", "3600"));
    let (code, said) = end(&job.refresh(&[]).await);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("one: degraded: ") && said.contains("429"), "{said}");
    world.secrets.hurry("one");
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.outcomes("one").last().map(String::as_str), Some("granted"));
}

#[tokio::test]
async fn does_not_refresh_while_a_replica_does() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    // Long enough for the job to want a token too.
    front.is_slow(Duration::from_secs(5));
    let sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    assert_eq!(end(&world.sidecar(&["one"]).refresh(&[]).await), FINE);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn an_answer_that_is_not_stored_in_time_is_reported_and_stored_by_the_next_run() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    let job = world.sidecar(&["one"]);
    let (output, ()) = tokio::join!(job.refresh(&["--deadline=12"]), async {
        world.presented_times("one", 1).await;
        world.secrets.block("one");
        front.release();
    });
    let (code, said) = end(&output);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("a received refresh token is not stored yet"), "{said}");
    let child = world.presented("one")[0].child_sha256.clone();
    assert_ne!(world.secrets.state("one")["refresh"]["fp"].as_str(), child.as_deref());
    world.secrets.unblock("one");
    // The container restarts in the same pod.
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.secrets.state("one")["refresh"]["fp"].as_str(), child.as_deref());
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn reports_each_grant_that_needs_a_person() {
    let world = World::with(&["dead", "alive", "wrong"]).await;
    let seed = world.log_in("dead");
    assert!(world.standin.revoke(&seed));
    world.secrets.set("wrong", "grant.yaml", "token_url: here");
    let (code, said) = end(&world.sidecar(&["alive", "wrong"]).refresh(&[]).await);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("wrong: misconfigured: ") && said.contains("key grant.yaml"), "{said}");
    assert_eq!(world.outcomes("alive"), ["granted"], "an invalid grant does not affect the others");
    let (code, said) = end(&world.sidecar(&["dead", "alive", "wrong"]).refresh(&[]).await);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("dead: reauth_required: ") && !said.contains("alive"), "{said}");
}
