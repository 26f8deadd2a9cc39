//! Limits of a server: times, sizes and the number of connections.

use std::time::Duration;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from then to the head of the first request.
    pub first_head: Duration,
    /// How long a connection may be idle between two requests. Longer than clients keep idle connections (Go: 90 s), so that
    /// it is the client that closes them: a request that meets a closing connection fails.
    pub idle: Duration,
    /// Time from the head of a request to the end of its answer; `None`: any.
    pub request: Option<Duration>,
    /// Time for the peer to read an answer: from the end of the answer until all of it is written, and the longest time for
    /// which a write may wait.
    pub write: Duration,
    /// Largest head of a request, in bytes.
    pub head_bytes: usize,
    /// Most open connections.
    pub connections: usize,
    /// Most open connections from one address.
    pub per_source: usize,
    /// Time for open requests after the server was asked to stop.
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
