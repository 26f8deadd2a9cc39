//! Simulates the API server of a newer Kubernetes with feature gates.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use agent_creds_tests::cluster::{eventually, kubectl};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A second API server of the same cluster, with features that are off by default in this version of Kubernetes.
pub(crate) struct Newer {
    server: Child,
    /// kubectl's argument for its address.
    pub(crate) address: String,
}

impl Newer {
    /// Starts it with these feature gates, in the format of its argument.
    pub(crate) fn start(features: &str) -> Self {
        let arguments = running("kube-apiserver");
        let (program, arguments) = arguments.split_first().expect("a program");
        let server = Command::new(program)
            .args(arguments)
            .args(["--secure-port=6453", "--endpoint-reconciler-type=none", "--audit-log-path="])
            .arg(format!("--feature-gates={features}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a second API server");
        let newer = Self { server, address: "--server=https://10.99.0.1:6453".to_owned() };
        eventually(TIMEOUT, || kubectl(&[&newer.address, "get", "--raw", "/readyz"]));
        newer
    }
}

impl Drop for Newer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns the command line of a component of the cluster.
fn running(component: &str) -> Vec<String> {
    let folders = std::fs::read_dir("/proc").expect("the processes").flatten();
    let commands = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    let mut commands = commands.map(|bytes| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.trim_end_matches('\0').split('\0').map(str::to_owned).collect::<Vec<_>>()
    });
    commands
        .find(|command| command.get(1).is_some_and(|name| name == component))
        .unwrap_or_else(|| panic!("{component} does not run"))
}
