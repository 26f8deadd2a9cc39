//! A certificate authority, a running `admit`, and a client that does as it is told.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_webhook::roles::admit::{self, Prepared, Timing};
use agent_creds_webhook::roles::{Cli, Role};
use clap::Parser as _;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

pub(crate) type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// A review of a pod that is to be injected.
pub(crate) fn review(uid: &str) -> Value {
    let annotations = json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE",
            "namespace": "ops",
            "object": {
                "metadata": {"generateName": "agent-", "annotations": annotations},
                "spec": {"containers": [{"name": "main", "image": "agent:1"}]},
            },
        },
    })
}

/// What takes longer than this never comes.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it comes in time")
}

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    /// When its certificates end: 2099-01-01.
    pub(crate) const ENDS: i64 = 4_070_908_800;

    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signed = params.self_signed(&key).expect("a certificate");
        Self { certificate: signed.der().clone(), pem: signed.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key, PEM.
    pub(crate) fn pair(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(2099, 1, 1);
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        (signed.pem(), key.serialize_pem())
    }

    /// A folder with all files of the role.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let policy =
            "sidecar: {image: registry.example/agent-creds-sidecar@sha256:0000}\nidentity: {mode: pod}\n";
        let (certificate, key) = self.pair();
        let files =
            [("policy.yaml", policy), ("ca.crt", &self.pem), ("tls.crt", &certificate), ("tls.key", &key)];
        for (name, content) in files {
            fs::write(folder.path().join(name), content).expect("written");
        }
        fs::write(folder.path().join("current"), [7; 32]).expect("written");
        folder
    }

    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        TlsConnector::from(Arc::new(
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
        ))
    }
}

fn arguments(folder: &Path) -> Vec<PathBuf> {
    let file = |flag: &str, name: &str| [PathBuf::from(flag), folder.join(name)];
    let mut arguments = vec!["agent-creds-webhook".into(), "admit".into()];
    arguments.extend(file("--policy", "policy.yaml"));
    arguments.extend(file("--api-ca", "ca.crt"));
    arguments.extend(file("--tls-cert", "tls.crt"));
    arguments.extend(file("--tls-key", "tls.key"));
    arguments.extend([PathBuf::from("--seal-keys"), folder.to_owned()]);
    arguments.extend(["--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"].map(PathBuf::from));
    arguments
}

/// How the chart sets the allocator of the process.
fn tunables() -> &'static str {
    let deployment = include_str!("../../../charts/agent-creds/templates/_deployment.tpl");
    let (_, rest) = deployment.split_once("- name: GLIBC_TUNABLES\n").expect("the variable");
    rest.trim_start().strip_prefix("value: ").and_then(|rest| rest.lines().next()).expect("its value")
}

/// The role with the files of the folder, on free ports.
pub(crate) async fn prepare(folder: &Path) -> anyhow::Result<Prepared> {
    match Cli::try_parse_from(arguments(folder)).expect("arguments").role {
        Role::Admit(config) => config.prepare().await,
        _ => unreachable!("not asked for"),
    }
}

/// The role in this process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    probe_address: SocketAddr,
    authority: Authority,
    folder: TempDir,
    stop: watch::Sender<u8>,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(timing: Timing) -> Self {
        let authority = Authority::new();
        let folder = authority.folder();
        let prepared = prepare(folder.path()).await.expect("prepared");
        let (address, probe_address) = prepared.addresses().expect("addresses");
        let (stop, stopping) = watch::channel(0);
        let task = tokio::spawn(admit::run(prepared, timing, stopping));
        Self { address, probe_address, authority, folder, stop, task }
    }

    pub(crate) async fn connect(&self) -> Stream {
        connect(self.address, &self.authority).await
    }

    /// The certificate that is served now.
    pub(crate) async fn certificate(&self) -> CertificateDer<'static> {
        let stream = self.connect().await;
        let certificates = stream.get_ref().1.peer_certificates().expect("certificates");
        certificates[0].clone().into_owned()
    }

    /// Writes a new pair over the old one.
    pub(crate) fn renew(&self) {
        let (certificate, key) = self.authority.pair();
        fs::write(self.folder.path().join("tls.crt"), certificate).expect("written");
        fs::write(self.folder.path().join("tls.key"), key).expect("written");
    }

    pub(crate) async fn post(&self, media_type: &str, body: String) -> Result<(u16, Value), hyper::Error> {
        self.request("POST", "/mutate", media_type, body).await
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: String,
    ) -> Result<(u16, Value), hyper::Error> {
        let (status, body) = request(self.connect().await, method, path, media_type, body).await?;
        Ok((status, serde_json::from_str(&body).unwrap_or_default()))
    }

    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.probe_address).await.expect("a connection");
        request(stream, "GET", path, "", String::new()).await.expect("an answer")
    }

    pub(crate) async fn until_ready(&self) {
        within(async { while self.probe("/readyz").await.0 != 200 {} }).await;
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.send_modify(|asked| *asked += 1);
    }

    /// Waits until no new connection is taken.
    pub(crate) async fn until_refused(&self) {
        within(async { while TcpStream::connect(self.address).await.is_ok() {} }).await;
    }

    pub(crate) async fn ended(&mut self) {
        within(&mut self.task).await.expect("no panic");
    }

    pub(crate) async fn stop(mut self) {
        self.ask_to_stop();
        self.ended().await;
    }
}

/// The role as the shipped binary.
pub(crate) struct Process {
    child: Child,
    /// Lines of the log, until `drain` reads them.
    lines: Option<Lines<BufReader<ChildStdout>>>,
    address: SocketAddr,
    probe_address: SocketAddr,
    authority: Authority,
    _folder: TempDir,
}

impl Process {
    pub(crate) async fn start(authority: Authority) -> Self {
        let folder = authority.folder();
        let mut child = Command::new(env!("CARGO_BIN_EXE_agent-creds-webhook"))
            .args(&arguments(folder.path())[1..])
            .env("GLIBC_TUNABLES", tunables())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let started = loop {
            let line = next(&mut lines).await;
            if line["message"] == "listening" {
                break line;
            }
        };
        let [address, probe_address] = ["address", "probe_address"]
            .map(|key| started[key].as_str().expect("text").parse().expect("an address"));
        Self { child, lines: Some(lines), address, probe_address, authority, _folder: folder }
    }

    pub(crate) async fn post(&self, media_type: &str, body: String) -> Result<(u16, String), hyper::Error> {
        let stream = connect(self.address, &self.authority).await;
        request(stream, "POST", "/mutate", media_type, body).await
    }

    /// Connects from `127.0.0.<source>`, with a small buffer for answers, so that a long one stays in the process.
    pub(crate) async fn connect_from(&self, source: u8) -> std::io::Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(64 * 1024)?;
        socket.bind(SocketAddr::from(([127, 0, 0, source], 0)))?;
        handshake(socket.connect(self.address).await?, &self.authority).await
    }

    pub(crate) async fn probe(&self, path: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.probe_address).await.expect("a connection");
        request(stream, "GET", path, "", String::new()).await.expect("an answer")
    }

    /// A value of `/proc/PID/status`, in KiB.
    pub(crate) fn status(&self, key: &str) -> u64 {
        let pid = self.child.id().expect("it runs");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
        let line = status.lines().find(|line| line.starts_with(key)).expect("a line");
        line.split_whitespace().nth(1).expect("a value").parse().expect("a number")
    }

    /// Reads the log to its end, so that the process never waits for its reader.
    pub(crate) fn read_log(&mut self) -> JoinHandle<()> {
        let mut lines = self.lines.take().expect("nobody else reads them");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} })
    }

    pub(crate) async fn next_line(&mut self) -> Value {
        next(self.lines.as_mut().expect("nobody else reads them")).await
    }

    /// Sends SIGTERM twice: the second does not wait for the endpoints to be told.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let signal =
            async || Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill").success();
        assert!(signal().await);
        while self.next_line().await["message"] != "stopping" {}
        assert!(signal().await);
        assert!(self.child.wait().await.expect("ended").success());
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = lines.next_line().await.expect("readable").expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

async fn connect(address: SocketAddr, authority: &Authority) -> Stream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    handshake(stream, authority).await.expect("a handshake")
}

async fn handshake(stream: TcpStream, authority: &Authority) -> std::io::Result<Stream> {
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    authority.connector().connect(name, stream).await
}

async fn request<S>(
    stream: S,
    method: &str,
    path: &str,
    media_type: &str,
    body: String,
) -> Result<(u16, String), hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1")
        .header("content-type", media_type)
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    drop(sender);
    let _ = connection.await;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
