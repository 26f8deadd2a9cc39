//! Sidecars over a rotation of the CA: real ones, with the arguments that admission wrote into their pods, and identity servers
//! with the certificates of the manager.

use std::fs::OpenOptions;
use std::io::Write as _;

use agent_creds_tests::cluster::{SYSTEM, directory, eventually, get, kubectl, pipe};
use agent_creds_tests::sidecar::{self, Secrets, Setup, Sidecar, one};
use agent_creds_tests::standin::Standin;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::scene::{API_SERVER, Scene, admit, annotate, data, pod};
use super::{CERTIFICATES, MOMENT, answered, trusted};

/// Where the agent is, and its grant.
const NAMESPACE: &str = "rotated";
const NODE: &str = "nowhere";
/// Seconds that access tokens live: so often the Secrets are read.
const TOKEN_LIFE: u64 = 5;
/// Where the second identity server listens, which starts late.
const LATE: &str = ":444";

/// The agent, with an account, its credential account and rights as the chart makes them, and a login.
struct Agent {
    standin: Standin,
    secrets: Secrets,
}

impl Agent {
    async fn new(scene: &Scene) -> Self {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        // Else the garbage collector finds pods of a node that does not exist.
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        for object in [namespace, node] {
            scene.create(&object);
        }
        kubectl(&["create", "serviceaccount", "agent", "--namespace", NAMESPACE]).expect("an account");
        let grants = json!([{"agent": {"namespace": NAMESPACE, "name": "agent"}, "secrets": ["one"]}]);
        scene.upgrade(&["--set-json", &format!("grants={grants}")]);
        let (standin, secrets) = (one::provider(Some(TOKEN_LIFE)).await, Secrets::new());
        scene.create(&one::grant_secret(&standin, NAMESPACE, &secrets));
        Self { standin, secrets }
    }

    /// Makes a pod, which admission injects and seals. Nothing runs it.
    fn pod(&self, name: &'static str) -> Pod {
        let mut pod = pod(NAMESPACE, name);
        pod["metadata"]["annotations"]["agent-creds/grants"] = "one=one".into();
        pod["spec"]["serviceAccountName"] = "agent".into();
        pod["spec"]["nodeName"] = NODE.into();
        pipe(&pod.to_string(), &["create"]).expect("an injected pod");
        let pod = get(&["pod", name, "--namespace", NAMESPACE]);
        let uid = format!("--bound-object-uid={}", pod["metadata"]["uid"].as_str().expect("a uid"));
        let identity = tempfile::tempdir().expect("a temporary folder");
        // As its kubelet, and no other, may have them made.
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

    /// The sidecar of a pod, which asks the identity server at this port of the same name.
    fn sidecar(&self, pod: &Pod, port: &str) -> Setup {
        let sidecar = &pod.pod["spec"]["initContainers"][0];
        let arguments = sidecar["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // All but what says where it listens and stores: that is not in a pod here.
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

    /// The credential account is made anew, so that its tokens end: who runs needs another one at once.
    fn ends_its_identities(&self) {
        let account = get(&["serviceaccount", "agent-creds", "--namespace", NAMESPACE]);
        pipe(&account.to_string(), &["replace", "--force"]).expect("the account, made anew");
    }
}

impl Drop for Agent {
    /// Best effort: a panic here would hide the one that ended the test.
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "node", NODE, "--ignore-not-found"]);
        let _ = kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
    }
}

/// A pod as it was stored, and what a kubelet projects for it.
struct Pod {
    pod: Value,
    identity: TempDir,
}

fn renewals(sidecar: &Sidecar) -> usize {
    sidecar.log().iter().filter(|line| line["message"] == "API token renewed").count()
}

/// The one CA that is trusted everywhere now.
fn only_ca() -> String {
    eventually(MOMENT, || {
        let trusted = trusted();
        let first = trusted.first().filter(|_| trusted.len() == 1);
        first.filter(|ca| ca.matches("BEGIN").count() == 1).cloned().ok_or_else(|| format!("{trusted:?}"))
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: make test starts it"]
async fn sidecars_of_the_old_ca_go_on_when_it_is_retired() {
    let scene = Scene::install().await;
    let agent = Agent::new(&scene).await;
    let _manager = scene.manager("manager");
    scene.admission_becomes_ready().await;
    eventually(MOMENT, || admit(&pod("ops", "probe")));
    let mut hosts = OpenOptions::new().append(true).open(directory().join("hosts")).expect("the hosts file");
    writeln!(hosts, "127.0.0.1 agent-creds-identity.{SYSTEM}.svc").expect("a name");
    let _server = scene.identity_server("server", "127.0.0.1:443");

    // Under the first CA: one gets its identity, one reaches nobody, and one is not started yet.
    let before = only_ca();
    let pods = ["running", "waiting", "pending"].map(|name| agent.pod(name));
    let running = agent.sidecar(&pods[0], "").start().await;
    running.becomes("one", "ready", "ok").await;
    let waiting = agent.sidecar(&pods[1], LATE).start().await;
    sidecar::eventually("it asks, and reaches nobody", async || {
        let message = waiting.grant("one").await["message"].to_string();
        if message.contains("the identity server cannot be reached") { Ok(()) } else { Err(message) }
    })
    .await;
    assert_eq!((renewals(&running), renewals(&waiting)), (1, 0));

    annotate(CERTIFICATES, "one");
    answered(CERTIFICATES, "one");
    eventually(MOMENT, || match data(CERTIFICATES) {
        data if data.contains_key("retired.crt") => Err("the CA before is still trusted".to_owned()),
        _ => Ok(()),
    });
    assert_ne!(only_ca(), before);

    agent.ends_its_identities();
    sidecar::eventually("another identity", async || match renewals(&running) {
        2 => Ok(()),
        now => Err(now),
    })
    .await;
    running.becomes("one", "ready", "ok").await;
    let _second = scene.identity_server("second", &format!("127.0.0.1{LATE}"));
    waiting.becomes("one", "ready", "ok").await;
    let pending = agent.sidecar(&pods[2], "").start().await;
    pending.becomes("one", "ready", "ok").await;
    scene.finish().await;
}
