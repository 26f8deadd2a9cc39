//! A TCP proxy between the sidecars and the provider, which delays all data. Data that was sent arrives also if its
//! sender has closed the connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_creds_tests::chaos::random::Random;
use agent_creds_tests::chaos::record::Exchange;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::ledger::{Ledger, now_ms};

/// Bounds of a delay, in milliseconds.
const TRAVELS_MS: (u64, u64) = (5, 120);

/// The proxy; dropping it closes its port and its connections.
pub(crate) struct Proxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Opens a proxy to this server, with delays from this seed.
    pub(crate) async fn to(server: SocketAddr, seed: u64, ledger: Arc<Ledger>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let random = Arc::new(Mutex::new(Random::new(seed)));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        if let Ok((tcp, _)) = accepted {
                            connections.spawn(carry(tcp, server, Arc::clone(&random), Arc::clone(&ledger)));
                        }
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, task }
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(near: TcpStream, server: SocketAddr, random: Arc<Mutex<Random>>, ledger: Arc<Ledger>) {
    let Ok(far) = TcpStream::connect(server).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let mut exchange = Exchange::default();
    let Exchange { to_provider_ms, to_sidecar_ms } = &mut exchange;
    tokio::join!(
        relay(near_read, far_write, &random, to_provider_ms),
        relay(far_read, near_write, &random, to_sidecar_ms),
    );
    ledger.record_exchange(exchange);
}

/// Forwards data with a delay until one side has closed the connection.
async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    random: &Mutex<Random>,
    carried: &mut Vec<u64>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let delay = random.lock().expect("no panic under the lock").between(TRAVELS_MS.0, TRAVELS_MS.1);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
        carried.push(now_ms());
    }
    let _ = to.shutdown().await;
}
