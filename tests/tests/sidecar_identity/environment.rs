//! The environment of a test: an agent, its credential account and its one grant, in a namespace without rights.

use std::ffi::OsStr;

use agent_creds_core::exchange_api::{CA_CONFIG_MAP, CA_KEY};
use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::{self, command, get, kubectl, pipe};
use agent_creds_tests::event::presentations;
use agent_creds_tests::sidecar::{LONG_AGO, Secrets, Setup, eventually, one};
use agent_creds_tests::standin::Standin;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::IdentityServer;

pub(crate) struct Environment {
    pub(crate) namespace: &'static str,
    pub(crate) standin: Standin,
    pub(crate) server: IdentityServer,
    secrets: Secrets,
    identity: TempDir,
}

impl Environment {
    /// Creates everything except the rights and the credential account.
    pub(crate) async fn bare(namespace: &'static str) -> Self {
        let standin = one::provider(None).await;
        let authority = Authority::new();
        let server = IdentityServer::start(namespace, &authority).await;
        let identity = tempfile::tempdir().expect("a temporary folder");
        let environment = Self { namespace, standin, server, secrets: Secrets::new(), identity };
        kubectl(&["create", "namespace", namespace]).expect("a namespace");
        kubectl(&["create", "serviceaccount", "agent", "-n", namespace]).expect("an account");
        environment.publish(&authority);
        // As in the chart, every account may read it by name.
        environment.run(&format!(
            "kubectl create role ca -n {namespace} --verb=get --resource=configmaps --resource-name={CA_CONFIG_MAP} && \
             kubectl create rolebinding ca -n {namespace} --role=ca --group=system:serviceaccounts"
        ));
        environment.run(&format!(
            "kubectl create secret generic one-state -n {namespace} && \
             kubectl label secret one-state -n {namespace} agent-creds/state-of=one"
        ));
        let login = one::grant_secret(&environment.standin, namespace, &environment.secrets);
        pipe(&login.to_string(), &["apply"]).expect("writing the grant Secret");
        for (file, more) in [("api-token", ""), ("identity-token", "--audience=agent-creds")] {
            let arguments = ["create", "token", "agent", "-n", namespace, more];
            let arguments: Vec<_> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
            let token = kubectl(&arguments).expect("a token");
            environment.guard(token.trim());
            std::fs::write(environment.identity.path().join(file), token).expect("our own folder");
        }
        environment
    }

    /// Creates the account and all rights, too.
    pub(crate) async fn ready(namespace: &'static str) -> Self {
        let environment = Self::bare(namespace).await;
        for (name, rule, account) in [
            ("assume", "--verb=assume --resource=serviceaccounts --resource-name=agent-creds", "agent"),
            (
                "mint",
                "--verb=create --resource=serviceaccounts/token --resource-name=agent-creds",
                "agent-creds-identity",
            ),
            ("grant", "--verb=get,watch --resource=secrets --resource-name=one", "agent-creds"),
            ("state", "--verb=get,watch,update --resource=secrets --resource-name=one-state", "agent-creds"),
            ("events", "--verb=create --resource=events.events.k8s.io", "agent-creds"),
        ] {
            environment.run(&format!(
                "kubectl create role {name} -n {namespace} {rule} && \
                 kubectl create rolebinding {name} -n {namespace} --role={name} --serviceaccount={namespace}:{account}"
            ));
        }
        kubectl(&["create", "serviceaccount", "agent-creds", "-n", namespace]).expect("an account");
        environment
    }

    /// Runs a command line, as a person does.
    pub(crate) fn run(&self, line: &str) {
        let output = command(OsStr::new("sh"), &["-c", line], "");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Writes an authority into the ConfigMap.
    pub(crate) fn publish(&self, authority: &Authority) {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CA_CONFIG_MAP, "namespace": self.namespace},
            "data": {CA_KEY: authority.ca_pem()},
        });
        pipe(&map.to_string(), &["apply"]).expect("the ConfigMap");
    }

    /// Registers a token for the leak check, and its signature separately.
    pub(crate) fn guard(&self, secret: &str) {
        self.secrets.guard(secret);
        if let Some((_, signature)) = secret.rsplit_once('.') {
            self.secrets.guard(signature);
        }
    }

    pub(crate) fn sidecar(&self) -> Setup {
        let server =
            kubectl(&["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]);
        let namespace = self.namespace;
        Setup::new(&self.secrets)
            .in_cluster()
            .trust(self.standin.ca_pem())
            .argument(&format!("--grant=one={namespace}/one"))
            .argument(&format!("--api-server={}", server.expect("the API server's address")))
            .argument(&format!("--api-ca-file={}", cluster::directory().join("ca.crt").display()))
            .argument("--identity=exchange")
            .argument(&format!("--identity-server={}", self.server.url()))
            .argument(&format!("--identity-ca={namespace}/{CA_CONFIG_MAP}"))
            .argument(&format!("--credential={namespace}/agent-creds"))
            .argument(&format!("--identity-dir={}", self.identity.path().display()))
    }

    /// Makes the access token look old enough for a refresh. A replica may write at the same time.
    pub(crate) async fn age(&self) {
        eventually("a write without a conflict", async || {
            let mut secret = get(&["secret", "one-state", "-n", self.namespace]);
            let encoded = secret["data"]["state"].as_str().expect("a document");
            let state = STANDARD.decode(encoded).expect("base64");
            let mut state: Value = serde_json::from_slice(&state).expect("JSON");
            state["access"]["issued_at"] = json!(LONG_AGO);
            state["last"]["redeemed_at"] = json!(LONG_AGO);
            secret["data"]["state"] = json!(STANDARD.encode(state.to_string()));
            pipe(&secret.to_string(), &["replace"])
        })
        .await;
    }

    pub(crate) fn presented(&self) -> usize {
        presentations(&self.standin.log()).count()
    }

    /// Whether a request for a Secret used this token.
    pub(crate) fn was_used(&self, token: &str) -> bool {
        let claims = token.split('.').nth(1).expect("a token has three parts");
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        let id = format!("JTI={}", claims["jti"].as_str().expect("an id"));
        let log = std::fs::read_to_string(cluster::directory().join("audit.log")).expect("the audit log");
        log.lines().any(|line| line.contains(&id) && line.contains(r#""resource":"secrets""#))
    }
}

impl Drop for Environment {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "namespace", self.namespace, "--wait=false"]);
    }
}
