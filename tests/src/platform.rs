//! Sets up the platform on the node, once for all tests of a program: it installs the chart with the images of this
//! source, and points the providers' real host names to the stand-in.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::cluster::{self, SYSTEM, directory, get, helm, kubectl, pipe, root};
use crate::standin::{Client, Config, Provider, Standin};

/// Lifetime of the stand-in's access tokens in seconds: 20 refreshes in two minutes.
pub const TOKEN_LIFE: u64 = 5;
/// The agents' ServiceAccount name in every namespace, as in the example.
pub const ACCOUNT: &str = "devops-agent";
/// Name of the grant Secret in every namespace.
pub const GRANT: &str = "devops-agent-pagerduty";
const SECRET: &str = "stand-in-client-secret";

/// The installed release, and the stand-in.
pub struct Platform {
    /// The stand-in for all providers.
    pub standin: Standin,
    /// The release's values.
    values: String,
    _runtime: tokio::runtime::Runtime,
}

impl Platform {
    /// Creates a namespace for each agent and installs the chart with `grants`.
    pub fn install(agents: &[&str], grants: &[Value]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime for the stand-in");
        let authority = Authority::new();
        let config = Config {
            clients: agents
                .iter()
                .map(|agent| Client::pagerduty(agent, SECRET, &["incidents.read"]))
                .collect(),
            authority: Some(authority),
            token_life: Some(TOKEN_LIFE),
            ..Config::default()
        };
        let node: SocketAddr = "10.99.0.1:443".parse().expect("the node's address");
        let standin = runtime.block_on(Standin::start(node, config)).expect("the stand-in");
        name_hosts(node);
        for agent in agents {
            make_namespace(agent, "baseline");
        }
        make_namespace(SYSTEM, "restricted");
        let values = values(standin.ca_pem(), grants);
        let platform = Self { standin, values, _runtime: runtime };
        if let Err(error) = platform.helm("install", &["--wait", "--timeout", "4m"]) {
            panic!("helm install: {error}\n{}", why(SYSTEM));
        }
        // After the webhook is ready, the node may still need a moment to route its Service.
        cluster::eventually(START, || admission_answers(agents[0]));
        platform
    }

    /// Runs `helm VERB` on the repository's chart with the values of this platform.
    pub fn helm(&self, verb: &str, more: &[&str]) -> Result<String, String> {
        let chart = root().join("charts/agent-creds");
        let chart = chart.to_str().expect("UTF-8");
        let arguments = [verb, "agent-creds", chart, "--namespace", SYSTEM, "--values", "-"];
        helm(&[&arguments[..], more].concat(), &self.values)
    }

    /// Logs in and writes the grant Secret, as a person does. Returns the login's refresh token.
    pub fn log_in(&self, agent: &str) -> String {
        let seed = self.standin.seed(Provider::PagerDuty, agent);
        let mut secret: Value = serde_yaml::from_str(
            &cluster::manifest("example-grant-secret.yaml")
                .replace("REPLACE_WITH_CLIENT_ID", agent)
                .replace("REPLACE_WITH_CLIENT_SECRET", SECRET)
                .replace("REPLACE_WITH_REFRESH_TOKEN", &seed),
        )
        .expect("the example grant Secret");
        secret["metadata"]["namespace"] = agent.into();
        pipe(&secret.to_string(), &["apply"]).expect("writing the grant Secret");
        seed
    }
}

/// Sends a pod with an injection request as a dry run. A refusal counts as an answer.
fn admission_answers(namespace: &str) -> Result<(), String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "first", "namespace": namespace, "annotations": {"agent-creds/inject": "true"}},
        "spec": {"containers": [{"name": "agent", "image": "localhost/test-agent:1"}]},
    });
    match pipe(&pod.to_string(), &["create", "--dry-run=server"]) {
        Err(error) if error.contains("failed calling webhook") => Err(error),
        _ => Ok(()),
    }
}

/// Points the provider's name to the stand-in, for pods (cluster DNS) and for the node.
fn name_hosts(node: SocketAddr) {
    let hosts = directory().join("hosts");
    let mut file = OpenOptions::new().append(true).open(hosts).expect("the cluster's hosts file");
    writeln!(file, "{} identity.pagerduty.com", node.ip()).expect("naming the stand-in");
}

fn make_namespace(name: &str, level: &str) {
    let labels = json!({"pod-security.kubernetes.io/enforce": level});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    pipe(&namespace.to_string(), &["apply"]).expect("making a namespace");
    kubectl(&["wait", "--for=create", "serviceaccount/default", "--timeout=30s", "--namespace", name])
        .expect("its default ServiceAccount");
}

/// The chart's `grants` entry for an agent with one grant.
pub fn grant_of(agent: &str) -> Value {
    json!({"agent": {"namespace": agent, "name": ACCOUNT}, "secrets": [GRANT]})
}

fn values(provider_ca: &str, grants: &[Value]) -> String {
    let values = json!({
        "image": {"registry": "localhost/agent-creds", "webhook": {"tag": "test"}, "sidecar": {"tag": "test"}},
        "identity": {"mode": "exchange"},
        "providerRoots": provider_ca,
        "grants": grants,
    });
    values.to_string()
}

/// Describes the pods of a namespace for the message of a failed test.
pub fn why(namespace: &str) -> String {
    let mut text = String::new();
    for pod in get(&["pods", "--namespace", namespace])["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let _ = writeln!(text, "pod {name}: {}", pod["status"]);
        let logs = ["logs", name, "--namespace", namespace, "--all-containers", "--tail=20"];
        let _ = writeln!(text, "{}", kubectl(&logs).unwrap_or_else(|error| error));
    }
    let events = ["get", "events", "--namespace", namespace, "--sort-by=.lastTimestamp"];
    text + &kubectl(&events).unwrap_or_else(|error| error)
}

/// Longest start of a pod on a busy machine.
pub const START: Duration = Duration::from_secs(90);
