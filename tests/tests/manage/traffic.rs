//! Requests during a rotation: the API server calls admission for pods, and an older client connects to our servers
//! with a CA bundle that it read a while ago.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_creds_tests::api::Api;
use agent_creds_tests::cluster::SYSTEM;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::environment::{Environment, admit, pod};

/// Greatest age of the client's CA bundle. A new CA is announced three seconds before it signs.
const STALE: Duration = Duration::from_secs(1);

pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    pods: JoinHandle<Result<usize, String>>,
    client: JoinHandle<Result<usize, String>>,
}

impl Traffic {
    pub(crate) fn start(environment: &Environment) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, address) = (Arc::clone(&stop), environment.address);
        let pods = tokio::task::spawn_blocking(move || {
            let mut admitted = 0;
            while !until.load(Ordering::Relaxed) {
                admit(&pod("ops", "agent")).map_err(|error| format!("pod {admitted}: {error}"))?;
                admitted += 1;
            }
            Ok(admitted)
        });
        let client = tokio::spawn(connect(address, Arc::clone(&stop)));
        Self { stop, pods, client }
    }

    pub(crate) async fn passed_without_a_failure(self) {
        self.stop.store(true, Ordering::Relaxed);
        let pods = self.pods.await.expect("no panic").expect("the API server always trusts admission");
        let connections =
            self.client.await.expect("no panic").expect("a client with an older bundle trusts admission");
        assert!(pods > 20 && connections > 20, "{pods} pods and {connections} connections");
    }
}

async fn connect(address: SocketAddr, stop: Arc<AtomicBool>) -> Result<usize, String> {
    let api = Api::of_cluster();
    let path = format!("/api/v1/namespaces/{SYSTEM}/configmaps/agent-creds-ca");
    let name = ServerName::try_from(format!("agent-creds-admit.{SYSTEM}.svc")).expect("a name");
    let (mut connections, mut trusted) = (0, None::<(Instant, TlsConnector)>);
    while !stop.load(Ordering::Relaxed) {
        if trusted.as_ref().is_none_or(|(read, _)| read.elapsed() > STALE) {
            let map = api.get(&path).await.ok_or("the ConfigMap")?;
            let pem = map["data"]["ca.crt"].as_str().unwrap_or_default();
            trusted = Some((Instant::now(), trusting(pem)));
        }
        if let Some((_, tls)) = &trusted {
            let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let made = tls.connect(name.clone(), tcp).await;
            made.map_err(|error| format!("connection {connections}: {error}"))?;
            connections += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(connections)
}

fn trusting(pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(ca.expect("PEM")).expect("a CA");
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
