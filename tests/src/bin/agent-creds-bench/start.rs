//! Measures the time from the start of a process to its first successful answer on a Unix socket. A socket's path is
//! known before the start, and a free port is not. The process is killed when this program ends.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::http::Connection;
use crate::percentile;

/// Pause between two attempts. A runtime's timers are not as fine.
const PAUSE: Duration = Duration::from_micros(50);
/// Longest start.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The Unix socket that the program creates
    #[arg(long)]
    socket: PathBuf,
    /// File with the request
    #[arg(long)]
    request: PathBuf,
    /// Number of starts
    #[arg(long, default_value_t = 20)]
    times: usize,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => bail!("terminated"),
            _ = interrupt.recv() => bail!("interrupted"),
            line = starts(arguments) => line,
        }
    })
}

async fn starts(arguments: &Arguments) -> anyhow::Result<String> {
    let Arguments { socket, request, times, command } = arguments;
    let request = std::fs::read(request).context("reading the request")?;
    let (program, rest) = command.split_first().context("no program")?;
    let mut took = Vec::new();
    for _ in 0..*times {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let begun = Instant::now();
        let mut child = Command::new(program)
            .args(rest)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        took.push(answered(&mut child, socket, &request, begun).await?);
        child.kill().await.context("ending the program")?;
    }
    took.sort_unstable();
    let (median, most) = (percentile(&took, 0.5), percentile(&took, 1.0));
    Ok(serde_json::json!({ "starts": took.len(), "p50_ms": median, "max_ms": most }).to_string())
}

async fn answered(
    child: &mut Child,
    socket: &Path,
    request: &[u8],
    begun: Instant,
) -> anyhow::Result<Duration> {
    while begun.elapsed() < PATIENCE {
        if matches!(ask(socket, request), Ok(200)) {
            return Ok(begun.elapsed());
        }
        std::thread::park_timeout(PAUSE);
        tokio::task::yield_now().await;
        if let Some(status) = child.try_wait()? {
            bail!("the program ended before it answered: {status}");
        }
    }
    bail!("no answer within {} s", PATIENCE.as_secs());
}

fn ask(socket: &Path, request: &[u8]) -> anyhow::Result<u16> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Connection::new(stream).exchange(request)
}
