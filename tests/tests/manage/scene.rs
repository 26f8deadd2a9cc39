//! The chart in the cluster with its defaults, admission at the address of its Service, and managers as processes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use agent_creds_tests::api::Api;
use agent_creds_tests::cluster::{SYSTEM, directory, eventually, get, helm, kubectl, pipe, root};
use agent_creds_webhook::roles::admit::{self, Timing};
use agent_creds_webhook::roles::{Cli, Role};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;

const MOMENT: Duration = Duration::from_secs(60);
/// Ten minutes are three seconds.
const SCALE: &str = "--time-scale=0.005";

/// A Secret's data.
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

/// An agent.
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

/// Has a pod admitted, with the sidecar, but not made.
pub(crate) fn admit(pod: &Value) -> Result<(), String> {
    let made = pipe(&pod.to_string(), &["create", "--dry-run=server", "-o", "json"])?;
    if made.contains("agent-creds/seal") { Ok(()) } else { Err(format!("not injected: {made}")) }
}

pub(crate) struct Scene {
    _alone: MutexGuard<'static, ()>,
    folder: Arc<TempDir>,
    /// Where the API server finds admission.
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

impl Scene {
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
        // There is no kube-proxy here: admission listens at the address of its Service itself.
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
            unreachable!("it was admit")
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
        tokio::time::timeout(MOMENT, waiting).await.expect("the certificate and the keys arrive");
    }

    /// A manager with nothing but a token of its ServiceAccount.
    pub(crate) fn manager(&mut self, name: &str) -> Manager {
        let token =
            kubectl(&["create", "token", "agent-creds-manage", "--namespace", SYSTEM]).expect("a token");
        let file = self.folder.path().join(format!("token-{name}"));
        std::fs::write(&file, token.trim()).expect("written");
        Manager::start(name, &file)
    }

    pub(crate) fn create(&self, object: &Value) {
        pipe(&object.to_string(), &["create"]).expect("created");
    }

    pub(crate) fn upgrade(&self, more: &[&str]) {
        release("upgrade", more);
    }

    /// Takes everything away again.
    pub(crate) async fn finish(mut self) {
        self.stop.send_replace(2);
        for task in self.tasks.drain(..) {
            task.await.expect("no panic");
        }
    }
}

impl Drop for Scene {
    /// Best effort: a panic here would hide the one that ended the test.
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

/// Brings the Secrets to where admission has mounted them, as a kubelet does.
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

/// `manage` as a process, which ends with this value.
pub(crate) struct Manager {
    child: Child,
    lines: mpsc::Receiver<String>,
    probes: Option<SocketAddr>,
}

fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let beside = test.ancestors().nth(2).expect("target/PROFILE/deps").join("agent-creds-webhook");
    assert!(beside.exists(), "{} is missing: cargo build -p agent-creds-webhook", beside.display());
    beside
}

impl Manager {
    #[expect(clippy::print_stdout, reason = "its log is shown where a test fails")]
    fn start(name: &str, token: &Path) -> Self {
        let mut child = Command::new(binary())
            .args(["manage", "--namespace", SYSTEM, "--certificates=self-managed", "--api-server"])
            .arg("https://localhost:6443")
            .arg(format!("--api-ca={}", directory().join("ca.crt").display()))
            .arg(format!("--token-file={}", token.display()))
            .args(["--probe-listen=127.0.0.1:0", "--pod", name, SCALE])
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let (send, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let name = name.to_owned();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                println!("{name}: {line}");
                let _ = send.send(line);
            }
        });
        Self { child, lines, probes: None }
    }

    /// Waits until its log has these words.
    pub(crate) fn said(&mut self, words: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(MOMENT).unwrap_or_else(|_| panic!("it never said {words:?}"));
            let line: Value = serde_json::from_str(&line).expect("a log of JSON lines");
            if line["message"] == words {
                return line;
            }
        }
    }

    pub(crate) fn metrics(&mut self) -> String {
        let probes = match self.probes {
            Some(probes) => probes,
            None => {
                let line = self.said("listening");
                let address =
                    line["probe_address"].as_str().expect("an address").parse().expect("an address");
                *self.probes.insert(address)
            }
        };
        ask(probes, "/metrics")
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
        eventually(MOMENT, || {
            self.child.try_wait().expect("our own child").map(drop).ok_or("it runs".to_owned())
        });
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}
