//! Sends requests at a rate that does not depend on the answers. Arrivals are a Poisson process, like the sum of the
//! requests of many pods. Each connection is a blocking thread, so the cost of an async runtime is not measured. If a
//! connection is still busy when a request is due, the request's time counts from when it was due.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread::{park_timeout, scope};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::http::Connection;
use crate::percentile;

/// Timeout of one answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Port on 127.0.0.1
    #[arg(long)]
    port: u16,
    /// CA certificate (PEM) of a server that speaks TLS
    #[arg(long)]
    ca: Option<PathBuf>,
    /// File with the request, head and body
    #[arg(long)]
    request: PathBuf,
    /// Requests a second, over all connections
    #[arg(long)]
    rate: f64,
    /// Duration of the load, in seconds
    #[arg(long)]
    seconds: f64,
    /// Connections, kept open
    #[arg(long, default_value_t = 8)]
    connections: u32,
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

pub(crate) fn measure(arguments: &Arguments) -> anyhow::Result<String> {
    let request = std::fs::read(&arguments.request).context("reading the request")?;
    let tls = arguments.ca.as_deref().map(trusting).transpose()?;
    let gap = f64::from(arguments.connections) / arguments.rate;
    let life = Duration::from_secs_f64(arguments.seconds);
    let mut connections = Vec::new();
    for _ in 0..arguments.connections {
        let mut connection = connect(arguments.port, tls.clone())?;
        good(connection.exchange(&request)?)?;
        connections.push(connection);
    }
    let together = Barrier::new(connections.len());
    let mut took = scope(|scope| {
        let threads: Vec<_> = connections
            .into_iter()
            .zip(1_u64..)
            .map(|(connection, seed)| {
                let (request, together) = (&request, &together);
                scope.spawn(move || {
                    together.wait();
                    send(connection, request, Arrivals { gap, random: seed }, life)
                })
            })
            .collect();
        let all = threads.into_iter().map(|thread| thread.join().expect("a thread of the load"));
        all.collect::<Result<Vec<_>, _>>()
    })?
    .concat();
    took.sort_unstable();
    let line = serde_json::json!({
        "requests": took.len(),
        "per_second": took.len() as f64 / arguments.seconds,
        "p50_ms": percentile(&took, 0.5),
        "p99_ms": percentile(&took, 0.99),
        "max_ms": percentile(&took, 1.0),
    });
    Ok(line.to_string())
}

/// Sends the requests of one connection and returns their response times.
fn send(
    mut connection: Connection<Box<dyn Stream>>,
    request: &[u8],
    arrivals: Arrivals,
    life: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let begun = Instant::now();
    let mut took = Vec::new();
    let mut due = begun;
    for gap in arrivals {
        due += gap;
        if due > begun + life {
            break;
        }
        let free = Instant::now();
        let mut now = free;
        while now < due {
            park_timeout(due - now);
            now = Instant::now();
        }
        let since = if free > due { due } else { now };
        good(connection.exchange(request)?)?;
        took.push(since.elapsed());
    }
    Ok(took)
}

fn good(status: u16) -> anyhow::Result<()> {
    if status != 200 {
        bail!("the server answered {status}");
    }
    Ok(())
}

fn connect(port: u16, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<Connection<Box<dyn Stream>>> {
    let tcp = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).context("connecting")?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let Some(tls) = tls else { return Ok(Connection::new(Box::new(tcp))) };
    let session = ClientConnection::new(tls, ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)))?;
    Ok(Connection::new(Box::new(StreamOwned::new(session, tcp))))
}

fn trusting(ca: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).context("reading the CA")?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Times between requests: exponentially distributed with mean `gap` seconds, the same in every run.
struct Arrivals {
    gap: f64,
    random: u64,
}

impl Iterator for Arrivals {
    type Item = Duration;

    /// SplitMix64; the upper 53 bits give a number above 0 and up to 1.
    fn next(&mut self) -> Option<Duration> {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let uniform = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        Some(Duration::from_secs_f64(-uniform.ln() * self.gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_keep_the_rate() {
        let total: Duration = Arrivals { gap: 0.002, random: 1 }.take(100_000).sum();
        let mean = total.as_secs_f64() / 100_000.0;
        assert!((mean - 0.002).abs() < 0.000_04, "{mean}");
    }
}
