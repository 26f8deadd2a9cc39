//! A token endpoint that sends the bytes it is given as its answers, and then closes the connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use agent_creds_tests::authority::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::LOOPBACK;

/// The server; dropping it closes its port.
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The answers to come; the last one is repeated.
    answers: VecDeque<Vec<u8>>,
    /// The requests so far, head and form, and when each came.
    requests: Vec<(String, Instant)>,
}

impl Wire {
    /// A server that sends these answers in turn, and repeats the last one.
    pub(crate) async fn sends(authority: &Authority, answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Shared { answers: answers.into_iter().collect(), ..Shared::default() };
        let shared = Arc::new(Mutex::new(shared));
        let tls = authority.leaf(["127.0.0.1", "localhost"]).server_config().into();
        let task = tokio::spawn(serve(listener, tls, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// The token endpoint.
    pub(crate) fn token_url(&self) -> String {
        format!("https://{}/o/token", self.address)
    }

    /// Its address, as a `Location` shows it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        let shared = self.shared.lock().expect("no test panicked under the lock");
        shared.requests.iter().map(|(text, _)| text.clone()).collect()
    }

    /// When each request came.
    pub(crate) fn times(&self) -> Vec<Instant> {
        let shared = self.shared.lock().expect("no test panicked under the lock");
        shared.requests.iter().map(|(_, at)| *at).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Mutex<Shared>>) {
    loop {
        let (tcp, _) = listener.accept().await.expect("a test has few connections");
        let Ok(mut stream) = tls.accept(tcp).await else { continue };
        let Some(request) = request(&mut stream).await else { continue };
        let answer = {
            let mut shared = shared.lock().expect("no test panicked under the lock");
            shared.requests.push((request, Instant::now()));
            let next = shared.answers.pop_front().expect("at least one answer");
            if shared.answers.is_empty() {
                shared.answers.push_back(next.clone());
            }
            next
        };
        // The client may have gone away.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

/// Reads one request to the end of its form.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&chunk[..count]).ok()?);
        let Some((head, form)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if form.len() >= length.unwrap_or_default() {
            return Some(text);
        }
    }
}

/// A whole answer from `tests/data/answers/`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/answers").join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// An answer with these header lines and this body.
pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}
