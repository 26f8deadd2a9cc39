//! Simulated replicas: shipped refreshers in this process, each with its own name, spool and place in the spread. Their
//! reads and writes go to the API server, their presentations to the provider.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::names::LocalName;
use agent_creds_core::names::ObjectName;
use agent_creds_refresh::timing::Timing;
use agent_creds_sidecar::clock::Clock;
use agent_creds_sidecar::http_client::connect::Connector;
use agent_creds_sidecar::lifecycle::Phase;
use agent_creds_sidecar::metrics::Metrics;
use agent_creds_sidecar::refresher::{Ended, EventRecorder, Logins, Refresher, Tools};
use agent_creds_sidecar::rejected_tokens::RejectedTokens;
use agent_creds_sidecar::spool::Spool;
use agent_creds_sidecar::store::kubernetes::Kubernetes;
use agent_creds_sidecar::token_cache::TokenCache;
use agent_creds_tests::cluster;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::group::{GRANT, Place};
use super::replicas::API_SERVER;
use super::setting::TIME_SCALE;
use super::shared::Shared;

/// The simulated replicas; dropping them ends them.
pub(crate) struct Swarm {
    refreshers: JoinSet<Ended>,
    caches: Vec<Arc<TokenCache>>,
    secret: ObjectName,
    store: Shared,
    connector: Connector,
    clock: Clock,
    metrics: Metrics,
    phase: watch::Sender<Phase>,
    /// Contains the spools.
    folder: TempDir,
}

impl Swarm {
    /// Creates an empty set of replicas.
    pub(crate) fn new(place: &Place<'_>) -> Self {
        // A sidecar's spool is a memory volume, too.
        let memory = Some(PathBuf::from("/dev/shm")).filter(|memory| memory.is_dir());
        let folder = tempfile::tempdir_in(memory.unwrap_or_else(std::env::temp_dir)).expect("a folder");
        let token = folder.path().join("api-token");
        std::fs::write(&token, place.token).expect("writing into our own folder");
        let ca = std::fs::read(cluster::directory().join("ca.crt")).expect("the API server's CA");
        let ca = CertificateDer::from_pem_slice(&ca).expect("a certificate");
        let clock = Clock::system();
        let store = Kubernetes::connect(API_SERVER, vec![ca.to_vec()], &token, clock.clone());
        let secret = name(place.namespace, GRANT);
        let names = [secret.clone(), name(place.namespace, &format!("{GRANT}-state"))];
        let root = CertificateDer::from_pem_slice(place.provider_ca.as_bytes()).expect("a certificate");
        Self {
            refreshers: JoinSet::new(),
            caches: Vec::new(),
            secret,
            store: Shared::new(store.expect("a client of the API server"), names),
            connector: Connector::new(vec![root]).expect("a root that can sign"),
            clock,
            metrics: Metrics::default(),
            phase: watch::Sender::new(Phase::Running),
            folder,
        }
    }

    /// Starts `more` replicas.
    pub(crate) fn start(&mut self, more: usize) {
        let timing = Timing::PRODUCTION.scaled(TIME_SCALE);
        let patience = Duration::try_from(timing.budget).expect("a time");
        let grant = LocalName::parse(GRANT).expect("a name");
        for number in self.caches.len()..self.caches.len() + more {
            let cache = TokenCache::new(grant.clone(), self.secret.clone(), RejectedTokens::new(patience));
            let cache = Arc::new(cache);
            let tools = Tools {
                store: self.store.clone(),
                cluster: Some("test".to_owned()),
                connector: self.connector.clone(),
                clock: self.clock.clone(),
                spool: spool(self.folder.path(), number, &grant),
                logins: Arc::new(Logins::default()),
                events: EventRecorder::default(),
                timing,
                once: None,
                phase: self.phase.subscribe(),
                metrics: self.metrics.clone(),
            };
            let refresher = Refresher::new(tools, Arc::clone(&cache)).expect("an empty spool");
            self.refreshers.spawn(refresher.run());
            self.caches.push(cache);
        }
    }

    pub(crate) fn count(&self) -> usize {
        assert_eq!(self.refreshers.len(), self.caches.len(), "a refresher ends only on request");
        self.caches.len()
    }

    /// Returns the number of replicas that do not serve the access token with this fingerprint.
    pub(crate) fn not_serving(&self, fp: &str) -> usize {
        let now = self.clock.now();
        self.caches.iter().filter(|cache| !cache.serves(fp, now)).count()
    }
}

fn name(namespace: &str, name: &str) -> ObjectName {
    ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn spool(folder: &Path, number: usize, grant: &LocalName) -> Arc<Spool> {
    let place = folder.join(number.to_string());
    std::fs::create_dir(&place).expect("a new folder");
    Spool::open(&place, std::slice::from_ref(grant)).expect("a new spool").into()
}
