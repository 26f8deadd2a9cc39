//! The real sidecar as a process, with a directory of Secrets ([`Secrets`]) and ports of its own.
//!
//! It has an empty environment and volumes in a temporary folder, and ends with [`Sidecar`]. Whatever it lets out is
//! kept: its log, every answer that a test got, its metrics, the files for the agent. When it ends, all that is
//! searched for what must never leave it (`leaks`), so every test is a test of that, too.

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

/// How long something may take that takes a moment: a guard against waiting for ever, not a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, which `cargo build -p agent-creds-sidecar` puts beside the tests.
///
/// # Panics
/// If it is not there.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let beside =
        test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps").join("agent-creds-sidecar");
    assert!(beside.exists(), "{} is missing: cargo build -p agent-creds-sidecar", beside.display());
    beside
}

/// What `look` finds, as soon as it finds it. The one place where tests let time pass.
///
/// # Panics
/// If that takes unreasonably long; with what `look` saw last.
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

/// How a sidecar is to be started.
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

/// A running sidecar; dropping it kills it, and looks for leaks.
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
    /// A sidecar with the Secrets of this directory, and no grant yet.
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

    /// Another build of it than the one beside the tests.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        program.clone_into(&mut self.program);
        self
    }

    /// With a grant that the agent calls like its Secret.
    #[must_use]
    pub fn grant(self, name: &str) -> Self {
        self.argument(&format!("--grant={name}={name}"))
    }

    /// With the Secrets of an API server, in place of those of the directory.
    #[must_use]
    pub fn in_cluster(mut self) -> Self {
        "kubernetes".clone_into(&mut self.store);
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With the CA of the token endpoint.
    #[must_use]
    pub fn trust(self, ca_pem: &str) -> Self {
        self.argument(&format!("--provider-roots-data={}", STANDARD.encode(ca_pem)))
    }

    /// With a variable in its environment, which is empty otherwise.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the volumes of an earlier one, as after a restart of the container.
    #[must_use]
    pub fn volumes(mut self, volumes: &Arc<TempDir>) -> Self {
        self.volumes = Arc::clone(volumes);
        self
    }

    /// On these ports, of the API and of the metrics, instead of free ones.
    #[must_use]
    pub fn ports(mut self, api: u16, metrics: u16) -> Self {
        self.ports = (api, metrics);
        self
    }

    /// As this user, who gets the volumes and the Secrets.
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

    /// The program with what all subcommands take that redeem.
    fn subcommand(&self, name: &str) -> Command {
        let Self { program, secrets, store, arguments, environment, volumes, uid, .. } = self;
        let mut command = Command::new(match uid {
            // Another user may not look into the folder that cargo builds in.
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

    /// Starts it where that must fail: its exit and what it said.
    pub fn refused(&self) -> Output {
        let output = self.command().output().expect("running the sidecar");
        look_in(&[&output.stdout, &output.stderr], &self.secrets.lasting());
        output
    }

    /// Runs `refresh --once` in place of `serve`, with these arguments besides: its exit and what it said.
    pub async fn refresh(&self, arguments: &[&str]) -> Output {
        let mut command = self.subcommand("refresh");
        command.arg("--once").args(arguments);
        // Elsewhere: the servers that it talks to run here.
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.expect("no panic there").expect("running the sidecar");
        look_in(&[&output.stdout, &output.stderr], &self.secrets.lasting());
        output
    }

    /// Starts it, and waits until it serves.
    pub async fn start(self) -> Sidecar {
        let mut command = self.command();
        let Self { secrets, volumes, .. } = self;
        // A restarted one appends to the log of the one before it, in a file of its own.
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
    /// Where the local API is.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Where the metrics are.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// The caller key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its folders `shared` and `spool`.
    pub fn volumes(&self) -> &Arc<TempDir> {
        &self.volumes
    }

    /// A file of the volume that it shares with the agent.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.volumes.path().join("shared").join(name)
    }

    /// What it has logged.
    pub fn log(&self) -> Vec<Value> {
        lines(&self.output())
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log")
    }

    /// The answer to these bytes on loopback; `None` if the connection is closed without one.
    pub async fn say(&self, request: &[u8]) -> Option<Answer> {
        let stream = TcpStream::connect(self.api).await.expect("the API takes connections");
        self.converse(stream, request).await
    }

    /// The answer to these bytes on the socket.
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

    /// `GET path` as the agent does it: on loopback, with the caller key.
    pub async fn get(&self, path: &str) -> Answer {
        let key = &self.key;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
        );
        self.say(request.as_bytes()).await.expect("an answer")
    }

    /// `GET path` on the socket, with nothing else.
    pub async fn get_on_socket(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        self.say_on_socket(request.as_bytes()).await.expect("an answer")
    }

    /// What the agent gets when it asks for the token of a grant.
    pub async fn token(&self, grant: &str) -> Answer {
        self.get(&format!("/v1/token/{grant}")).await
    }

    /// The access token of a grant, which must be there.
    pub async fn access_token(&self, grant: &str) -> String {
        let answer = self.token(grant).await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.text("access_token").expect("an access token")
    }

    /// A grant as `GET /v1/grants` shows it.
    pub async fn grant(&self, name: &str) -> Value {
        let listed = self.get("/v1/grants").await.json();
        let found =
            listed["grants"].as_array().and_then(|all| all.iter().find(|grant| grant["name"] == name));
        found.cloned().unwrap_or_else(|| panic!("no grant {name} in {listed}"))
    }

    /// Waits until a grant is in this state for this reason, and shows it then.
    pub async fn becomes(&self, name: &str, state: &str, reason: &str) -> Value {
        eventually(&format!("grant {name} is {state}: {reason}"), async || {
            let grant = self.grant(name).await;
            if grant["state"] == state && grant["reason"] == reason { Ok(grant) } else { Err(grant) }
        })
        .await
    }

    /// The text of the metrics.
    pub async fn exposition(&self) -> String {
        let stream = TcpStream::connect(self.metrics).await.expect("the metrics take connections");
        let request = b"GET /metrics HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n";
        let answer = self.converse(stream, request).await.expect("an answer");
        assert_eq!(answer.status, 200);
        String::from_utf8(answer.body.to_vec()).expect("metrics are text")
    }

    /// The metrics: series to value.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.exposition().await;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        samples.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect()
    }

    /// Everything that it lets out, when it is killed now.
    fn outlet(&mut self) -> leaks::Outlet {
        let metrics = http1::get_now(self.metrics, "/metrics").unwrap_or_default();
        let arguments = std::fs::read(format!("/proc/{}/cmdline", self.pid())).unwrap_or_default();
        // It may be gone already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let heard =
            std::mem::take(&mut *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let files = leaks::files(&self.volumes.path().join("shared"));
        leaks::Outlet { log: std::fs::read(&self.log).unwrap_or_default(), metrics, heard, arguments, files }
    }
}

impl Drop for Sidecar {
    #[expect(clippy::print_stderr, reason = "the log of a sidecar whose test has failed")]
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
