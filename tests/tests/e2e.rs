//! End to end, from an annotated pod to a served token, with real Kubernetes: helm installs the chart, the API server
//! calls the webhook through its Service, the kubelet runs the pods, and a program in the agent container requests the
//! token.

mod agent;
mod forced;
mod keep_alive;
mod leaving;
mod login;
mod platform;
mod policies;
mod policies_access;
mod policies_excluded;
mod policies_keep_alive;
mod upgrade;
mod used_rights;
mod versions;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::Duration;

use agent::{account, apply, ask, document, example, grant, logs, name, ready_pods, restarts, shell};
use agent_creds_tests::cluster::{SYSTEM, command, eventually, get, kubectl};
use agent_creds_tests::event::{fingerprint, presentations};
use platform::{ACCOUNT, GRANT, PLATFORM, START, TOKEN_LIFE, why};
use serde_json::{Value, json};

#[test]
#[ignore = "needs the node: make test starts it"]
fn three_replicas_share_one_grant_through_twenty_refreshes() {
    let standin = &PLATFORM.standin;
    let seed = PLATFORM.log_in("ops");
    apply(&example("ops", 3)).expect("applying the example agent");
    let pods = ready_pods("ops", 3);
    for pod in &pods {
        is_injected(pod);
        // A pod can be ready before its first token arrives.
        eventually(START, || ask("ops", name(pod), "/v1/token/pagerduty").map(|_| ()));
    }
    let redeemed = || -> Vec<String> {
        let log = standin.log();
        let mine = presentations(&log).filter(|p| p.client_id.as_deref() == Some("ops"));
        mine.filter_map(|p| p.token_sha256.clone()).collect()
    };
    // During the refreshes every replica serves valid tokens.
    let mut answers = 0;
    eventually(Duration::from_secs(60 * TOKEN_LIFE), || {
        for pod in &pods {
            let answer = ask("ops", name(pod), "/v1/token/pagerduty")
                .unwrap_or_else(|error| panic!("{error}\n{}", why("ops")));
            let token = answer["access_token"].as_str().expect("an access token");
            let active = standin.is_active(token);
            let left = answer["expires_in"].as_i64().expect("seconds");
            assert!(active || left <= 1, "an invalid token, {left} s before its expiry");
            assert!(
                answer["scope"].as_str().is_some_and(|scope| scope.contains("incidents.read")),
                "{answer}"
            );
            answers += 1;
        }
        let times = redeemed().len();
        if times > 20 { Ok(()) } else { Err(format!("{times} presentations")) }
    });
    let tokens = redeemed();
    let mut times = BTreeMap::new();
    for token in &tokens {
        *times.entry(token).or_insert(0) += 1;
    }
    assert!(times.values().all(|count| *count == 1), "each refresh token is presented once: {times:?}");
    assert_eq!(tokens[0], fingerprint(&seed), "the first one presented is the login's");
    assert!(!standin.is_revoked(&seed), "the provider has not revoked the login");
    assert!(answers > 30, "{answers} answers");

    let document = document("ops");
    assert_ne!(document["refresh"]["token"], seed.as_str());
    assert!(document["gen"].as_u64() >= Some(20));
    let holders: std::collections::BTreeSet<_> = logs_of_refreshes(&pods);
    println!("{} presentations, {answers} answers, refreshed by {} replicas", tokens.len(), holders.len());
    assert_eq!(restarts("ops"), [].into());
    for pod in &pods {
        let text = logs("ops", name(pod));
        let refresh = document["refresh"]["token"].as_str().expect("a token");
        for secret in [seed.as_str(), refresh, "stand-in-client-secret"] {
            assert!(!text.contains(secret), "a secret in the log of {}", name(pod));
        }
    }
}

/// Returns the names of the pods that logged a successful refresh.
fn logs_of_refreshes(pods: &[Value]) -> std::collections::BTreeSet<String> {
    let made = |pod: &&Value| logs("ops", name(pod)).contains("\"outcome\":\"success\"");
    pods.iter().filter(made).map(|pod| name(pod).to_owned()).collect()
}

fn is_injected(pod: &Value) {
    let first = &pod["spec"]["initContainers"][0];
    assert_eq!((&first["name"], &first["restartPolicy"]), (&"agent-creds".into(), &"Always".into()));
    assert_eq!(pod["metadata"]["labels"]["agent-creds/injected"], "true");
    let agent = &pod["spec"]["containers"][0];
    let mounts = agent["volumeMounts"].as_array().expect("mounts");
    let ours: Vec<_> =
        mounts.iter().filter(|m| m["name"].as_str().is_some_and(|n| n.starts_with("agent-creds"))).collect();
    assert_eq!(ours.len(), 1, "the agent gets only the shared volume: {ours:?}");
    assert_eq!((&ours[0]["name"], &ours[0]["readOnly"]), (&"agent-creds-shared".into(), &true.into()));
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_job_completes_beside_its_sidecar() {
    PLATFORM.log_in("job");
    let script = r#"
        until wget -q -O /dev/null --header "Authorization: Bearer $(cat "$AGENT_CREDS_KEY_FILE")" "$AGENT_CREDS_URL/v1/token/pagerduty"
        do :; done"#;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "triage", "namespace": "job"},
        "spec": {"backoffLimit": 0, "template": pod_template(script)},
    });
    apply(&[account("job"), job]).expect("applying the job");
    kubectl(&["wait", "--for=condition=complete", "job/triage", "--namespace", "job", "--timeout=90s"])
        .unwrap_or_else(|error| panic!("{error}\n{}", why("job")));
    let pod = &get(&["pods", "--namespace", "job"])["items"][0];
    let sidecar = &pod["status"]["initContainerStatuses"][0]["state"]["terminated"];
    assert_eq!(sidecar["exitCode"], 0, "the sidecar exits on SIGTERM: {sidecar}");
}

fn pod_template(script: &str) -> Value {
    json!({
        "metadata": {"annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"}},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "restartPolicy": "Never",
            "containers": [{"name": "agent", "image": "localhost/test-agent:1", "command": ["sh", "-c", script]}],
        },
    })
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_missing_grant_is_reported_and_used_without_a_restart_once_it_exists() {
    apply(&example("late", 1)).expect("applying the example agent");
    let pods = ready_pods("late", 1);
    let pod = name(&pods[0]);
    let status = eventually(START, || match grant("late", pod)? {
        grant if grant["state"] == "misconfigured" => Ok(grant),
        grant => Err(grant.to_string()),
    });
    let message = status["message"].as_str().expect("a message");
    assert!(message.contains(&format!("late/{GRANT}")), "the message names the object: {message}");
    let refused = shell("late", pod, r#"wget -S -q -O - --header "Authorization: Bearer $(cat "$AGENT_CREDS_KEY_FILE")" "$AGENT_CREDS_URL/v1/token/pagerduty" 2>&1; true"#).expect("wget");
    assert!(refused.contains("503"), "{refused}");

    PLATFORM.log_in("late");
    eventually(START, || ask("late", pod, "/v1/token/pagerduty").map(|_| ()));
    assert_eq!(restarts("late"), [].into());

    // The right is revoked, and granted again by the commands in the message.
    let binding = format!("rolebinding/agent-creds-{ACCOUNT}-creds");
    kubectl(&["delete", &binding, "--namespace", "late"]).expect("revoking the right");
    let status = eventually(START, || match grant("late", pod)? {
        grant if grant["reason"] == "store_forbidden" => Ok(grant),
        grant => Err(grant.to_string()),
    });
    assert_eq!(status["state"], "misconfigured");
    let message = status["message"].as_str().expect("a message");
    let (_, commands) = message.split_once("run: ").unwrap_or_else(|| panic!("{message}"));
    let done = command(OsStr::new("sh"), &["-c", commands], "");
    assert!(done.status.success(), "{commands}\n{}", String::from_utf8_lossy(&done.stderr));
    eventually(START, || match grant("late", pod)? {
        grant if grant["state"] == "ready" => Ok(()),
        grant => Err(grant.to_string()),
    });
    assert_eq!(restarts("late"), [].into());
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn strict_start_holds_the_agent_until_its_grant_is_ready() {
    let mut objects = example("strict", 1);
    for object in objects.iter_mut().filter(|object| object["kind"] == "Deployment") {
        object["spec"]["template"]["metadata"]["annotations"]["agent-creds/strict-start"] = "true".into();
    }
    apply(&objects).expect("applying the example agent");
    let sidecar_runs = || {
        let pod = &get(&["pods", "--namespace", "strict"])["items"][0];
        let status = &pod["status"];
        let running = !status["initContainerStatuses"][0]["state"]["running"].is_null();
        let waiting = status["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing";
        if running && waiting { Ok(name(pod).to_owned()) } else { Err(status.to_string()) }
    };
    let pod = eventually(START, sidecar_runs);
    eventually(START, || {
        let text = kubectl(&["logs", &pod, "--namespace", "strict", "--container", "agent-creds"])?;
        if text.contains("grant_missing") { Ok(()) } else { Err(text) }
    });
    assert_eq!(sidecar_runs().as_ref(), Ok(&pod), "the agent does not start");
    PLATFORM.log_in("strict");
    ready_pods("strict", 1);
}

/// Scales the webhook up again when a test that took it down ends, also if the test panics.
struct WebhookDown;

impl WebhookDown {
    fn scale(replicas: &str) -> Result<String, String> {
        let target = ["scale", "deployment/agent-creds-admit", "--namespace", SYSTEM];
        kubectl(&[&target[..], &[&format!("--replicas={replicas}")]].concat())
    }

    fn begin() -> Self {
        Self::scale("0").expect("taking the webhook down");
        Self
    }
}

impl Drop for WebhookDown {
    fn drop(&mut self) {
        let _ = Self::scale("2");
        let rollout = ["rollout", "status", "deployment/agent-creds-admit", "--namespace", SYSTEM];
        let _ = kubectl(&[&rollout[..], &["--timeout=90s"]].concat());
    }
}

/// Invariant I9. Other tests do not run at the same time (`--test-threads=1`): their pods would be refused.
#[test]
#[ignore = "needs the node: make test starts it"]
fn with_the_webhook_down_only_annotated_pods_are_refused() {
    std::sync::LazyLock::force(&PLATFORM);
    let pod = |name: &str, annotations: Value| {
        let mut pod = pod_template("true");
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        pod["metadata"] = json!({"name": name, "namespace": "down", "annotations": annotations});
        pod
    };
    apply(&[account("down")]).expect("the account");
    let down = WebhookDown::begin();
    eventually(START, || {
        let admit = ["pods", "--namespace", SYSTEM, "--selector", "app.kubernetes.io/component=admit"];
        let left = get(&admit)["items"].as_array().map_or(0, Vec::len);
        if left == 0 { Ok(()) } else { Err(format!("{left} webhook pods left")) }
    });
    let refused =
        apply(&[pod("annotated", json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"}))])
            .expect_err("an annotated pod is refused while the webhook is down");
    assert!(refused.contains("pods.mutate.agent-creds"), "{refused}");
    apply(&[pod("plain", json!({})), pod("declined", json!({"agent-creds/inject": "false"}))])
        .expect("other pods are admitted");
    drop(down);
    eventually(START, || {
        apply(&[pod("annotated", json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"}))])
    });
}
