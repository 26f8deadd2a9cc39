//! Runs the real sidecar as a process, with a directory of Secrets ([`Secrets`]) and its own ports.
//!
//! The process has an empty environment and its volumes in a temporary folder, and ends with [`Sidecar`]. All its
//! output is kept: the log, every answer that a test received, the metrics, and the files for the agent. At the end the
//! output is searched for secrets (`leaks`), so every test also checks for leaks.

mod http1;
mod leaks;
pub mod one;
mod process;
mod secrets;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};

pub use self::leaks::look_in;
pub use self::process::ask;
pub use self::secrets::{LONG_AGO, Secrets};

use crate::https::Answer;

/// Timeout of a wait that usually takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the path of the binary, which `cargo build -p agent-creds-sidecar` puts beside the tests.
///
/// # Panics
/// If it is missing.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let beside =
        test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join("agent-creds-sidecar");
    assert!(beside.exists(), "{} is missing: cargo build -p agent-creds-sidecar", beside.display());
    beside
}

/// Calls `look` until it succeeds, and returns the result. Tests let time pass only here.
///
/// # Panics
/// After the timeout, with the last result of `look`.
pub async fn eventually<T, E: Debug>(what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => panic!("waited in vain: {what}; last seen: {seen:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The settings for starting a sidecar.
pub struct Setup {
    program: PathBuf,
    secrets: Secrets,
    store: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    volumes: Arc<TempDir>,
    ports: (u16, u16),
    uid: Option<u32>,
}

/// A running sidecar; dropping it kills it and checks for leaks.
pub struct Sidecar {
    secrets: Secrets,
    volumes: Arc<TempDir>,
    log: PathBuf,
    child: Child,
    api: SocketAddr,
    metrics: SocketAddr,
    key: String,
    heard: Mutex<Vec<u8>>,
}

impl Setup {
    /// A sidecar with the Secrets of this directory, and no grants yet.
    pub fn new(secrets: &Secrets) -> Self {
        let volumes = tempfile::tempdir().expect("a temporary folder");
        for name in ["shared", "spool"] {
            std::fs::create_dir(volumes.path().join(name)).expect("a new folder");
        }
        Self {
            program: binary(),
            secrets: secrets.clone(),
            store: format!("dir:{}", secrets.path().display()),
            arguments: Vec::new(),
            environment: Vec::new(),
            volumes: volumes.into(),
            ports: (0, 0),
            uid: None,
        }
    }

    /// Uses another build of the sidecar.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// Adds a grant that has the name of its Secret.
    #[must_use]
    pub fn grant(self, name: &str) -> Self {
        self.argument(&format!("--grant={name}={name}"))
    }

    /// Uses the Secrets of an API server instead of the directory's.
    #[must_use]
    pub fn in_cluster(mut self) -> Self {
        "kubernetes".clone_into(&mut self.store);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds the CA of the token endpoint.
    #[must_use]
    pub fn trust(self, ca_pem: &str) -> Self {
        self.argument(&format!("--provider-roots-data={}", STANDARD.encode(ca_pem)))
    }

    /// Sets an environment variable; the environment is empty otherwise.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Uses the volumes of an earlier process, as after a restart of the container.
    #[must_use]
    pub fn volumes(mut self, volumes: &Arc<TempDir>) -> Self {
        self.volumes = Arc::clone(volumes);
        self
    }

    /// Listens on these ports, for the API and for the metrics, instead of free ones.
    #[must_use]
    pub fn ports(mut self, api: u16, metrics: u16) -> Self {
        self.ports = (api, metrics);
        self
    }

    /// Runs as this user, which gets the volumes and the Secrets.
    #[must_use]
    pub fn user(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    fn command(&self) -> Command {
        let Self { volumes, ports: (api, metrics), .. } = self;
        let mut command = self.subcommand("serve");
        command.args([format!("--port={api}"), format!("--metrics-port={metrics}")]);
        command.arg(format!("--shared-dir={}", volumes.path().join("shared").display()));
        command
    }

    /// The command for a subcommand that redeems.
    fn subcommand(&self, name: &str) -> Command {
        let Self { program, secrets, store, arguments, environment, volumes, uid, .. } = self;
        let mut command = Command::new(match uid {
            // Another user may not read cargo's build folder.
            Some(_) => {
                let copy = volumes.path().join("agent-creds-sidecar");
                std::fs::copy(program, &copy).expect("copying the sidecar for another user");
                copy
            }
            None => program.clone(),
        });
        command.arg(name).arg(format!("--store={store}")).args(arguments);
        command.arg(format!("--spool-dir={}", volumes.path().join("spool").display()));
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        if let Some(uid) = *uid {
            for folder in [secrets.path(), volumes.path()] {
                secrets::give(folder, uid);
            }
            command.uid(uid);
        }
        command
    }

    /// Starts it where the start must fail, and returns its exit status and output.
    pub fn refused(&self) -> Output {
        let output = self.command().output().expect("running the sidecar");
        look_in(&[&output.stdout, &output.stderr], &self.secrets.lasting());
        output
    }

    /// Runs `refresh --once` with these additional arguments, and returns its exit status and output.
    pub async fn refresh(&self, arguments: &[&str]) -> Output {
        let mut command = self.subcommand("refresh");
        command.arg("--once").args(arguments);
        // The servers that it connects to run on this thread.
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.expect("no panic there").expect("running the sidecar");
        look_in(&[&output.stdout, &output.stderr], &self.secrets.lasting());
        output
    }

    /// Starts it and waits until it serves.
    pub async fn start(self) -> Sidecar {
        let mut command = self.command();
        let Self { secrets, volumes, .. } = self;
        // A restarted process logs to a new file.
        let number = std::fs::read_dir(volumes.path()).expect("our own folder").count();
        let log = volumes.path().join(format!("log-{number}"));
        let stdout = File::create_new(&log).expect("a new file in our own folder");
        command.stderr(stdout.try_clone().expect("a second handle of the log")).stdout(stdout);
        let mut child = command.spawn().expect("starting the sidecar");
        let serving = eventually("the sidecar serves", async || {
            let ended = child.try_wait().expect("its own child");
            let text = std::fs::read_to_string(&log).expect("the log");
            assert!(ended.is_none(), "the sidecar ended: {ended:?} {text}");
            lines(&text).into_iter().find(|line| line["message"] == "serving").ok_or(text)
        })
        .await;
        let address = |field: &str| -> SocketAddr {
            serving[field].as_str().and_then(|text| text.parse().ok()).expect("an address in the log")
        };
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, address("metrics").port()));
        let key = std::fs::read_to_string(volumes.path().join("shared/caller-key")).expect("the caller key");
        let api = address("api");
        Sidecar { secrets, volumes, log, child, api, metrics, key, heard: Mutex::default() }
    }
}

impl Sidecar {
    /// Returns the address of the local API.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Returns the address of the metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Returns the caller key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the folders `shared` and `spool`.
    pub fn volumes(&self) -> &Arc<TempDir> {
        &self.volumes
    }

    /// Returns the path of a file in the volume that it shares with the agent.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.volumes.path().join("shared").join(name)
    }

    /// Returns the log lines so far.
    pub fn log(&self) -> Vec<Value> {
        lines(&self.output())
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    /// Sends these bytes on loopback; `None` if the connection is closed without an answer.
    pub async fn say(&self, request: &[u8]) -> Option<Answer> {
        let stream = TcpStream::connect(self.api).await.expect("the API takes connections");
        self.converse(stream, request).await
    }

    /// Sends these bytes on the socket.
    pub async fn say_on_socket(&self, request: &[u8]) -> Option<Answer> {
        let socket = self.shared("agent.sock");
        let stream = UnixStream::connect(socket).await.expect("the socket takes connections");
        self.converse(stream, request).await
    }

    async fn converse(&self, stream: impl http1::Stream, request: &[u8]) -> Option<Answer> {
        let talk = tokio::time::timeout(PATIENCE, http1::talk(stream, request));
        let heard = talk.await.expect("the sidecar answers, or closes the connection");
        self.heard.lock().expect("no test panicked under the lock").extend_from_slice(&heard);
        http1::parse(&heard)
    }

    /// Sends `GET path` as the agent does: on loopback, with the caller key.
    pub async fn get(&self, path: &str) -> Answer {
        let key = &self.key;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
        );
        self.say(request.as_bytes()).await.expect("an answer")
    }

    /// Sends `GET path` on the socket, without a caller key.
    pub async fn get_on_socket(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        self.say_on_socket(request.as_bytes()).await.expect("an answer")
    }

    /// Requests the token of a grant.
    pub async fn token(&self, grant: &str) -> Answer {
        self.get(&format!("/v1/token/{grant}")).await
    }

    /// Requests the access token of a grant, which must be available.
    pub async fn access_token(&self, grant: &str) -> String {
        let answer = self.token(grant).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.text("access_token").expect("an access token")
    }

    /// Returns a grant from `GET /v1/grants`.
    pub async fn grant(&self, name: &str) -> Value {
        let listed = self.get("/v1/grants").await.json();
        let found =
            listed["grants"].as_array().and_then(|all| all.iter().find(|grant| grant["name"] == name));
        found.cloned().unwrap_or_else(|| panic!("no grant {name} in {listed}"))
    }

    /// Waits until a grant has this state and reason, and returns it.
    pub async fn becomes(&self, name: &str, state: &str, reason: &str) -> Value {
        eventually(&format!("grant {name} is {state}: {reason}"), async || {
            let grant = self.grant(name).await;
            if grant["state"] == state && grant["reason"] == reason { Ok(grant) } else { Err(grant) }
        })
        .await
    }

    /// Returns the text of the metrics.
    pub async fn exposition(&self) -> String {
        let stream = TcpStream::connect(self.metrics).await.expect("the metrics take connections");
        let request = b"GET /metrics HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n";
        let answer = self.converse(stream, request).await.expect("an answer");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.to_vec()).expect("metrics are text")
    }

    /// Returns the metrics by series.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.exposition().await;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        samples.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect()
    }

    /// Kills it and returns all its output.
    fn outlet(&mut self) -> leaks::Outlet {
        let metrics = http1::get_now(self.metrics, "/metrics").unwrap_or_default();
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap_or_default();
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let heard =
            std::mem::take(&mut *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let files = leaks::files(&self.volumes.path().join("shared"));
        leaks::Outlet { log: std::fs::read(&self.log).unwrap_or_default(), metrics, heard, arguments, files }
    }
}

impl Drop for Sidecar {
    #[expect(clippy::print_stderr, reason = "shows the log of a sidecar whose test failed")]
    fn drop(&mut self) {
        let outlet = self.outlet();
        if std::thread::panicking() {
            eprintln!("--- the sidecar's log\n{}", String::from_utf8_lossy(&outlet.log));
        } else {
            outlet.check(&self.secrets);
        }
    }
}

fn lines(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
