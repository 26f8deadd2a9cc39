//! The environment of a test: an agent, its credential account in another namespace, and the identity server in this
//! process.

use std::net::SocketAddr;
use std::time::Duration;

use agent_creds_core::exchange_api::CA_CONFIG_MAP;
use agent_creds_tests::api::Api;
use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::{self, helm, kubectl, pipe, root};
use agent_creds_tests::https::{Answer, Client};
use agent_creds_webhook::pod::decide::{Decision, decide};
use agent_creds_webhook::pod::seal_keys::Keys;
use agent_creds_webhook::policy::Policy;
use agent_creds_webhook::roles::identity::{self, Timing};
use agent_creds_webhook::roles::{Cli, Role};
use clap::Parser as _;
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard, watch};

/// The namespace of the release.
pub(crate) const RELEASE: &str = cluster::SYSTEM;

const POLICY: &str = "{sidecar: {image: 'registry.example/agent-creds-sidecar@sha256:0000', imagePullPolicy: Always}, \
                      identity: {mode: exchange, server: 'https://identity', caConfigMap: system/ca}}";
const SEAL_KEY: [u8; 32] = [7; 32];

/// The identity server's rights are cluster-wide, so the tests run one after the other.
static CLUSTER: Mutex<()> = Mutex::const_new(());

pub(crate) struct Environment {
    /// The agent's namespace.
    pub(crate) namespace: String,
    /// The namespace of its grants.
    pub(crate) vault: String,
    rendered: String,
    admin: Api,
    client: Client,
    ca_pem: String,
    api: Client,
    probes: SocketAddr,
    _stop: watch::Sender<u8>,
    _folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

/// Limits that a test reaches only on purpose.
pub(crate) fn timing() -> Timing {
    let mut timing = Timing::default();
    timing.bounds.pod.burst = 1000;
    timing.bounds.pod.every = Duration::from_secs(3600);
    timing.bounds.source.burst = 1000;
    timing
}

impl Environment {
    pub(crate) async fn start(name: &str, timing: Timing) -> Self {
        let alone = CLUSTER.lock().await;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (namespace, vault) = (format!("identity-{name}"), format!("identity-{name}-vault"));
        for namespace in [RELEASE, &namespace, &vault] {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            pipe(&object.to_string(), &["apply"]).expect("a namespace");
        }
        kubectl(&["create", "serviceaccount", "agent", "--namespace", &namespace])
            .expect("the agent's account");
        kubectl(&["create", "secret", "generic", "bystander", "--namespace", &namespace]).expect("a Secret");
        for secret in ["one", "other"] {
            kubectl(&["create", "secret", "generic", secret, "--namespace", &vault]).expect("a grant Secret");
        }
        let rendered = render(&namespace, &vault);
        pipe(&rendered, &["apply"]).expect("the chart's objects");

        let authority = Authority::new();
        let (prepared, folder) = prepare(&authority, timing).await;
        let (address, probes) = prepared.addresses().expect("addresses");
        let (stop, stopping) = watch::channel(0);
        tokio::spawn(identity::run(prepared, stopping));
        let (admin, client) = (Api::of_cluster(), Client::new(address, authority.ca_pem()));
        let (api, ca_pem) = (admin.client(), authority.ca_pem().to_owned());
        Self {
            namespace,
            vault,
            rendered,
            admin,
            client,
            ca_pem,
            api,
            probes,
            _stop: stop,
            _folder: folder,
            _alone: alone,
        }
    }

    /// Recreates deleted objects of the chart.
    pub(crate) fn restore(&self) {
        pipe(&self.rendered, &["apply"]).expect("the chart's objects");
    }

    /// Returns the address of the identity server.
    pub(crate) fn address(&self) -> SocketAddr {
        self.client.address()
    }

    /// Returns the CA certificate of the identity server.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the annotations of a pod that asks for the credential account of the other namespace.
    pub(crate) fn sealed(&self) -> Value {
        json!({
            "agent-creds/inject": "true",
            "agent-creds/grants": "pagerduty=one",
            "agent-creds/service-account": format!("{}/agent-creds", self.vault),
        })
    }

    /// Creates a pod of the agent, injected and sealed if it asks for it. Its node does not exist, so it never runs.
    pub(crate) async fn pod(&self, name: &str, annotations: Value) -> Value {
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "nodeName": "nowhere",
                "serviceAccountName": "agent",
                "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": "agent:1"}],
            },
        });
        let ca = std::fs::read(cluster::directory().join("ca.crt")).expect("the cluster's CA");
        let policy = Policy::parse(POLICY, &ca).expect("a policy");
        let keys = Keys::new(&SEAL_KEY, None).expect("a key");
        match decide(&pod, &policy, &keys, &self.namespace, jiff::Timestamp::now().as_second()) {
            Decision::Injected { patch, .. } => patch.apply(&mut pod).expect("the patch fits"),
            Decision::Unchanged(_) => {}
            Decision::Refused(refusals) => panic!("{refusals:?}"),
        }
        self.admin.create(&format!("/api/v1/namespaces/{}/pods", self.namespace), &pod).await
    }

    /// Creates a token of the agent's account with this spec.
    pub(crate) async fn create_token(&self, spec: &Value) -> String {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/agent/token", self.namespace);
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let made = self.admin.create(&path, &request).await;
        made["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Creates the token that the kubelet projects into the sidecar of this pod.
    pub(crate) async fn token(&self, pod: &Value) -> String {
        let metadata = &pod["metadata"];
        let pod =
            json!({"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]});
        self.create_token(&json!({"audiences": ["agent-creds"], "boundObjectRef": pod})).await
    }

    /// Sends a token to the identity server.
    pub(crate) async fn exchange(&self, token: &str) -> Answer {
        let body = json!({"token": token}).to_string();
        let headers = [("content-type", "application/json")];
        self.client.post("127.0.0.1", "/identity", &headers, body).await.expect("an answer")
    }

    /// Checks that the token is exchanged.
    pub(crate) async fn is_issued(&self, token: &str) -> Answer {
        let answer = self.exchange(token).await;
        assert_eq!(answer.status, 200, "{answer:?}: {}", self.page().await);
        answer
    }

    /// Checks that the token is refused for this reason, which only the metrics show.
    pub(crate) async fn is_refused(&self, token: &str, reason: &str) {
        self.is_refused_for_one_of(token, &[reason]).await;
    }

    pub(crate) async fn is_refused_for_one_of(&self, token: &str, reasons: &[&str]) {
        let counted = async || {
            let mut sum = 0;
            for reason in reasons {
                sum += self.counted(reason).await;
            }
            sum
        };
        let before = counted().await;
        let answer = self.exchange(token).await;
        assert_eq!(answer.status, 403, "{reasons:?}: {answer:?}");
        assert_eq!(answer.json(), json!({"error": "access_denied"}), "{reasons:?}");
        assert_eq!(counted().await, before + 1, "{reasons:?}: {}", self.page().await);
    }

    /// Sends a request to the API server with a token.
    pub(crate) async fn api(&self, token: &str, verb: &str, path: &str) -> Answer {
        let request = Request::builder().method(verb).uri(path).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}"));
        let body = if verb == "POST" { json!({"spec": {}}).to_string() } else { String::new() };
        let host = agent_creds_tests::api::NAME;
        self.api.send(host, host, request.body(body).expect("a request")).await.expect("an answer")
    }

    /// Returns how often this reason was counted.
    pub(crate) async fn counted(&self, reason: &str) -> u64 {
        let page = self.page().await;
        let label = format!("reason=\"{reason}\"");
        let line =
            page.lines().find(|line| line.starts_with("agent_creds_identity_total") && line.contains(&label));
        line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().expect("a number"))
    }

    async fn page(&self) -> String {
        let mut stream = TcpStream::connect(self.probes).await.expect("a connection");
        let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).await.expect("a page");
        page
    }
}

impl Drop for Environment {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        let _ = kubectl(&[
            "delete",
            "clusterrole,clusterrolebinding",
            "agent-creds-identity",
            "--ignore-not-found",
        ]);
        let _ = kubectl(&["delete", "serviceaccount", "agent-creds-identity", "--namespace", RELEASE]);
        let public = ["configmap", "role", "rolebinding"].map(|kind| format!("{kind}/{CA_CONFIG_MAP}"));
        let public = public.each_ref().map(String::as_str);
        let _ = kubectl(&[&["delete", "--namespace", RELEASE, "--ignore-not-found"], &public[..]].concat());
        let _ = kubectl(&["delete", "namespace", &self.namespace, &self.vault, "--wait=false"]);
    }
}

/// Renders the chart's objects for the agent and for the identity server, without the Deployment.
fn render(namespace: &str, vault: &str) -> String {
    let grant = json!({
        "agent": {"namespace": namespace, "name": "agent"},
        "credential": {"namespace": vault, "name": "agent-creds"},
        "secrets": ["one"],
    });
    let values = json!({"identity": {"mode": "exchange"}, "grants": [grant]});
    let chart = root().join("charts/agent-creds");
    let chart = chart.to_str().expect("UTF-8");
    let mut arguments = vec!["template", "agent-creds", chart, "--namespace", RELEASE];
    arguments.extend(["--kube-version", "1.35.0", "--values", "-"]);
    for template in [
        "templates/grant-role.yaml",
        "templates/grant-rolebinding.yaml",
        "templates/grant-state-secret.yaml",
        "templates/grant-identity.yaml",
        "templates/identity-serviceaccount.yaml",
        "templates/identity-clusterrole.yaml",
        "templates/identity-clusterrolebinding.yaml",
    ] {
        arguments.extend(["--show-only", template]);
    }
    helm(&arguments, &values.to_string()).expect("rendering the chart")
}

async fn prepare(authority: &Authority, timing: Timing) -> (identity::Prepared, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let leaf = authority.leaf(["127.0.0.1"]);
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.into_os_string().into_string().expect("text")
    };
    std::fs::write(folder.path().join("current"), SEAL_KEY).expect("written");
    let token =
        kubectl(&["create", "token", "agent-creds-identity", "--namespace", RELEASE]).expect("a token");
    let server = kubectl(&["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]);
    let arguments = [
        "agent-creds-webhook".to_owned(),
        "identity".to_owned(),
        format!("--api-server={}", server.expect("the API server's address")),
        format!("--api-ca={}", cluster::directory().join("ca.crt").display()),
        format!("--policy={}", file("policy.yaml", POLICY)),
        format!("--seal-keys={}", folder.path().display()),
        format!("--token-file={}", file("token", token.trim())),
        "--issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        "--token-seconds=900".to_owned(),
        format!("--tls-cert={}", file("tls.crt", &leaf.cert_pem)),
        format!("--tls-key={}", file("tls.key", &leaf.key_pem)),
        "--listen=127.0.0.1:0".to_owned(),
        "--probe-listen=127.0.0.1:0".to_owned(),
    ];
    let Role::Identity(config) = Cli::try_parse_from(arguments).expect("arguments").role else {
        unreachable!("the arguments select the role identity")
    };
    (config.prepare(timing).await.expect("prepared"), folder)
}
