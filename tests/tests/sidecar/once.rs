//! `refresh --once`, as a CronJob runs it: what would end is redeemed, and nothing else.

use std::process::Output;

use super::*;

const DAY: i64 = 86_400;

/// Exit status and what it said to a person.
fn end(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The end of one that had nothing to complain about.
const FINE: (Option<i32>, String) = (Some(0), String::new());

/// Makes the access token old, and good for another day.
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
async fn redeems_what_would_end_and_leaves_the_rest_alone() {
    let world = World::with(&["one"]).await;
    let job = world.sidecar(&["one"]);
    assert_eq!(end(&job.refresh(&[]).await), FINE, "a new login");
    assert_eq!(world.outcomes("one"), ["granted"]);

    assert_eq!(end(&job.refresh(&[]).await), FINE);
    aged(&world, 6);
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.presented("one").len(), 1, "an agent would have renewed it; nothing would end");

    aged(&world, 8);
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.presented("one").len(), 2, "a quarter of the idle limit, seven days at most");

    world.secrets.edit_state("one", |document| {
        document["access"]["expires_at"] = json!(LONG_AGO);
        document["last"]["redeemed_at"] = json!(LONG_AGO);
    });
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.outcomes("one"), ["granted"; 3], "the access token had ended");
}

#[tokio::test]
async fn an_attempt_that_failed_has_kept_nothing_alive() {
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
async fn takes_its_turn_among_replicas() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    // Long enough for the job to want a token itself.
    front.is_slow(Duration::from_secs(5));
    let sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    assert_eq!(end(&world.sidecar(&["one"]).refresh(&[]).await), FINE);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn what_cannot_be_stored_in_time_is_said_and_stored_by_the_next() {
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
    // The container starts again, in the same pod.
    assert_eq!(end(&job.refresh(&[]).await), FINE);
    assert_eq!(world.secrets.state("one")["refresh"]["fp"].as_str(), child.as_deref());
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn says_when_a_person_has_to_act_and_for_which_grant() {
    let world = World::with(&["dead", "alive", "wrong"]).await;
    let seed = world.log_in("dead");
    assert!(world.standin.revoke(&seed));
    world.secrets.set("wrong", "grant.yaml", "token_url: here");
    let (code, said) = end(&world.sidecar(&["alive", "wrong"]).refresh(&[]).await);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("wrong: misconfigured: ") && said.contains("key grant.yaml"), "{said}");
    assert_eq!(world.outcomes("alive"), ["granted"], "one that is wrong is in nobody's way");
    let (code, said) = end(&world.sidecar(&["dead", "alive", "wrong"]).refresh(&[]).await);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("dead: reauth_required: ") && !said.contains("alive"), "{said}");
}
