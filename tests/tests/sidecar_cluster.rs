//! The real sidecar beside a real API server, with a ServiceAccount's token and the rights that the chart grants.

use agent_creds_tests::cluster::{self, get, helm, kubectl, pipe, root};
use agent_creds_tests::event::presentations;
use agent_creds_tests::sidecar::{LONG_AGO, Secrets, Setup, eventually, one};
use agent_creds_tests::standin::{Fault, Standin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An agent in its own namespace, with one grant and a provider.
struct Environment {
    namespace: &'static str,
    standin: Standin,
    secrets: Secrets,
    identity: TempDir,
}

impl Environment {
    async fn new(namespace: &'static str) -> Self {
        let standin = one::provider(None).await;
        let identity = tempfile::tempdir().expect("a temporary folder");
        let environment = Self { namespace, standin, secrets: Secrets::new(), identity };
        kubectl(&["create", "namespace", namespace]).expect("a namespace");
        kubectl(&["create", "serviceaccount", "agent", "--namespace", namespace]).expect("an account");
        pipe(&environment.rendered(), &["apply"]).expect("the chart's objects for an agent");
        environment.log_in();
        let token = kubectl(&["create", "token", "agent", "--namespace", namespace]).expect("a token");
        std::fs::write(environment.identity.path().join("api-token"), token.trim()).expect("our own folder");
        environment
    }

    /// Renders the chart's state Secret and rights.
    fn rendered(&self) -> String {
        let grants = json!([{"agent": {"namespace": self.namespace, "name": "agent"}, "secrets": ["one"]}]);
        let values = json!({"identity": {"mode": "pod"}, "grants": grants});
        let chart = root().join("charts/agent-creds");
        let chart = chart.to_str().expect("UTF-8");
        let mut arguments =
            vec!["template", "agent-creds", chart, "--kube-version", "1.35.0", "--values", "-"];
        for template in [
            "templates/grant-role.yaml",
            "templates/grant-rolebinding.yaml",
            "templates/grant-state-secret.yaml",
        ] {
            arguments.extend(["--show-only", template]);
        }
        helm(&arguments, &values.to_string()).expect("rendering the chart")
    }

    /// Creates a login and writes it into the grant Secret.
    fn log_in(&self) {
        let secret = one::grant_secret(&self.standin, self.namespace, &self.secrets);
        pipe(&secret.to_string(), &["apply"]).expect("writing the grant Secret");
    }

    fn sidecar(&self) -> Setup {
        let server =
            kubectl(&["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]);
        Setup::new(&self.secrets)
            .in_cluster()
            .trust(self.standin.ca_pem())
            .argument(&format!("--grant=one={}/one", self.namespace))
            .argument(&format!("--api-server={}", server.expect("the API server's address")))
            .argument(&format!("--api-ca-file={}", cluster::directory().join("ca.crt").display()))
            .argument("--identity=pod")
            .argument(&format!("--identity-dir={}", self.identity.path().display()))
    }

    fn state(&self) -> Value {
        let secret = get(&["secret", "one-state", "--namespace", self.namespace]);
        let encoded = secret["data"]["state"].as_str().expect("a document");
        serde_json::from_slice(&STANDARD.decode(encoded).expect("base64")).expect("JSON")
    }

    /// Makes the access token look old enough for a refresh.
    async fn age(&self) {
        self.change(|state| state["access"]["issued_at"] = json!(LONG_AGO)).await;
    }

    /// Changes the state, and dates the last redemption back. A replica may write at the same time.
    async fn change(&self, change: impl Fn(&mut Value)) {
        eventually("a write without a conflict", async || {
            let mut secret = get(&["secret", "one-state", "--namespace", self.namespace]);
            let mut state = self.state();
            change(&mut state);
            state["last"]["redeemed_at"] = json!(LONG_AGO);
            secret["data"]["state"] = json!(STANDARD.encode(state.to_string()));
            pipe(&secret.to_string(), &["replace"])
        })
        .await;
    }

    /// Returns type and reason of each Event about the grant Secret, sorted.
    fn events(&self) -> Vec<String> {
        let events = get(&["events.events.k8s.io", "--namespace", self.namespace]);
        let uid = get(&["secret", "one", "--namespace", self.namespace])["metadata"]["uid"].clone();
        let about =
            events["items"].as_array().into_iter().flatten().filter(|event| event["regarding"]["uid"] == uid);
        let mut events: Vec<_> = about
            .map(|event| {
                assert_eq!(event["reportingController"], "agent-creds/sidecar");
                assert!(event["note"].as_str().is_some_and(|note| !note.is_empty()), "{event}");
                format!("{} {}", event["type"], event["reason"]).replace('"', "")
            })
            .collect();
        events.sort();
        events
    }

    /// Waits for exactly these Events.
    async fn has_events(&self, expected: &[&str]) {
        eventually("the Events", async || {
            let events = self.events();
            if events == expected { Ok(()) } else { Err(events) }
        })
        .await;
    }

    fn outcomes(&self) -> Vec<String> {
        presentations(&self.standin.log()).map(|seen| seen.outcome.clone()).collect()
    }
}

impl Drop for Environment {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "namespace", self.namespace, "--wait=false"]);
    }
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_job_keeps_a_grant_alive() {
    let environment = Environment::new("keeps-alive").await;
    let job = environment.sidecar();
    let output = job.refresh(&[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(environment.outcomes(), ["granted"]);
    let state = environment.state();
    assert_eq!((&state["gen"], &state["last"]["outcome"]), (&json!(1), &json!("success")));
    assert!(state["claim"].is_null() && state["home"]["uid"].is_string(), "{state}");

    let output = job.refresh(&[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(environment.outcomes(), ["granted"], "no refresh was due");

    // Without its rights it names the Secret and exits.
    kubectl(&["delete", "rolebinding", "--all", "--namespace", environment.namespace])
        .expect("revoking the rights");
    let output = job.refresh(&[]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("Secret keeps-alive/one") && stderr.contains("not allowed to get it"),
        "{stderr}"
    );
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn each_change_is_recorded_as_one_event() {
    let environment = Environment::new("tells").await;
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(environment.sidecar().start().await);
    }
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    environment.has_events(&["Normal NewLogin", "Normal Ready"]).await;

    // A regular refresh causes no Event.
    environment.age().await;
    eventually("a refresh", async || {
        let outcomes = environment.outcomes();
        if outcomes.len() == 2 && environment.state()["claim"].is_null() { Ok(()) } else { Err(outcomes) }
    })
    .await;

    environment.standin.fail_next(1, &Fault::oauth_error(400, "invalid_grant"));
    environment.age().await;
    for sidecar in &sidecars {
        sidecar.becomes("one", "reauth_required", "spent_elsewhere").await;
    }
    environment.log_in();
    environment.change(|_| ()).await;
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    environment
        .has_events(&[
            "Normal NewLogin",
            "Normal NewLogin",
            "Normal Ready",
            "Normal Ready",
            "Warning SpentElsewhere",
        ])
        .await;
    for sidecar in &sidecars {
        assert!(sidecar.log().iter().all(|line| line["level"] != "WARN"), "{:?}", sidecar.log());
    }
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn without_the_right_to_create_events_it_warns_once_and_works() {
    let environment = Environment::new("is-not-heard").await;
    let role = "agent-creds-agent";
    let arguments = ["patch", "role", role, "--namespace", environment.namespace, "--type=json", "--patch"];
    kubectl(&[&arguments[..], &[r#"[{"op": "remove", "path": "/rules/2"}]"#]].concat())
        .expect("revoking a right");
    let sidecar = environment.sidecar().start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let warnings = async || {
        let log = sidecar.log();
        let stderr =
            log.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains("an Event")));
        if stderr.clone().count() == 1 { Ok(()) } else { Err(log) }
    };
    eventually("one warning", warnings).await;
    assert!(environment.events().is_empty());
    assert_eq!(environment.outcomes(), ["granted"]);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_denied_watch_is_logged_once_with_the_missing_right_and_counted() {
    let environment = Environment::new("watches-nothing").await;
    let role = ["patch", "role", "agent-creds-agent", "--namespace", environment.namespace, "--type=json"];
    let without = r#"[{"op": "replace", "path": "/rules/0/verbs", "value": ["get"]}]"#;
    kubectl(&[&role[..], &["--patch", without]].concat()).expect("taking a right");
    let sidecar = environment.sidecar().start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let failures = "agent_creds_watch_failures_total{grant=\"watches-nothing/one\",reason=\"forbidden\"}";
    eventually("a second attempt", async || {
        let metrics = sidecar.metrics().await;
        if metrics.get(failures).is_some_and(|count| *count >= 2.0) { Ok(()) } else { Err(metrics) }
    })
    .await;
    let log = sidecar.log();
    let failed: Vec<_> = log.iter().filter(|line| line["message"] == "watch failed").collect();
    assert_eq!(failed.len(), 1, "{log:?}");
    assert_eq!(
        (&failed[0]["secret"], &failed[0]["reason"], &failed[0]["error"]),
        (&json!("watches-nothing/one"), &json!("forbidden"), &json!("not allowed to watch it"))
    );
}
