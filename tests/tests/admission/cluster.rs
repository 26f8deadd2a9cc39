//! The environment of one test: a namespace, a webhook registration, and `admit` behind it.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use agent_creds_tests::authority::Authority;
use agent_creds_webhook::roles::admit::{self, Prepared, Timing};
use agent_creds_webhook::roles::{Cli, Role};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Cluster {
    pub(crate) namespace: String,
    pub(crate) authority: Authority,
    probes: std::net::SocketAddr,
    stop: watch::Sender<u8>,
    admission: Option<JoinHandle<()>>,
    _folder: TempDir,
}

impl Cluster {
    /// Creates a namespace whose pods are admitted by `admit` with this policy.
    pub(crate) async fn start(name: &str, policy: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = Authority::new();
        let (prepared, folder) = prepare(&authority, policy).await;
        let (address, probes) = prepared.addresses().expect("addresses");
        let (stop, stopping) = watch::channel(0);
        let admission = Some(tokio::spawn(admit::run(prepared, Timing::default(), stopping)));
        let namespace = format!("admission-{name}");
        let cluster = Self { namespace, authority, probes, stop, admission, _folder: folder };
        cluster
            .kubectl(&["create", "namespace", &cluster.namespace], &Value::Null)
            .await
            .expect("a namespace");
        // A controller creates the account, and the API server refuses pods before.
        let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=60s"];
        cluster.kubectl(&account, &Value::Null).await.expect("a ServiceAccount");
        let registration =
            cluster.registration("agent-creds", "pods.mutate.agent-creds", &address.to_string(), "Fail");
        cluster.register(&registration).await;
        cluster
    }

    /// Returns a registration for pods of this namespace. The API server calls webhooks in the order of `first`.
    pub(crate) fn registration(&self, first: &str, webhook: &str, address: &str, failure: &str) -> Value {
        let asked = "has(object.metadata.annotations) && 'agent-creds/inject' in object.metadata.annotations \
                     && object.metadata.annotations['agent-creds/inject'] != 'false'";
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": format!("{first}-{}", self.namespace)},
            "webhooks": [{
                "name": webhook,
                "clientConfig": {
                    "url": format!("https://{address}/mutate"),
                    "caBundle": STANDARD.encode(self.authority.ca_pem()),
                },
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
                "matchConditions": [{"name": "asks-for-injection", "expression": asked}],
                "failurePolicy": failure,
                "sideEffects": "None",
                "reinvocationPolicy": "IfNeeded",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 10,
            }],
        })
    }

    /// Registers the webhook, and waits until the API server calls it, which starts a moment later.
    pub(crate) async fn register(&self, registration: &Value) {
        self.kubectl(&["apply", "-f", "-"], registration).await.expect("registered");
        let probe = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "annotations": {"agent-creds/inject": "a probe that the webhook refuses"}},
            "spec": {"containers": [{"name": "main", "image": "x"}]},
        });
        let asked =
            async { while self.kubectl(&["create", "--dry-run=server", "-f", "-"], &probe).await.is_ok() {} };
        tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the webhook is called");
    }

    /// Creates an object and returns the stored one, or the error that the user sees.
    pub(crate) async fn create(&self, object: &Value) -> Result<Value, String> {
        let (stored, _) = self.kubectl(&["create", "-o", "json", "-f", "-"], object).await?;
        Ok(serde_json::from_str(&stored).expect("JSON"))
    }

    /// Runs `kubectl` and returns both outputs, or standard error if it fails.
    pub(crate) async fn kubectl(
        &self,
        arguments: &[&str],
        input: &Value,
    ) -> Result<(String, String), String> {
        let mut child = Command::new("kubectl")
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl is needed: run this inside tests/cluster/with api");
        let mut stdin = child.stdin.take().expect("a pipe");
        // kubectl may exit without reading its input.
        let _ = stdin.write_all(input.to_string().as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        if output.status.success() {
            Ok((text(output.stdout), text(output.stderr)))
        } else {
            Err(text(output.stderr))
        }
    }

    /// Returns how often each reason was counted since the start, of answers that allowed the pod.
    pub(crate) async fn counted(&self) -> impl Fn(&str) -> u64 + use<> {
        let mut stream = TcpStream::connect(self.probes).await.expect("a connection");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("a page");
        move |reason| {
            let label = format!("reason=\"{reason}\"");
            let line = page
                .lines()
                .find(|line| line.starts_with("agent_creds_admission_total") && line.contains(&label));
            line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().expect("a number"))
        }
    }

    /// Stops `admit`; the registration stays.
    pub(crate) async fn stop_admission(&mut self) {
        self.stop.send_replace(2);
        if let Some(admission) = self.admission.take() {
            admission.await.expect("no panic");
        }
    }

    /// Removes everything again.
    pub(crate) async fn finish(mut self) {
        let registration = format!("mutatingwebhookconfiguration/agent-creds-{}", self.namespace);
        self.kubectl(&["delete", &registration], &Value::Null).await.expect("deleted");
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], &Value::Null)
            .await
            .expect("deleted");
        self.stop_admission().await;
    }
}

/// The key that signs the seals.
pub(crate) const SEAL_KEY: [u8; 32] = [7; 32];

async fn prepare(authority: &Authority, policy: &str) -> (Prepared, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let leaf = authority.leaf(["127.0.0.1"]);
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("written");
        path.into_os_string().into_string().expect("text")
    };
    fs::write(folder.path().join("current"), SEAL_KEY).expect("written");
    let arguments = [
        "agent-creds-webhook".to_owned(),
        "admit".to_owned(),
        format!("--policy={}", file("policy.yaml", policy)),
        format!("--api-ca={}", file("ca.crt", authority.ca_pem())),
        format!("--tls-cert={}", file("tls.crt", &leaf.cert_pem)),
        format!("--tls-key={}", file("tls.key", &leaf.key_pem)),
        format!("--seal-keys={}", folder.path().display()),
        "--listen=127.0.0.1:0".to_owned(),
        "--probe-listen=127.0.0.1:0".to_owned(),
    ];
    let Role::Admit(config) = Cli::try_parse_from(arguments).expect("arguments").role else {
        unreachable!("the arguments select the role admit")
    };
    (config.prepare().await.expect("prepared"), folder)
}
