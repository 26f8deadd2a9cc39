//! The cluster's own etcd and API server, which are frozen, killed, set back and started again. They end with the
//! cluster, so whatever happens here leaves nothing over.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_creds_tests::api::Api;
use agent_creds_tests::cluster;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Where the test cluster's etcd keeps its data.
const DATA: &str = "/run/etcd";
/// Longest wait for a component that was started.
const PATIENCE: Duration = Duration::from_secs(60);

/// The two, and the last copy of what they hold.
pub(crate) struct Plane {
    api: Api,
    etcd: Component,
    server: Component,
    copy: PathBuf,
}

/// A component: its process, and how to start it again.
struct Component {
    name: &'static str,
    command: Vec<String>,
    pid: Pid,
    /// Where it was started here, not by the cluster.
    child: Option<Child>,
}

impl Plane {
    /// Finds both.
    pub(crate) fn find(api: Api, folder: &Path) -> Self {
        let (etcd, server) = (Component::find("etcd"), Component::find("kube-apiserver"));
        Self { api, etcd, server, copy: folder.join("etcd") }
    }

    /// etcd stands still for a while.
    pub(crate) async fn freeze(&mut self, length: Duration) {
        self.etcd.signal(Signal::STOP);
        tokio::time::sleep(length).await;
        self.etcd.signal(Signal::CONT);
        self.answers().await;
    }

    /// etcd is gone for a while.
    pub(crate) async fn kill(&mut self, length: Duration) {
        self.etcd.kill().await;
        tokio::time::sleep(length).await;
        self.etcd.start();
        self.answers().await;
    }

    /// Copies what etcd holds, which is as if it had crashed just now.
    pub(crate) fn copy(&self) {
        self.etcd.signal(Signal::STOP);
        let _ = std::fs::remove_dir_all(&self.copy);
        copy(Path::new(DATA), &self.copy);
        self.etcd.signal(Signal::CONT);
    }

    /// Puts the last copy in place of what etcd holds; false where there is none. The API server is started again, as
    /// etcd's documentation asks for: it would believe what it remembers.
    pub(crate) async fn set_back(&mut self) -> bool {
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
        tokio::time::timeout(PATIENCE, wait).await.expect("the API server answers again");
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
        Self { name, command, pid: Pid::from_raw(pid).expect("a process has a number"), child: None }
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
