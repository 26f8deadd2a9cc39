//! The sidecars: real processes, each with volumes and a gateway of its own, which are killed, frozen and started again.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::chaos::record::{Life, Uncommitted};
use agent_creds_tests::chaos::schedule::{clock_at_start, with_own_clock};
use agent_creds_tests::https::Client;
use agent_creds_tests::sidecar::binary;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::Mutex;

use super::gateway::Gateway;
use super::ledger::{Ledger, now_ms};

/// What the agent calls its grant.
pub(crate) const GRANT: &str = "chaos";

/// How all sidecars are started.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) time_scale: f64,
    /// Namespace and name of the grant Secret.
    pub(crate) secret: String,
    /// The ServiceAccount's token.
    pub(crate) token: String,
    pub(crate) provider_ca: String,
    pub(crate) upstream: Client,
    pub(crate) ledger: Arc<Ledger>,
}

/// All of them; dropping it ends them.
pub(crate) struct Fleet {
    slots: Vec<Slot>,
}

/// One sidecar, over all its processes.
pub(crate) struct Slot {
    pub(crate) gateway: Mutex<Gateway>,
    folder: PathBuf,
    arguments: Vec<String>,
    /// The library that lies about the wall clock, where this one has a clock of its own.
    clock: Option<PathBuf>,
    ledger: Arc<Ledger>,
    number: usize,
    /// Held by whoever does something to it: one thing at a time.
    pub(crate) process: Mutex<Option<Process>>,
}

/// A running process; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    started_ms: u64,
    sidecar: usize,
    ledger: Arc<Ledger>,
}

impl Fleet {
    /// Starts so many.
    pub(crate) async fn start(setup: &Setup, sidecars: usize) -> Self {
        let authority = Authority::new();
        let clock = wall_clock_library();
        let mut slots = Vec::new();
        for number in 0..sidecars {
            let folder = setup.folder.join(format!("sidecar-{number:02}"));
            for name in ["shared", "spool", "identity"] {
                std::fs::create_dir_all(folder.join(name)).expect("a new folder");
            }
            std::fs::write(folder.join("identity/api-token"), &setup.token)
                .expect("the ServiceAccount's token");
            let (upstream, ledger) = (setup.upstream.clone(), Arc::clone(&setup.ledger));
            let gateway = Gateway::open(number, &authority, upstream, ledger).await;
            let arguments = arguments(setup, &folder, &gateway, &authority);
            let clock = Some(clock.clone()).filter(|_| with_own_clock(number));
            let ledger = Arc::clone(&setup.ledger);
            let process = Mutex::new(None);
            let gateway = Mutex::new(gateway);
            let slot = Slot { gateway, folder, arguments, clock, ledger, number, process };
            slot.set_clock(clock_at_start(setup.seed, number));
            *slot.process.lock().await = Some(slot.start());
            slots.push(slot);
        }
        Self { slots }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Slot] {
        &self.slots
    }
}

fn arguments(setup: &Setup, folder: &Path, gateway: &Gateway, authority: &Authority) -> Vec<String> {
    let place = |name: &str| folder.join(name).display().to_string();
    [
        "serve".to_owned(),
        "--store=kubernetes".to_owned(),
        "--identity=pod".to_owned(),
        "--port=0".to_owned(),
        "--metrics-port=0".to_owned(),
        format!("--grant={GRANT}={}", setup.secret),
        format!("--time-scale={}", setup.time_scale),
        format!("--api-server={}", gateway.url()),
        format!("--api-ca-data={}", STANDARD.encode(authority.ca_pem())),
        format!("--provider-roots-data={}", STANDARD.encode(&setup.provider_ca)),
        format!("--shared-dir={}", place("shared")),
        format!("--spool-dir={}", place("spool")),
        format!("--identity-dir={}", place("identity")),
    ]
    .into()
}

/// Where Debian's package `faketime` has it.
fn wall_clock_library() -> PathBuf {
    let places = std::fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let library = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    library.into_iter().find(|path| path.exists()).expect("libfaketime, of Debian's package faketime")
}

impl Slot {
    /// Sets its wall clock off by so many seconds, if it has one of its own.
    pub(crate) fn set_clock(&self, offset_s: i64) {
        let fresh = self.folder.join("clock.new");
        std::fs::write(&fresh, format!("{offset_s:+}\n")).expect("writing into our own folder");
        std::fs::rename(&fresh, self.folder.join("clock")).expect("renaming in our own folder");
    }

    /// Where the agent asks.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("shared/agent.sock")
    }

    /// Starts a process.
    pub(crate) fn start(&self) -> Process {
        let log = || -> File {
            let log = OpenOptions::new().create(true).append(true).open(self.folder.join("log.jsonl"));
            log.expect("a log in our own folder")
        };
        let mut command = Command::new(binary());
        command.args(&self.arguments).env_clear().stdin(Stdio::null()).stdout(log()).stderr(log());
        if let Some(library) = &self.clock {
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.folder.join("clock"));
            for setting in ["FAKETIME_NO_CACHE", "FAKETIME_DONT_FAKE_MONOTONIC"] {
                command.env(setting, "1");
            }
        }
        let child = command.spawn().expect("starting the sidecar");
        let ledger = Arc::clone(&self.ledger);
        Process { child, started_ms: now_ms(), sidecar: self.number, ledger }
    }

    /// What the spool of a sidecar that does not run holds.
    pub(crate) fn spool(&self) -> Uncommitted {
        let Ok(bytes) = std::fs::read(self.folder.join(format!("spool/uncommitted-{GRANT}.json"))) else {
            return Uncommitted::Nothing;
        };
        let record: Value = serde_json::from_slice(&bytes).expect("the spool is JSON");
        match record.get("uncommitted").map(|uncommitted| uncommitted["answer"].is_null()) {
            Some(true) => Uncommitted::Sent,
            Some(false) => Uncommitted::Answered,
            None => Uncommitted::Nothing,
        }
    }

    /// Loses its spool, as a pod that is replaced does.
    pub(crate) fn lose_spool(&self) {
        let spool = self.folder.join("spool");
        std::fs::remove_dir_all(&spool).expect("removing our own folder");
        std::fs::create_dir(&spool).expect("a new folder");
    }
}

impl Process {
    /// Freezes or thaws it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
    }

    /// Whether it ended of itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its own child").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.ledger.lived(Life { sidecar: self.sidecar, from_ms: self.started_ms, to_ms: now_ms() });
    }
}
