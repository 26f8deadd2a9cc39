//! Limits of a server: times, sizes and the number of connections.

use std::time::Duration;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from the handshake to the head of the first request.
    pub first_head: Duration,
    /// Time between two requests on a connection. It is longer than clients keep idle connections (Go: 90 s), so that the client
    /// closes them: a request fails if the server closes its connection at the same time.
    pub idle: Duration,
    /// Time from the head of a request to the end of its answer; `None`: no limit.
    pub request: Option<Duration>,
    /// Time for the peer to read an answer: from the end of the answer until all of it is written, and the longest time for
    /// which a write may wait.
    pub write: Duration,
    /// Largest head of a request, in bytes.
    pub head_bytes: usize,
    /// Open connections, at most.
    pub connections: usize,
    /// Open connections from one address, at most.
    pub per_source: usize,
    /// Time to finish open requests at shutdown.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            first_head: Duration::from_secs(5),
            idle: Duration::from_secs(120),
            request: Some(Duration::from_secs(30)),
            write: Duration::from_secs(10),
            head_bytes: 16 * 1024,
            connections: 512,
            per_source: 128,
            drain: Duration::from_secs(15),
        }
    }
}
