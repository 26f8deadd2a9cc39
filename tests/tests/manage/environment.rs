//! The environment of a test: the chart with default values, admission at the address of its Service, and managers as
//! processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_tests::api::Api;
use agent_creds_tests::cluster::{SYSTEM, directory, get, helm, kubectl, pipe, root};
use agent_creds_webhook::roles::admit::{self, Timing};
use agent_creds_webhook::roles::{Cli, Role};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;

use super::process::{Process, ask};

const TIMEOUT: Duration = Duration::from_secs(60);
/// URL of the API server for processes beside it.
pub(crate) const API_SERVER: &str = "https://localhost:6443";
/// Ten minutes become three seconds.
const SCALE: &str = "--time-scale=0.005";

/// Returns a Secret's data.
pub(crate) fn data(secret: &str) -> BTreeMap<String, Vec<u8>> {
    let secret = get(&["secret", secret, "--namespace", SYSTEM]);
    let data = secret["data"].as_object().into_iter().flatten();
    data.map(|(key, value)| (key.clone(), STANDARD.decode(value.as_str().expect("text")).expect("base64")))
        .collect()
}

pub(crate) fn annotation(secret: &str, name: &str) -> Option<String> {
    let secret = get(&["secret", secret, "--namespace", SYSTEM]);
    secret["metadata"]["annotations"][name].as_str().map(str::to_owned)
}

pub(crate) fn annotate(secret: &str, request: &str) {
    let asks = format!("agent-creds/rotate={request}");
    kubectl(&["annotate", "secret", secret, &asks, "--overwrite", "--namespace", SYSTEM]).expect("annotated");
}

/// Returns a pod that asks for injection.
pub(crate) fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace,
            "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"},
        },
        "spec": {"containers": [{"name": "main", "image": "agent:1"}]},
    })
}

/// Sends a pod as a dry run, and checks that it is injected.
pub(crate) fn admit(pod: &Value) -> Result<(), String> {
    let made = pipe(&pod.to_string(), &["create", "--dry-run=server", "-o", "json"])?;
    if made.contains("agent-creds/seal") { Ok(()) } else { Err(format!("not injected: {made}")) }
}

pub(crate) struct Environment {
    _alone: MutexGuard<'static, ()>,
    folder: Arc<TempDir>,
    /// The address at which the API server calls admission.
    pub(crate) address: SocketAddr,
    probes: SocketAddr,
    stop: watch::Sender<u8>,
    tasks: Vec<JoinHandle<()>>,
}

fn release(verb: &str, more: &[&str]) {
    let chart = root().join("charts/agent-creds");
    let arguments =
        [verb, "agent-creds", chart.to_str().expect("UTF-8"), "--namespace", SYSTEM, "--values", "-"];
    let values = json!({"excludedNamespaces": ["excluded"]});
    helm(&[&arguments, more].concat(), &values.to_string())
        .unwrap_or_else(|error| panic!("helm {verb}: {error}"));
}

impl Environment {
    /// Installs the chart, and starts admission before there is a certificate.
    pub(crate) async fn install() -> Self {
        static CLUSTER: Mutex<()> = Mutex::const_new(());
        let alone = CLUSTER.lock().await;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for namespace in [SYSTEM, "ops", "excluded"] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            pipe(&object.to_string(), &["apply"]).expect("a namespace");
            let account =
                ["wait", "--for=create", "serviceaccount/default", "--timeout=60s", "--namespace", namespace];
            kubectl(&account).expect("its default ServiceAccount");
        }
        release("install", &[]);
        for secret in ["agent-creds-certificates", "agent-creds-seal"] {
            assert!(data(secret).is_empty(), "{secret} is made empty");
        }
        // There is no kube-proxy here, so admission listens at the address of its Service.
        let service = get(&["service", "agent-creds-admit", "--namespace", SYSTEM]);
        let address = service["spec"]["clusterIP"].as_str().expect("an address").to_owned();
        let here = ["address", "replace", &format!("{address}/32"), "dev", "lo"].map(str::to_owned);
        assert!(Command::new("ip").args(here).status().expect("ip").success());

        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let policy = get(&["configmap", "agent-creds-policy", "--namespace", SYSTEM]);
        let policy = policy["data"]["policy.yaml"].as_str().expect("the policy");
        std::fs::write(folder.path().join("policy.yaml"), policy).expect("written");
        std::fs::create_dir(folder.path().join("seal")).expect("a folder");
        let file = |name: &str| folder.path().join(name).display().to_string();
        let arguments = [
            "agent-creds-webhook".to_owned(),
            "admit".to_owned(),
            format!("--policy={}", file("policy.yaml")),
            format!("--api-ca={}", directory().join("ca.crt").display()),
            format!("--tls-cert={}", file("tls.crt")),
            format!("--tls-key={}", file("tls.key")),
            format!("--seal-keys={}", file("seal")),
            format!("--listen={address}:443"),
            "--probe-listen=127.0.0.1:0".to_owned(),
        ];
        let Role::Admit(config) = Cli::try_parse_from(arguments).expect("arguments").role else {
            unreachable!("the arguments select the role admit")
        };
        let prepared = config.prepare().await.expect("it starts without a certificate");
        let (address, probes) = prepared.addresses().expect("addresses");
        let (stop, stopping) = watch::channel(0);
        let timing = Timing { reload: Duration::from_millis(100), ..Timing::default() };
        let tasks = vec![
            tokio::spawn(admit::run(prepared, timing, stopping.clone())),
            tokio::spawn(kubelet(Arc::clone(&folder), stopping)),
        ];
        Self { _alone: alone, folder, address, probes, stop, tasks }
    }

    pub(crate) async fn admission_is_ready(&self) -> bool {
        let probes = self.probes;
        let page = tokio::task::spawn_blocking(move || ask(probes, "/readyz")).await.expect("no panic");
        page.starts_with("HTTP/1.1 200")
    }

    pub(crate) async fn admission_becomes_ready(&self) {
        let waiting = async {
            while !self.admission_is_ready().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, waiting).await.expect("the certificate and the keys arrive");
    }

    /// Starts a manager whose only credential is a token of its ServiceAccount.
    pub(crate) fn manager(&self, name: &str) -> Process {
        let certificates = "--certificates=self-managed".to_owned();
        let namespace = format!("--namespace={SYSTEM}");
        self.process("manage", name, [namespace, certificates, format!("--pod={name}"), SCALE.to_owned()])
    }

    /// Starts an identity server with the files that a kubelet would mount and a token of its ServiceAccount.
    pub(crate) fn identity_server(&self, name: &str, listen: &str) -> Process {
        let file =
            |option: &str, name: &str| format!("--{option}={}", self.folder.path().join(name).display());
        let files = [
            ("policy", "policy.yaml"),
            ("seal-keys", "seal"),
            ("tls-cert", "tls.crt"),
            ("tls-key", "tls.key"),
        ];
        let files = files.map(|(option, name)| file(option, name));
        self.process("identity", name, files.into_iter().chain([format!("--listen={listen}")]))
    }

    fn process(&self, role: &str, name: &str, more: impl IntoIterator<Item = String>) -> Process {
        let account = format!("agent-creds-{role}");
        let token = kubectl(&["create", "token", &account, "--namespace", SYSTEM]).expect("a token");
        let file = self.folder.path().join(format!("token-{name}"));
        std::fs::write(&file, token.trim()).expect("written");
        let common = [
            role.to_owned(),
            format!("--api-server={API_SERVER}"),
            format!("--api-ca={}", directory().join("ca.crt").display()),
            format!("--token-file={}", file.display()),
            "--probe-listen=127.0.0.1:0".to_owned(),
        ];
        Process::start(name, common.into_iter().chain(more))
    }

    pub(crate) fn create(&self, object: &Value) {
        pipe(&object.to_string(), &["create"]).expect("created");
    }

    pub(crate) fn upgrade(&self, more: &[&str]) {
        release("upgrade", more);
    }

    /// Removes everything again.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(2);
        for task in self.tasks.drain(..) {
            task.await.expect("no panic");
        }
    }
}

impl Drop for Environment {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        self.stop.send_replace(2);
        let _ = helm(&["uninstall", "agent-creds", "--namespace", SYSTEM, "--ignore-not-found"], "");
        let kept = "secrets,configmaps,leases,events";
        let _ = kubectl(&[
            "delete",
            kept,
            "--namespace",
            SYSTEM,
            "--selector",
            "app.kubernetes.io/name=agent-creds",
        ]);
        let _ =
            kubectl(&["delete", "pods", "--all", "--namespace", "excluded", "--force", "--grace-period=0"]);
        let address = format!("{}/32", self.address.ip());
        let _ = Command::new("ip").args(["address", "delete", &address, "dev", "lo"]).status();
    }
}

/// Copies the Secrets to the paths where admission has them mounted, as a kubelet does.
async fn kubelet(folder: Arc<TempDir>, mut stopping: watch::Receiver<u8>) {
    let api = Api::of_cluster();
    let mut turn = tokio::time::interval(Duration::from_millis(300));
    loop {
        tokio::select! {
            _ = turn.tick() => {}
            _ = stopping.wait_for(|stop| *stop > 0) => return,
        }
        for (secret, keys) in [
            ("agent-creds-certificates", [("tls.crt", "tls.crt"), ("tls.key", "tls.key")]),
            ("agent-creds-seal", [("current", "seal/current"), ("previous", "seal/previous")]),
        ] {
            let path = format!("/api/v1/namespaces/{SYSTEM}/secrets/{secret}");
            let Some(secret) = api.get(&path).await else { continue };
            for (key, file) in keys {
                let value = secret["data"][key].as_str().unwrap_or_default();
                let value = STANDARD.decode(value).expect("base64");
                let fresh = folder.path().join("fresh");
                std::fs::write(&fresh, value).expect("written");
                std::fs::rename(&fresh, folder.path().join(file)).expect("moved");
            }
        }
    }
}
