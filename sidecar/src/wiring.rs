//! What every subcommand that redeems is made of: the way to the store and to the providers, and a shelf for each grant.

use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::pod::{API_TOKEN_FILE, IDENTITY_TOKEN_FILE};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::api_server::{Account, ApiServer};
use crate::args::{Exchange, GrantArg, GrantArgs};
use crate::clock::Clock;
use crate::grant::fingerprint::of_cluster;
use crate::grant::rules::Timing;
use crate::identity::renewer::{Renewer, Server};
use crate::identity::wallet::Wallet;
use crate::present::connect::Connector;
use crate::refusals::Refusals;
use crate::shelf::Shelf;
use crate::spool::Spool;
use crate::store::kubernetes::Kubernetes;

/// The Kubernetes API, and which cluster it is. In mode `exchange` the token that it is asked with is got and renewed in a
/// task of its own, from now on.
pub fn kubernetes(args: &GrantArgs, clock: &Clock) -> anyhow::Result<(Kubernetes, String)> {
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
    let connect = |account| ApiServer::connect(&args.api_server, roots.clone(), account, clock.clone());
    let pod = connect(Account::File(&token))
        .with_context(|| format!("the API server, with the token in {}", token.display()))?;
    let api = match args.exchange().map_err(anyhow::Error::msg)? {
        None => pod,
        Some(Exchange { server: url, ca, credential }) => {
            let wallet = Wallet::new(credential);
            let server = Server { url, ca, token_file: directory.join(IDENTITY_TOKEN_FILE) };
            tokio::spawn(Renewer::new(wallet.clone(), pod, server, args.time_scale).run());
            connect(Account::Wallet(wallet)).context("the API server")?
        }
    };
    Ok((Kubernetes::new(api, &timing(args)), cluster))
}

/// The way to token endpoints.
pub fn connector(args: &GrantArgs) -> anyhow::Result<Connector> {
    let data = args.provider_roots_data.as_deref();
    let roots = data.map(|data| certificates_of("--provider-roots-data", data)).transpose()?;
    Connector::new(roots.unwrap_or_default()).context("--provider-roots-data")
}

/// What an earlier process of this pod left.
pub fn spool(args: &GrantArgs) -> anyhow::Result<Arc<Spool>> {
    let names: Vec<_> = args.grants.iter().map(|grant| grant.name.clone()).collect();
    let spool = Spool::open(&args.spool_dir, &names);
    spool.map(Arc::new).with_context(|| format!("the spool in {}", args.spool_dir.display()))
}

/// The protocol's times.
pub fn timing(args: &GrantArgs) -> Timing {
    Timing::PRODUCTION.scaled(args.time_scale)
}

/// An empty shelf for each grant.
pub fn shelves(args: &GrantArgs) -> Vec<Arc<Shelf>> {
    let patience = Duration::try_from(timing(args).budget).unwrap_or_default();
    let shelf = |grant: &GrantArg| {
        Arc::new(Shelf::new(grant.name.clone(), grant.secret.clone(), Refusals::new(patience)))
    };
    args.grants.iter().map(shelf).collect()
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

/// The keys of CA certificates (SubjectPublicKeyInfo in DER): they stay when a CA renews its certificate.
fn public_keys(certificates: &[CertificateDer<'static>]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone())?;
    }
    Ok(roots.roots.iter().map(|root| root.subject_public_key_info.to_vec()).collect())
}
