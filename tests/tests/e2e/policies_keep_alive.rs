//! The pods of a keep-alive CronJob, which run as the account that may read the grants: exec and changes are refused,
//! no other pod can use the account, and the CronJob still works.

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use agent_creds_tests::standin::{Fault, How};
use serde_json::{Value, json};

use crate::e2e::agent::{account, apply, name};
use crate::e2e::login::Login;
use crate::e2e::platform::{ACCOUNT, CHANGED, CLOSED, START, why};
use crate::e2e::policies::refused;

const EXEC: &str = "exec and attach are denied for container agent-creds";
const UNNAMED: &str = "a request without a container name could reach the container of a keep-alive pod";
const IMAGE: &str = "the image of container agent-creds cannot be changed in a running pod";
const EPHEMERAL: &str = "a keep-alive pod cannot get an ephemeral container";
const NO_ACCOUNT: &str = "only the keep-alive pods of agent-creds may run as one";
const NOT_OURS: &str = "must equal the template of the agent-creds CronJob";

/// Runs kubectl in a namespace.
fn kubectl_in(namespace: &str, arguments: &[&str]) -> Result<String, String> {
    kubectl(&[&["--namespace", namespace], arguments].concat())
}

/// Creates a Job of the CronJob.
fn job(namespace: &str, name: &str) {
    let from = format!("--from=cronjob/agent-creds-{ACCOUNT}-creds");
    kubectl_in(namespace, &["create", "job", &from, name]).expect("a Job of the CronJob");
}

fn completes(namespace: &str, name: &str) {
    let wait = ["wait", "--for=condition=complete", &format!("job/{name}"), "--timeout=90s"];
    kubectl_in(namespace, &wait).unwrap_or_else(|error| panic!("{error}\n{}", why(namespace)));
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_keep_alive_pod_cannot_be_entered_or_changed() {
    let there = |arguments: &[&str]| kubectl_in(CLOSED, arguments);
    let login = Login::open(CLOSED, 15);
    apply(&[account(CLOSED)]).expect("the account");
    // The pod runs as long as the provider holds its answer back: some seconds.
    login.spoil(Fault::new(How::Held));
    job(CLOSED, "agent-creds-closed");
    let held = login.spoilt(0);
    let pod = held.holder.as_str();
    let path = |rest: &str| format!("/api/v1/namespaces/{CLOSED}/pods/{pod}/{rest}");

    let program = ["/agent-creds-sidecar", "refresh", "--once", "--api-server=https://elsewhere.example.com"];
    let exec = |more: &[&str]| there(&[&["exec", pod], more, &["--"], &program].concat());
    refused(exec(&["--container=agent-creds"]), "exec", EXEC);
    refused(exec(&[]), "exec", EXEC);
    for request in ["exec?stdout=true&command=id", "exec?command=id&container=", "attach?stdout=true"] {
        refused(kubectl(&["get", "--raw", &path(request)]), "exec", UNNAMED);
        refused(pipe("{}", &["create", "--raw", &path(request)]), "exec", UNNAMED);
    }
    refused(there(&["set", "image", &format!("pod/{pod}"), "*=localhost/pause:1"]), "pods", IMAGE);
    let debug = ["debug", pod, "--image=localhost/test-agent:1", "--profile=baseline", "--quiet"];
    refused(there(&[&debug[..], &["--", "sleep", "60"]].concat()), "pods", EPHEMERAL);
    let mut whole = get(&["pod", pod, "--namespace", CLOSED]);
    whole["spec"]["ephemeralContainers"] = json!([{"name": "reader", "image": "localhost/test-agent:1",
        "volumeMounts": [{"name": "identity", "mountPath": "/stolen"}, {"name": "spool", "mountPath": "/spool"}]}]);
    let replaced = pipe(&whole.to_string(), &["replace", "--raw", &path("ephemeralcontainers")]);
    refused(replaced, "pods", EPHEMERAL);
    let copy = ["debug", pod, "--copy-to=agent-creds-copy", "--image=localhost/test-agent:1", "--quiet"];
    refused(there(&[&copy[..], &["--attach=false", "--", "sleep", "60"]].concat()), "accounts", NO_ACCOUNT);
    there(&["logs", pod]).expect("the log is readable");
    there(&["label", "pod", pod, "example.com/a=b"]).expect("other labels may be changed");

    login.release(&held);
    completes(CLOSED, "agent-creds-closed");
    let pod = get(&["pod", pod, "--namespace", CLOSED]);
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0, "{}", pod["status"]);
    assert!(pod["spec"]["ephemeralContainers"].is_null(), "{}", name(&pod));
    assert_eq!(login.presented().len(), 1, "{:#?}", login.presented());
    login.is_kept();
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_changed_cron_job_cannot_create_pods_of_the_credential_account() {
    let there = |arguments: &[&str]| kubectl_in(CHANGED, arguments);
    let login = Login::open(CHANGED, 15);
    apply(&[account(CHANGED)]).expect("the account");
    let cron_job = format!("cronjob/agent-creds-{ACCOUNT}-creds");
    let container = "/spec/jobTemplate/spec/template/spec/containers/0";
    let before = get(&[&cron_job, "--namespace", CHANGED]);
    let patched = |patch: Value| {
        there(&["patch", &cron_job, "--type=json", "--patch", &patch.to_string()])
            .expect("the role edit allows the change");
    };
    let refused_pods = |job: &str, sentence: &str| {
        eventually(START, || {
            let object = format!("involvedObject.name={job}");
            let events = there(&["get", "events", "--field-selector", &object, "--output=json"])?;
            let says = |text: &str| events.contains(text);
            if says("agent-creds-accounts") && says(sentence) { Ok(()) } else { Err(events) }
        });
        let selector = format!("batch.kubernetes.io/job-name={job}");
        let pods = get(&["pods", "--namespace", CHANGED, "--selector", &selector]);
        assert_eq!(pods["items"], json!([]), "no pod was created");
    };
    patched(json!([{"op": "add", "path": format!("{container}/args/-"),
        "value": "--api-server=https://elsewhere.example.com"}]));
    job(CHANGED, "agent-creds-elsewhere");
    refused_pods("agent-creds-elsewhere", NOT_OURS);
    patched(json!([{"op": "replace", "path": format!("{container}/args"),
        "value": before.pointer(&format!("{container}/args"))},
        {"op": "replace", "path": format!("{container}/image"), "value": "localhost/test-agent:1"}]));
    job(CHANGED, "agent-creds-another");
    refused_pods("agent-creds-another", NO_ACCOUNT);
    patched(json!([{"op": "replace", "path": format!("{container}/image"),
        "value": before.pointer(&format!("{container}/image"))}]));

    // The original CronJob still works.
    job(CHANGED, "agent-creds-again");
    completes(CHANGED, "agent-creds-again");
    login.is_kept();
}
