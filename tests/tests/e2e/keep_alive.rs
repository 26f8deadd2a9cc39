//! The CronJob that keeps a grant alive, when it overlaps itself and the agents.

use std::time::{Duration, UNIX_EPOCH};

use agent_creds_tests::cluster::{eventually, get, kubectl};
use agent_creds_tests::standin::{Fault, How};
use serde_json::{Value, json};

use crate::e2e::agent::{account, apply, example, name, restarts};
use crate::e2e::platform::{NIGHTLY, PLATFORM, START, why};
use crate::e2e::scene::{Scene, Spoilt};

/// Longer than a newcomer looks on before it claims (three seconds), and less than an answer is waited for (15).
const WHILE: Duration = Duration::from_secs(6);
/// Seconds after which the provider is asked again; until then the Jobs have started.
const RETRY_AFTER: &str = "20";

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_cron_job_that_overlaps_itself_and_the_agents_redeems_once() {
    let scene = Scene::open(NIGHTLY, 15);
    apply(&[account(NIGHTLY)]).expect("the account");
    // No agent runs yet, and both want the first token; the provider takes its time with the first of them.
    scene.spoil(Fault::new(How::Held));
    let jobs = both("first");
    let held = scene.spoilt(0);
    both_wait(&jobs, &held);
    scene.release(&held);
    complete(&jobs);
    assert_eq!(scene.presented().len(), 1, "{:#?}", scene.presented());

    // All the agents and both Jobs want the next one, in the same moment.
    let late = Fault::status(429).with_header("retry-after", RETRY_AFTER);
    scene.spoil(late);
    apply(&example(NIGHTLY, 3)).expect("applying the example agent");
    let refused = scene.spoilt(1);
    PLATFORM.standin.set_token_life(None);
    complete(&both("second"));
    scene.all_serve(3);
    assert_eq!(scene.presented().len(), 3, "the first, the one that was refused untouched, and one more");
    scene.is_kept_but_for(&[refused.token()]);
    assert_eq!(restarts(NIGHTLY), [].into());
}

/// Two Jobs of the CronJob at once, as `kubectl create job --from` makes them, but without an owner: of what a CronJob
/// owns its controller keeps one. A policy asks for the beginning of their names.
fn both(name: &str) -> [String; 2] {
    let cron_job = get(&["cronjob", "agent-creds-devops-agent-creds", "--namespace", NIGHTLY]);
    let names = [1, 2].map(|number| format!("agent-creds-{name}-{number}"));
    let jobs = names.each_ref().map(|name| {
        let mut job = cron_job["spec"]["jobTemplate"].clone();
        job["apiVersion"] = "batch/v1".into();
        job["kind"] = "Job".into();
        job["metadata"]["name"] = name.as_str().into();
        job["metadata"]["namespace"] = NIGHTLY.into();
        job
    });
    apply(&jobs).expect("making both");
    names
}

/// Waits until both run, and who came second had the time to do what it must not do while an answer is held back.
fn both_wait(jobs: &[String], held: &Spoilt) {
    for job in jobs {
        eventually(START, || {
            let selector = format!("batch.kubernetes.io/job-name={job}");
            let pods = get(&["pods", "--namespace", NIGHTLY, "--selector", &selector]);
            let pod = pods["items"].get(0).ok_or("no pod yet")?;
            let state = &pod["status"]["containerStatuses"][0]["state"];
            if state["running"].is_null() { Err(format!("{}: {state}", name(pod))) } else { Ok(()) }
        });
    }
    let since = Duration::from_millis(held.presentation.at_ms);
    eventually(START, || match UNIX_EPOCH.elapsed().expect("the clock is past 1970").saturating_sub(since) {
        passed if passed >= WHILE => Ok(()),
        passed => Err(format!("held back for {passed:?}")),
    });
}

/// Waits until each has succeeded, at the first try.
fn complete(jobs: &[String]) {
    for job in jobs {
        let job = format!("job/{job}");
        let wait = ["wait", "--for=condition=complete", &job, "--namespace", NIGHTLY, "--timeout=90s"];
        kubectl(&wait).unwrap_or_else(|error| panic!("{error}\n{}", why(NIGHTLY)));
        let status = &get(&[&job, "--namespace", NIGHTLY])["status"];
        assert_eq!((&status["succeeded"], &status["failed"]), (&json!(1), &Value::Null), "{status}");
    }
}
