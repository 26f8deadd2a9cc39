//! What the subcommands that refresh have in common: the store, the way to providers, and a token cache for each grant.

use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::pod::{API_TOKEN_FILE, IDENTITY_TOKEN_FILE};
use agent_creds_core::sidecar_args::{Exchange, GrantArg, GrantArgs, StoreArg};
use agent_creds_refresh::fingerprint::of_cluster;
use agent_creds_refresh::timing::Timing;
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::api_client::{Account, ApiClient};
use crate::clock::Clock;
use crate::http_client::connect::Connector;
use crate::identity::renewer::{Renewer, Server};
use crate::identity::token_source::TokenSource;
use crate::rejected_tokens::RejectedTokens;
use crate::spool::Spool;
use crate::store::Store;
use crate::store::directory::Directory;
use crate::store::kubernetes::Kubernetes;
use crate::token_cache::TokenCache;

/// A subcommand that works on a store of either kind.
pub trait Task {
    /// What it returns.
    type Output;

    /// Runs it. `cluster` is the fingerprint of the cluster, where the store is one.
    fn run<S: Store>(
        self,
        store: S,
        cluster: Option<String>,
        clock: Clock,
    ) -> impl Future<Output = anyhow::Result<Self::Output>>;
}

/// Runs a task on the store that the arguments name.
///
/// # Errors
/// Those of the task, and where the store cannot be used.
pub async fn on_store<T: Task>(args: &GrantArgs, task: T) -> anyhow::Result<T::Output> {
    let clock = Clock::system();
    match &args.store {
        StoreArg::Directory(path) => task.run(Directory::new(path.clone()), None, clock).await,
        StoreArg::Kubernetes => {
            let (store, cluster) = kubernetes(args, &clock)?;
            task.run(store, Some(cluster), clock).await
        }
    }
}

/// Returns the Kubernetes store and the fingerprint of the cluster. In identity mode `exchange` a background task obtains and
/// renews the API token from now on.
fn kubernetes(args: &GrantArgs, clock: &Clock) -> anyhow::Result<(Kubernetes, String)> {
    let roots = match (&args.api_ca_data, &args.api_ca_file) {
        (_, Some(path)) => {
            let argument = format!("--api-ca-file: {}", path.display());
            certificates(&argument, &std::fs::read(path).with_context(|| argument.clone())?)?
        }
        (data, None) => certificates_of("--api-ca-data", data.as_deref().unwrap_or_default())?,
    };
    let cluster = of_cluster(&public_keys(&roots).context("the CA of the API server")?);
    let roots: Vec<_> = roots.into_iter().map(|root| root.to_vec()).collect();
    let directory = &args.identity.identity_dir;
    let token = directory.join(API_TOKEN_FILE);
    let connect = |account| ApiClient::connect(&args.api_server, roots.clone(), account, clock.clone());
    let pod = connect(Account::File(&token))
        .with_context(|| format!("the API server, with the token in {}", token.display()))?;
    let api = match args.exchange().map_err(anyhow::Error::msg)? {
        None => pod,
        Some(Exchange { server: url, ca, credential }) => {
            let tokens = TokenSource::new(credential);
            let server = Server { url, ca, token_file: directory.join(IDENTITY_TOKEN_FILE) };
            tokio::spawn(Renewer::new(tokens.clone(), pod, server, args.time_scale).run());
            connect(Account::Source(tokens)).context("the API server")?
        }
    };
    Ok((Kubernetes::new(api), cluster))
}

/// Returns the connector to token endpoints.
///
/// # Errors
/// Where `--provider-roots-data` holds something else than certificates.
pub fn connector(args: &GrantArgs) -> anyhow::Result<Connector> {
    let data = args.provider_roots_data.as_deref();
    let roots = data.map(|data| certificates_of("--provider-roots-data", data)).transpose()?;
    Connector::new(roots.unwrap_or_default()).context("--provider-roots-data")
}

/// Opens the spool.
///
/// # Errors
/// Where it cannot be used.
pub fn spool(args: &GrantArgs) -> anyhow::Result<Arc<Spool>> {
    let names: Vec<_> = args.grants.iter().map(|grant| grant.name.clone()).collect();
    let spool = Spool::open(&args.spool_dir, &names);
    spool.map(Arc::new).with_context(|| format!("the spool in {}", args.spool_dir.display()))
}

/// Returns the times of the refresh protocol.
pub fn timing(args: &GrantArgs) -> Timing {
    Timing::PRODUCTION.scaled(args.time_scale)
}

/// Returns an empty token cache for each grant.
pub fn caches(args: &GrantArgs) -> Vec<Arc<TokenCache>> {
    let patience = Duration::try_from(timing(args).budget).unwrap_or_default();
    let cache = |grant: &GrantArg| {
        let rejected = RejectedTokens::new(patience);
        Arc::new(TokenCache::new(grant.name.clone(), grant.secret.clone(), rejected))
    };
    args.grants.iter().map(cache).collect()
}

fn certificates_of(argument: &str, data: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = STANDARD.decode(data.trim()).with_context(|| format!("{argument}: not base64"))?;
    certificates(argument, &pem)
}

fn certificates(argument: &str, pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.with_context(|| format!("{argument}: not PEM"))?;
    if found.is_empty() {
        bail!("{argument}: no certificate in it");
    }
    Ok(found)
}

/// Returns the keys of CA certificates (SubjectPublicKeyInfo in DER), which stay when a CA renews its certificate.
fn public_keys(certificates: &[CertificateDer<'static>]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone())?;
    }
    Ok(roots.roots.iter().map(|root| root.subject_public_key_info.to_vec()).collect())
}
