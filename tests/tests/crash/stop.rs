//! Stops a sidecar at one system call. strace is attached to the idle process, sends SIGSTOP with the call, and
//! detaches. The result is an ordinary stopped process that has made that call and none after it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_creds_tests::sidecar::{Sidecar, eventually};
use rustix::process::Signal;

/// Longest wait for the call. A process that was delayed too long does not make it.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The process did not reach the call, because the machine was busy. The row is tried again.
#[derive(Debug)]
pub(crate) struct Missed;

/// A system call.
pub(crate) struct Call {
    /// Its names on the known architectures.
    pub(crate) names: &'static str,
    /// The path that it is about, if any.
    pub(crate) path: Option<PathBuf>,
    /// Its number in its thread, from 1.
    pub(crate) number: u32,
}

/// A breakpoint at a call. Dropping it detaches from the process.
pub(crate) struct Breakpoint {
    strace: Child,
    pid: u32,
    output: PathBuf,
}

impl Breakpoint {
    /// Attaches to the process. No call is missed after it returns.
    pub(crate) async fn at(sidecar: &Sidecar, call: &Call) -> Self {
        let (pid, output) = (sidecar.pid(), sidecar.volumes().path().join("strace"));
        let names = call.names;
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-p", &pid.to_string()]).arg("-o").arg(&output);
        command.arg(format!("--trace={names}"));
        command.arg(format!("--inject={names}:signal=SIGSTOP:when={}", call.number));
        if let Some(path) = &call.path {
            command.arg("-P").arg(path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let strace = command.spawn().expect("strace, which tests/crash/install installs");
        let breakpoint = Self { strace, pid, output };
        let tracer = breakpoint.strace.id().to_string();
        eventually("strace is attached", async || {
            let tracers = of_threads(pid, "TracerPid:");
            if !tracers.is_empty() && tracers.iter().all(|one| *one == tracer) {
                Ok(())
            } else {
                Err(tracers)
            }
        })
        .await;
        breakpoint
    }

    /// Waits until the process is stopped at the call, and leaves it stopped.
    pub(crate) async fn holds(mut self) -> Result<(), Missed> {
        let deadline = Instant::now() + TIMEOUT;
        eventually("the call is made", async || {
            let seen = std::fs::read_to_string(&self.output).unwrap_or_default();
            if seen.contains("stopped by SIGSTOP") {
                return Ok(Ok(()));
            }
            if Instant::now() > deadline { Ok(Err(Missed)) } else { Err(seen) }
        })
        .await?;
        self.let_go();
        is_stopped(self.pid).await;
        Ok(())
    }

    fn let_go(&mut self) {
        // The kernel detaches the traced process, and a stopped process stays stopped.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = std::fs::remove_file(&self.output);
    }
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Stops a process at any point.
pub(crate) async fn stop(sidecar: &Sidecar) {
    sidecar.signal(Signal::STOP);
    is_stopped(sidecar.pid()).await;
}

async fn is_stopped(pid: u32) {
    eventually("the process is stopped", async || {
        let states = of_threads(pid, "State:");
        if !states.is_empty() && states.iter().all(|state| state == "T") { Ok(()) } else { Err(states) }
    })
    .await;
}

/// Returns the first word of this field for each thread.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |thread: &Path| {
        let status = std::fs::read_to_string(thread.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    threads.filter_map(|thread| read(&thread.path())).collect()
}
