//! The real sidecar beside a real API server: with a ServiceAccount's token, the rights that the chart gives it, and
//! nothing else.

use std::net::{Ipv4Addr, SocketAddr};

use agent_creds_tests::cluster::{self, get, helm, kubectl, pipe, root};
use agent_creds_tests::event::presentations;
use agent_creds_tests::sidecar::{Secrets, Setup};
use agent_creds_tests::standin::{Client, ClientAuth, Config, Provider, Standin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "s3cr+t-of-the-client";

/// An agent in a namespace of its own, its one grant, and a provider.
struct World {
    namespace: &'static str,
    standin: Standin,
    secrets: Secrets,
    identity: TempDir,
}

impl World {
    async fn new(namespace: &'static str) -> Self {
        let client = Client::generic("one", Some(SECRET), ClientAuth::Basic, &["read"]);
        let config = Config { clients: vec![client], ..Config::default() };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let standin = Standin::start(listen, config).await.expect("starting the stand-in");
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
        let ca = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n";
        let values = json!({"certificates": {"caBundle": ca}, "grants": grants});
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
        let file = format!("token_url: {}\nallow_private: true\n", self.standin.token_url(Provider::Generic));
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "one", "namespace": self.namespace, "labels": {"agent-creds/provider": "oauth2"}},
            "stringData": {
                "client_id": "one",
                "client_secret": SECRET,
                "refresh_token": self.standin.seed(Provider::Generic, "one"),
                "grant.yaml": file,
            },
        });
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
            .argument(&format!("--identity-dir={}", self.identity.path().display()))
    }

    fn state(&self) -> Value {
        let secret = get(&["secret", "one-state", "--namespace", self.namespace]);
        let encoded = secret["data"]["state"].as_str().expect("a document");
        serde_json::from_slice(&STANDARD.decode(encoded).expect("base64")).expect("JSON")
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
