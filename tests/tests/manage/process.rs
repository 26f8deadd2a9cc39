//! Runs a role of the webhook as a process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use agent_creds_tests::cluster::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A running process; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    lines: mpsc::Receiver<String>,
    probes: Option<SocketAddr>,
}

fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let beside = test.ancestors().nth(2).expect("target/PROFILE/deps").join("agent-creds-webhook");
    assert!(beside.exists(), "{} is missing: cargo build -p agent-creds-webhook", beside.display());
    beside
}

impl Process {
    /// Starts a process. `name` is the prefix of its log lines in the test's output.
    #[expect(clippy::print_stdout, reason = "cargo shows the log if the test fails")]
    pub(crate) fn start(name: &str, arguments: impl IntoIterator<Item = String>) -> Self {
        let mut child = Command::new(binary())
            .args(arguments)
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let (send, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let name = name.to_owned();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                println!("{name}: {line}");
                let _ = send.send(line);
            }
        });
        Self { child, lines, probes: None }
    }

    /// Waits for a log line with this message.
    pub(crate) fn wait_for_log(&mut self, words: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("no log line {words:?}"));
            let line: Value = serde_json::from_str(&line).expect("a log of JSON lines");
            if line["message"] == words {
                return line;
            }
        }
    }

    pub(crate) fn metrics(&mut self) -> String {
        let probes = match self.probes {
            Some(probes) => probes,
            None => {
                let line = self.wait_for_log("listening");
                let address =
                    line["probe_address"].as_str().expect("an address").parse().expect("an address");
                *self.probes.insert(address)
            }
        };
        ask(probes, "/metrics")
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to our own child");
        eventually(TIMEOUT, || {
            self.child.try_wait().expect("our own child").map(drop).ok_or("still running".to_owned())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Requests a page of the probe listener.
pub(crate) fn ask(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}
