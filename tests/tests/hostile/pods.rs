//! Pods beside the agent's, and their processes as the node's administrator sees them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use agent_creds_tests::platform::{ACCOUNT, START};
use serde_json::{Value, json};

use crate::hostile::agent::{NAMESPACE, OPEN, PLATFORM, agent_pod, await_ready};
use crate::hostile::attempt::Met;

/// A second pod of the same agent.
pub(crate) static NEIGHBOUR: LazyLock<&str> =
    LazyLock::new(|| started(&agent_pod("neighbour", NAMESPACE), "neighbour"));

/// A pod of the same agent that runs as root, as the Pod Security baseline allows.
pub(crate) static ROOTED: LazyLock<&str> = LazyLock::new(|| {
    let mut pod = agent_pod("rooted", NAMESPACE);
    pod["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 0});
    started(&pod, "rooted")
});

/// A pod with NET_RAW and NET_ADMIN, before and after the platform allowed them.
pub(crate) struct Capable {
    /// The refusal before.
    pub(crate) refused: Met,
    /// The pod that runs now.
    pub(crate) pod: &'static str,
}

/// A pod with root, NET_RAW and NET_ADMIN, which the platform allows.
pub(crate) static CAPABLE: LazyLock<Capable> = LazyLock::new(|| {
    let platform = &*PLATFORM;
    platform.log_in(OPEN);
    let label = ["label", "namespace", OPEN, "pod-security.kubernetes.io/enforce=privileged", "--overwrite"];
    kubectl(&label).expect("a namespace where Pod Security forbids nothing");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": OPEN}});
    pipe(&account.to_string(), &["apply"]).expect("the account");
    let mut pod = agent_pod("agent", OPEN);
    pod["spec"]["containers"][0]["securityContext"] =
        json!({"runAsUser": 0, "capabilities": {"add": ["NET_RAW", "NET_ADMIN"]}});
    let refused = would_start(&pod);
    platform
        .helm("upgrade", &["--wait", "--timeout", "4m", "--set", "allowCapabilities={NET_RAW,NET_ADMIN}"])
        .expect("helm upgrade");
    // Pods of the previous release may still answer for a moment.
    eventually(START, || would_start(&pod));
    Capable { refused, pod: started(&pod, "agent") }
});

/// Sends a pod as a dry run.
pub(crate) fn would_start(pod: &Value) -> Met {
    pipe(&pod.to_string(), &["create", "--dry-run=server"])
}

/// Creates a pod and waits until it is ready.
pub(crate) fn started<'a>(pod: &Value, name: &'a str) -> &'a str {
    let namespace = pod["metadata"]["namespace"].as_str().expect("a namespace");
    pipe(&pod.to_string(), &["apply"]).unwrap_or_else(|error| panic!("making {name}: {error}"));
    await_ready(name, namespace);
    name
}

/// Deletes a pod of a single attempt.
pub(crate) fn gone(name: &str, namespace: &str) {
    kubectl(&["delete", "pod", name, "--namespace", namespace, "--now"]).expect("deleting it");
}

/// Returns the status of the sidecar's container.
pub(crate) fn sidecar_status(pod: &str, namespace: &str) -> Value {
    let pod = get(&["pod", pod, "--namespace", namespace]);
    let all = pod["status"]["initContainerStatuses"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|status| status["name"] == "agent-creds").unwrap_or_default()
}

/// The sidecar's process on the node.
pub(crate) struct Process {
    folder: PathBuf,
}

impl Process {
    /// The sidecar's process of a pod.
    pub(crate) fn sidecar(pod: &str, namespace: &str) -> Self {
        Self::of(&sidecar_status(pod, namespace))
    }

    /// The first process of a container.
    pub(crate) fn of(status: &Value) -> Self {
        let id = status["containerID"].as_str().expect("a container that runs");
        let id = id.strip_prefix("containerd://").expect("containerd's");
        let mut folders: Vec<u32> = std::fs::read_dir("/proc")
            .expect("the node's processes")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(id))
            })
            .collect();
        folders.sort_unstable();
        let pid = folders.first().unwrap_or_else(|| panic!("no process of {id}"));
        Self { folder: format!("/proc/{pid}").into() }
    }

    /// Returns its id on the node.
    pub(crate) fn pid(&self) -> i32 {
        self.folder.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number")
    }

    /// Reads a file of `/proc/PID`.
    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// Returns the metadata of a file of `/proc/PID`.
    pub(crate) fn metadata(&self, file: &str) -> std::fs::Metadata {
        std::fs::metadata(self.folder.join(file)).expect("a process that runs")
    }

    /// Returns a path in the process's file system.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(Path::new(path).strip_prefix("/").expect("an absolute path"))
    }

    /// Returns the resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status = String::from_utf8(self.read("status")).expect("text");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process with memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends it a signal, as the node's administrator.
    pub(crate) fn kill(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("ending the sidecar");
    }
}
