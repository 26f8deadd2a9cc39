//! The real sidecar beside a real API server: with a ServiceAccount's token, the rights that the chart gives it, and
//! nothing else.

use agent_creds_tests::cluster::{self, get, helm, kubectl, pipe, root};
use agent_creds_tests::event::presentations;
use agent_creds_tests::sidecar::{LONG_AGO, Secrets, Setup, eventually, one};
use agent_creds_tests::standin::{Fault, Standin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// An agent in a namespace of its own, its one grant, and a provider.
struct World {
    namespace: &'static str,
    standin: Standin,
    secrets: Secrets,
    identity: TempDir,
}

impl World {
    async fn new(namespace: &'static str) -> Self {
        let standin = one::provider(None).await;
        let identity = tempfile::tempdir().expect("a temporary folder");
        let world = Self { namespace, standin, secrets: Secrets::new(), identity };
        kubectl(&["create", "namespace", namespace]).expect("a namespace");
        kubectl(&["create", "serviceaccount", "agent", "--namespace", namespace]).expect("an account");
        pipe(&world.rendered(), &["apply"]).expect("what the chart makes for an agent");
        world.log_in();
        let token = kubectl(&["create", "token", "agent", "--namespace", namespace]).expect("a token");
        std::fs::write(world.identity.path().join("api-token"), token.trim()).expect("our own folder");
        world
    }

    /// State Secret and rights, as the chart renders them.
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

    /// A new login, written into the grant Secret.
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

    /// Makes the access token look old enough to be renewed.
    async fn age(&self) {
        self.change(|state| state["access"]["issued_at"] = json!(LONG_AGO)).await;
    }

    /// Changes the state, and makes the last redemption long ago; a replica may write meanwhile.
    async fn change(&self, change: impl Fn(&mut Value)) {
        eventually("a write that meets no other", async || {
            let mut secret = get(&["secret", "one-state", "--namespace", self.namespace]);
            let mut state = self.state();
            change(&mut state);
            state["last"]["redeemed_at"] = json!(LONG_AGO);
            secret["data"]["state"] = json!(STANDARD.encode(state.to_string()));
            pipe(&secret.to_string(), &["replace"])
        })
        .await;
    }

    /// Type and reason of each Event about the grant Secret, sorted.
    fn told(&self) -> Vec<String> {
        let events = get(&["events.events.k8s.io", "--namespace", self.namespace]);
        let uid = get(&["secret", "one", "--namespace", self.namespace])["metadata"]["uid"].clone();
        let about =
            events["items"].as_array().into_iter().flatten().filter(|event| event["regarding"]["uid"] == uid);
        let mut told: Vec<_> = about
            .map(|event| {
                assert_eq!(event["reportingController"], "agent-creds/sidecar");
                assert!(event["note"].as_str().is_some_and(|note| !note.is_empty()), "{event}");
                format!("{} {}", event["type"], event["reason"]).replace('"', "")
            })
            .collect();
        told.sort();
        told
    }

    /// Waits until these Events are there.
    async fn tells(&self, expected: &[&str]) {
        eventually("the Events", async || {
            let told = self.told();
            if told == expected { Ok(()) } else { Err(told) }
        })
        .await;
    }

    fn outcomes(&self) -> Vec<String> {
        presentations(&self.standin.log()).map(|seen| seen.outcome.clone()).collect()
    }
}

impl Drop for World {
    /// Best effort: a panic here would hide the one that ended the test.
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "namespace", self.namespace, "--wait=false"]);
    }
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_job_keeps_a_grant_alive() {
    let world = World::new("keeps-alive").await;
    let job = world.sidecar();
    let output = job.refresh(&[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.outcomes(), ["granted"]);
    let state = world.state();
    assert_eq!((&state["gen"], &state["last"]["outcome"]), (&json!(1), &json!("success")));
    assert!(state["claim"].is_null() && state["home"]["uid"].is_string(), "{state}");

    let output = job.refresh(&[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.outcomes(), ["granted"], "nothing was due");

    // Without its rights it says which Secret, and gives up.
    kubectl(&["delete", "rolebinding", "--all", "--namespace", world.namespace]).expect("taking the rights");
    let output = job.refresh(&[]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Secret keeps-alive/one") && said.contains("not allowed to get it"), "{said}");
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn each_change_is_told_once_by_whoever_wrote_it() {
    let world = World::new("tells").await;
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(world.sidecar().start().await);
    }
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    world.tells(&["Normal NewLogin", "Normal Ready"]).await;

    // A refresh as usual is no news.
    world.age().await;
    eventually("a refresh", async || {
        let outcomes = world.outcomes();
        if outcomes.len() == 2 && world.state()["claim"].is_null() { Ok(()) } else { Err(outcomes) }
    })
    .await;

    world.standin.fail_next(1, &Fault::oauth_error(400, "invalid_grant"));
    world.age().await;
    for sidecar in &sidecars {
        sidecar.becomes("one", "reauth_required", "spent_elsewhere").await;
    }
    world.log_in();
    world.change(|_| ()).await;
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    world
        .tells(&[
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
async fn who_may_write_no_events_says_so_once_and_works() {
    let world = World::new("is-not-heard").await;
    let role = "agent-creds-agent";
    let arguments = ["patch", "role", role, "--namespace", world.namespace, "--type=json", "--patch"];
    kubectl(&[&arguments[..], &[r#"[{"op": "remove", "path": "/rules/2"}]"#]].concat())
        .expect("taking a right");
    let sidecar = world.sidecar().start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let warnings = async || {
        let log = sidecar.log();
        let said =
            log.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains("an Event")));
        if said.clone().count() == 1 { Ok(()) } else { Err(log) }
    };
    eventually("it says so", warnings).await;
    assert!(world.told().is_empty());
    assert_eq!(world.outcomes(), ["granted"]);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_denied_watch_is_logged_once_with_the_missing_right_and_counted() {
    let world = World::new("watches-nothing").await;
    let role = ["patch", "role", "agent-creds-agent", "--namespace", world.namespace, "--type=json"];
    let without = r#"[{"op": "replace", "path": "/rules/0/verbs", "value": ["get"]}]"#;
    kubectl(&[&role[..], &["--patch", without]].concat()).expect("taking a right");
    let sidecar = world.sidecar().start().await;
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
