//! The cluster's own etcd and API server, which are frozen, killed, rolled back and restarted. They end with the
//! cluster.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_creds_tests::api::Api;
use agent_creds_tests::cluster;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The data directory of the test cluster's etcd.
const DATA: &str = "/run/etcd";
/// Longest start of a component.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Both components, and the last copy of etcd's data.
pub(crate) struct ControlPlane {
    api: Api,
    etcd: Component,
    server: Component,
    copy: PathBuf,
}

/// A component's process, and the command that starts it.
struct Component {
    name: &'static str,
    command: Vec<String>,
    pid: Pid,
    /// The process, if this test has started it.
    child: Option<Child>,
}

impl ControlPlane {
    /// Finds the processes of both.
    pub(crate) fn find(api: Api, folder: &Path) -> Self {
        let (etcd, server) = (Component::find("etcd"), Component::find("kube-apiserver"));
        Self { api, etcd, server, copy: folder.join("etcd") }
    }

    /// Stops etcd for a while.
    pub(crate) async fn freeze(&mut self, length: Duration) {
        self.etcd.signal(Signal::STOP);
        tokio::time::sleep(length).await;
        self.etcd.signal(Signal::CONT);
        self.answers().await;
    }

    /// Kills etcd and restarts it after a while.
    pub(crate) async fn kill(&mut self, length: Duration) {
        self.etcd.kill().await;
        tokio::time::sleep(length).await;
        self.etcd.start();
        self.answers().await;
    }

    /// Copies etcd's data. The copy looks like the data after a crash.
    pub(crate) fn copy(&self) {
        self.etcd.signal(Signal::STOP);
        let _ = std::fs::remove_dir_all(&self.copy);
        copy(Path::new(DATA), &self.copy);
        self.etcd.signal(Signal::CONT);
    }

    /// Restores the last copy of etcd's data; false if there is none. The API server is restarted too, as etcd's
    /// documentation requires, because its cache is invalid.
    pub(crate) async fn restore(&mut self) -> bool {
        if !self.copy.exists() {
            return false;
        }
        self.server.kill().await;
        self.etcd.kill().await;
        std::fs::remove_dir_all(DATA).expect("etcd's data");
        copy(&self.copy, Path::new(DATA));
        self.etcd.start();
        self.server.start();
        self.answers().await;
        true
    }

    /// Waits until the API server answers.
    async fn answers(&self) {
        let wait = async {
            while self.api.get("/api/v1/namespaces/default").await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, wait).await.expect("the API server answers again");
    }
}

impl Component {
    fn find(name: &'static str) -> Self {
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let command = |pid: i32| -> Vec<String> {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split_terminator('\0').map(str::to_owned).collect()
        };
        let mut found = pids.map(|pid| (pid, command(pid)));
        let found = found.find(|(_, command)| command.get(1).is_some_and(|word| word == name));
        let (pid, command) =
            found.unwrap_or_else(|| panic!("no {name} here; run this under tests/cluster/with"));
        Self { name, command, pid: Pid::from_raw(pid).expect("a process id is positive"), child: None }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap_or_else(|error| panic!("{} does not run: {error}", self.name));
    }

    async fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.child.take() {
            child.wait().expect("its own child");
        }
        while test_kill_process(self.pid).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn start(&mut self) {
        let log = || -> File {
            let file = cluster::directory().join("logs").join(format!("{}.log", self.name));
            OpenOptions::new().append(true).open(file).expect("the component's log")
        };
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(log()).stderr(log());
        let child = command.spawn().expect("starting a component");
        self.pid = Pid::from_child(&child);
        self.child = Some(child);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copying a file");
        }
    }
}
