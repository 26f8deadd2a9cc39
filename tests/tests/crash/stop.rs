//! Stops a sidecar at one system call: strace is attached while the process is at rest, sends SIGSTOP with the call, and
//! goes. What is left is an ordinary stopped process, which has just made that call and nothing after it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_creds_tests::sidecar::{Sidecar, eventually};
use rustix::process::Signal;

/// How long a call is waited for, which a process that was held up for too long does not make.
const PATIENCE: Duration = Duration::from_secs(15);

/// The process was not where it should be stopped: it gave up, because the machine was busy. To be tried again.
#[derive(Debug)]
pub(crate) struct Missed;

/// A system call.
pub(crate) struct Call {
    /// Its names on the architectures that we know.
    pub(crate) names: &'static str,
    /// A path that it is about, if it is about one.
    pub(crate) path: Option<PathBuf>,
    /// Which one in its thread, from 1.
    pub(crate) number: u32,
}

/// Waits at a call. Dropped, it lets the process go.
pub(crate) struct Snare {
    strace: Child,
    pid: u32,
    output: PathBuf,
}

impl Snare {
    /// Lies in wait; from when it returns nothing is missed.
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
        let snare = Self { strace, pid, output };
        let tracer = snare.strace.id().to_string();
        eventually("strace is attached", async || {
            let tracers = of_threads(pid, "TracerPid:");
            if !tracers.is_empty() && tracers.iter().all(|one| *one == tracer) {
                Ok(())
            } else {
                Err(tracers)
            }
        })
        .await;
        snare
    }

    /// Waits until the process is stopped at the call, and leaves it so.
    pub(crate) async fn holds(mut self) -> Result<(), Missed> {
        let deadline = Instant::now() + PATIENCE;
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
        // The kernel detaches what it traced, and what was stopped stays so.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
        let _ = std::fs::remove_file(&self.output);
    }
}

impl Drop for Snare {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Stops a process wherever it is.
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

/// The first word of this field of each thread.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let read = |thread: &Path| {
        let status = std::fs::read_to_string(thread.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    threads.filter_map(|thread| read(&thread.path())).collect()
}
