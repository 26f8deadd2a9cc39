//! Sidecars during a rotation of the CA: real ones, with the arguments that admission wrote into their pods, and
//! identity servers with the manager's certificates.

use std::fs::OpenOptions;
use std::io::Write as _;

use agent_creds_tests::cluster::{SYSTEM, directory, eventually, get, kubectl, pipe};
use agent_creds_tests::sidecar::{self, Secrets, Setup, Sidecar, one};
use agent_creds_tests::standin::Standin;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::environment::{API_SERVER, Environment, admit, annotate, data, pod};
use super::{CERTIFICATES, TIMEOUT, answered, trusted};

/// The agent's namespace.
const NAMESPACE: &str = "rotated";
const NODE: &str = "nowhere";
/// Lifetime of access tokens in seconds; the Secrets are read as often.
const TOKEN_LIFE: u64 = 5;
/// Port of the second identity server, which starts late.
const LATE: &str = ":444";

/// An agent with its account, its credential account, the chart's rights, and a login.
struct Agent {
    standin: Standin,
    secrets: Secrets,
}

impl Agent {
    async fn new(environment: &Environment) -> Self {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        // The garbage collector would delete pods of a node that does not exist.
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        for object in [namespace, node] {
            environment.create(&object);
        }
        kubectl(&["create", "serviceaccount", "agent", "--namespace", NAMESPACE]).expect("an account");
        let grants = json!([{"agent": {"namespace": NAMESPACE, "name": "agent"}, "secrets": ["one"]}]);
        environment.upgrade(&["--set-json", &format!("grants={grants}")]);
        let (standin, secrets) = (one::provider(Some(TOKEN_LIFE)).await, Secrets::new());
        environment.create(&one::grant_secret(&standin, NAMESPACE, &secrets));
        Self { standin, secrets }
    }

    /// Creates a pod, which admission injects and seals. No kubelet runs it.
    fn pod(&self, name: &'static str) -> Pod {
        let mut pod = pod(NAMESPACE, name);
        pod["metadata"]["annotations"]["agent-creds/grants"] = "one=one".into();
        pod["spec"]["serviceAccountName"] = "agent".into();
        pod["spec"]["nodeName"] = NODE.into();
        pipe(&pod.to_string(), &["create"]).expect("an injected pod");
        let pod = get(&["pod", name, "--namespace", NAMESPACE]);
        let uid = format!("--bound-object-uid={}", pod["metadata"]["uid"].as_str().expect("a uid"));
        let identity = tempfile::tempdir().expect("a temporary folder");
        // Only the pod's kubelet may create these tokens.
        let user = format!("--as=system:node:{NODE}");
        let kubelet = [user.as_str(), "--as-group=system:nodes"];
        let bound = ["--bound-object-kind=Pod", "--bound-object-name", name, &uid];
        for (file, more) in [("api-token", &[][..]), ("identity-token", &["--audience=agent-creds"])] {
            let create = ["create", "token", "agent", "--namespace", NAMESPACE];
            let token =
                kubectl(&[&create[..], &kubelet, &bound, more].concat()).expect("the kubelet's token");
            self.secrets.guard(token.trim());
            std::fs::write(identity.path().join(file), token).expect("our own folder");
        }
        Pod { pod, identity }
    }

    /// The sidecar of a pod, with the identity server's name and this port.
    fn sidecar(&self, pod: &Pod, port: &str) -> Setup {
        let sidecar = &pod.pod["spec"]["initContainers"][0];
        let arguments = sidecar["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // Arguments about ports and folders are left out, because the sidecar does not run in a pod here.
        let kept = ["--identity", "--credential=", "--grant=", "--api-ca-data="];
        let arguments = arguments.filter(|argument| kept.iter().any(|kept| argument.starts_with(kept)));
        let setup = Setup::new(&self.secrets).in_cluster().trust(self.standin.ca_pem());
        arguments
            .map(|argument| match argument.strip_prefix("--identity-server=") {
                Some(server) => format!("--identity-server={server}{port}"),
                None => argument.to_owned(),
            })
            .fold(setup, |setup, argument| setup.argument(&argument))
            .argument(&format!("--api-server={API_SERVER}"))
            .argument(&format!("--identity-dir={}", pod.identity.path().display()))
            .argument("--time-scale=0.1")
    }

    /// Recreates the credential account, which invalidates its tokens: each sidecar needs a new one at once.
    fn recreate_credential_account(&self) {
        let account = get(&["serviceaccount", "agent-creds", "--namespace", NAMESPACE]);
        pipe(&account.to_string(), &["replace", "--force"]).expect("the account, made anew");
    }
}

impl Drop for Agent {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "node", NODE, "--ignore-not-found"]);
        let _ = kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
    }
}

/// A stored pod, and the files that a kubelet projects for it.
struct Pod {
    pod: Value,
    identity: TempDir,
}

fn renewals(sidecar: &Sidecar) -> usize {
    sidecar.log().iter().filter(|line| line["message"] == "API token renewed").count()
}

/// Returns the one CA that all targets trust now.
fn only_ca() -> String {
    eventually(TIMEOUT, || {
        let trusted = trusted();
        let first = trusted.first().filter(|_| trusted.len() == 1);
        first.filter(|ca| ca.matches("BEGIN").count() == 1).cloned().ok_or_else(|| format!("{trusted:?}"))
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: make test starts it"]
async fn sidecars_keep_working_when_their_ca_is_retired() {
    let environment = Environment::install().await;
    let agent = Agent::new(&environment).await;
    let _manager = environment.manager("manager");
    environment.admission_becomes_ready().await;
    eventually(TIMEOUT, || admit(&pod("ops", "probe")));
    let mut hosts = OpenOptions::new().append(true).open(directory().join("hosts")).expect("the hosts file");
    writeln!(hosts, "127.0.0.1 agent-creds-identity.{SYSTEM}.svc").expect("a name");
    let _server = environment.identity_server("server", "127.0.0.1:443");

    // Under the first CA, one sidecar gets its identity, one cannot reach its server, and one is not started.
    let before = only_ca();
    let pods = ["running", "waiting", "pending"].map(|name| agent.pod(name));
    let running = agent.sidecar(&pods[0], "").start().await;
    running.becomes("one", "ready", "ok").await;
    let waiting = agent.sidecar(&pods[1], LATE).start().await;
    sidecar::eventually("the identity server is unreachable", async || {
        let message = waiting.grant("one").await["message"].to_string();
        if message.contains("the identity server cannot be reached") { Ok(()) } else { Err(message) }
    })
    .await;
    assert_eq!((renewals(&running), renewals(&waiting)), (1, 0));

    annotate(CERTIFICATES, "one");
    answered(CERTIFICATES, "one");
    eventually(TIMEOUT, || match data(CERTIFICATES) {
        data if data.contains_key("retired.crt") => Err("the old CA is still trusted".to_owned()),
        _ => Ok(()),
    });
    assert_ne!(only_ca(), before);

    agent.recreate_credential_account();
    sidecar::eventually("the identity is renewed", async || match renewals(&running) {
        2 => Ok(()),
        now => Err(now),
    })
    .await;
    running.becomes("one", "ready", "ok").await;
    let _second = environment.identity_server("second", &format!("127.0.0.1{LATE}"));
    waiting.becomes("one", "ready", "ok").await;
    let pending = agent.sidecar(&pods[2], "").start().await;
    pending.becomes("one", "ready", "ok").await;
    environment.finish().await;
}
