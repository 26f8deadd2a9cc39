//! The keep-alive CronJob, when its Jobs overlap each other and the agents.

use std::time::{Duration, UNIX_EPOCH};

use agent_creds_tests::cluster::{eventually, get, kubectl};
use agent_creds_tests::standin::{Fault, How};
use serde_json::{Value, json};

use crate::e2e::agent::{account, apply, example, name, restarts};
use crate::e2e::login::{Login, Spoilt};
use crate::e2e::platform::{NIGHTLY, PLATFORM, START, why};

/// Longer than a new replica observes before it claims (3 s), and less than the budget for an answer (15 s).
const WHILE: Duration = Duration::from_secs(6);
/// Seconds until the next request to the provider. The Jobs start within this time.
const RETRY_AFTER: &str = "20";

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_cron_job_that_overlaps_itself_and_the_agents_redeems_once() {
    let login = Login::open(NIGHTLY, 15);
    apply(&[account(NIGHTLY)]).expect("the account");
    // No agent runs yet, and both Jobs want the first token. The provider holds its answer back.
    login.spoil(Fault::new(How::Held));
    let jobs = both("first");
    let held = login.spoilt(0);
    both_wait(&jobs, &held);
    login.release(&held);
    complete(&jobs);
    assert_eq!(login.presented().len(), 1, "{:#?}", login.presented());

    // All agents and both Jobs want the next token at the same moment.
    let late = Fault::status(429).with_header("retry-after", RETRY_AFTER);
    login.spoil(late);
    apply(&example(NIGHTLY, 3)).expect("applying the example agent");
    let refused = login.spoilt(1);
    PLATFORM.standin.set_token_life(None);
    complete(&both("second"));
    login.all_serve(3);
    assert_eq!(login.presented().len(), 3, "expected the first presentation, the refused one and one more");
    login.is_kept_but_for(&[refused.token()]);
    assert_eq!(restarts(NIGHTLY), [].into());
}

/// Creates two Jobs of the CronJob at once, as `kubectl create job --from` does, but without an owner: a CronJob's
/// controller would keep only one. A policy requires the prefix of their names.
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
    apply(&jobs).expect("creating both Jobs");
    names
}

/// Waits until both run, and the second one had time for a mistake while the answer is held back.
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

/// Waits until each Job has succeeded without a retry.
fn complete(jobs: &[String]) {
    for job in jobs {
        let job = format!("job/{job}");
        let wait = ["wait", "--for=condition=complete", &job, "--namespace", NIGHTLY, "--timeout=90s"];
        kubectl(&wait).unwrap_or_else(|error| panic!("{error}\n{}", why(NIGHTLY)));
        let status = &get(&[&job, "--namespace", NIGHTLY])["status"];
        assert_eq!((&status["succeeded"], &status["failed"]), (&json!(1), &Value::Null), "{status}");
    }
}
