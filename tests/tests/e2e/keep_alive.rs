//! The CronJob that keeps a grant alive, when it overlaps itself and the agents.

use agent_creds_tests::cluster::{eventually, get, kubectl};
use agent_creds_tests::standin::Fault;
use serde_json::{Value, json};

use crate::agent::{apply, restarts};
use crate::platform::{NIGHTLY, PLATFORM, START, why};
use crate::scene::Scene;

/// Seconds after which the provider is asked again; until then the Jobs have started.
const RETRY_AFTER: &str = "20";

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_cron_job_that_overlaps_itself_and_the_agents_redeems_once() {
    let scene = Scene::open(NIGHTLY, 15);
    // No agent runs yet, and both want the first token.
    both_complete("first");
    assert_eq!(scene.presented().len(), 1, "{:#?}", scene.presented());

    // All the agents and both Jobs want the next one, in the same moment.
    let late = Fault::status(429).with_header("retry-after", RETRY_AFTER);
    PLATFORM.standin.fail_next(1, &late.of_client(NIGHTLY));
    let before = scene.presented().len();
    scene.run(3);
    eventually(START, || {
        let refused = scene.presented()[before..].iter().any(|p| p.fault.is_some());
        if refused { Ok(()) } else { Err(why(NIGHTLY)) }
    });
    PLATFORM.standin.set_token_life(None);
    both_complete("second");
    scene.all_serve(3);
    let refused = scene.presented()[before].token_sha256.clone().expect("a refresh token");
    assert_eq!(scene.presented().len(), before + 2, "the one that was refused untouched, and one more");
    scene.is_kept_but_for(&[&refused]);
    assert_eq!(restarts(NIGHTLY), [].into());
}

/// Two Jobs of the CronJob at once; both succeed at the first try.
fn both_complete(name: &str) {
    let cron_job = get(&["cronjob", "agent-creds-devops-agent", "--namespace", NIGHTLY]);
    let names = [1, 2].map(|number| format!("{name}-{number}"));
    // As `kubectl create job --from` makes them, but for the owner: of what it owns the controller keeps only one.
    let jobs: Vec<Value> = names
        .iter()
        .map(|name| {
            let mut job = cron_job["spec"]["jobTemplate"].clone();
            job["apiVersion"] = "batch/v1".into();
            job["kind"] = "Job".into();
            job["metadata"]["name"] = name.as_str().into();
            job["metadata"]["namespace"] = NIGHTLY.into();
            job
        })
        .collect();
    apply(&jobs).expect("making both");
    for name in &names {
        let job = format!("job/{name}");
        let wait = ["wait", "--for=condition=complete", &job, "--namespace", NIGHTLY, "--timeout=90s"];
        kubectl(&wait).unwrap_or_else(|error| panic!("{error}\n{}", why(NIGHTLY)));
        let job = get(&[&job, "--namespace", NIGHTLY]);
        let status = &job["status"];
        assert_eq!((&status["succeeded"], &status["failed"]), (&json!(1), &Value::Null), "{status}");
    }
}
