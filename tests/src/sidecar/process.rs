//! The sidecar as a process: signals, exit, and other subcommands.

use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use rustix::process::{Pid, Signal, kill_process};

use super::{Sidecar, binary, eventually};

impl Sidecar {
    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs another subcommand against it, as the kubelet does: `["probe", "startup"]`, `["drain"]`.
    pub fn ask(&self, subcommand: &[&str]) -> Output {
        ask(&self.volumes.path().join("spool"), subcommand)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
    }

    /// Sends it SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Whether it is still running.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("its own child").is_none()
    }

    /// Waits until it exits.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the sidecar ends", async || child.try_wait().expect("its own child").ok_or(())).await
    }
}

/// Runs a subcommand against the sidecar with this spool.
pub fn ask(spool: &Path, subcommand: &[&str]) -> Output {
    let directory = format!("--spool-dir={}", spool.display());
    Command::new(binary()).args(subcommand).arg(directory).env_clear().output().expect("running the sidecar")
}
