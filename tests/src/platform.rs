//! What the platform team does on the node, once for all tests of a program: the chart is installed with the images that
//! were built from this source, and the providers' real host names lead to the stand-in.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::cluster::{self, SYSTEM, directory, get, helm, kubectl, pipe, root};
use crate::standin::{Client, Config, Provider, Standin};

/// Seconds that the stand-in's access tokens live: 20 refreshes in two minutes.
pub const TOKEN_LIFE: u64 = 5;
/// The one ServiceAccount name that they all use, as in the example.
pub const ACCOUNT: &str = "devops-agent";
/// The one grant Secret of each.
pub const GRANT: &str = "devops-agent-pagerduty";
const SECRET: &str = "stand-in-client-secret";

/// The installed release, and the providers.
pub struct Platform {
    /// All providers.
    pub standin: Standin,
    /// The release's values.
    values: String,
    _runtime: tokio::runtime::Runtime,
}

impl Platform {
    /// Installs the chart for these agents, each in a namespace of its own that is made here; `grants` are the chart's.
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
        // The webhook is ready; that its Service leads there, the node may learn a moment later.
        cluster::eventually(START, || admission_answers(agents[0]));
        platform
    }

    /// `helm VERB` of the chart in the repository, with the values of this platform.
    pub fn helm(&self, verb: &str, more: &[&str]) -> Result<String, String> {
        let chart = root().join("charts/agent-creds");
        let chart = chart.to_str().expect("UTF-8");
        let arguments = [verb, "agent-creds", chart, "--namespace", SYSTEM, "--values", "-"];
        helm(&[&arguments[..], more].concat(), &self.values)
    }

    /// What a person does after a login: writes the grant Secret. Returns the login's refresh token.
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

/// Has a pod admitted that asks for injection, without making it. A refusal is an answer.
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

/// Gives the provider's name to the stand-in, for pods (cluster DNS) and for the node alike.
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

/// The chart's entry for an agent with the one grant.
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

/// What there is to know about the pods of a namespace, for a test that failed.
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

/// How long a pod may take from being made to running, on a machine that does other things besides.
pub const START: Duration = Duration::from_secs(90);
