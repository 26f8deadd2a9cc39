//! The serving certificate, read from two files and read again while we run: certificates are renewed under
//! us, and an expired one would stop every annotated pod of the cluster. The files are compared by content,
//! since the kubelet swaps a link above them and file notifications miss that. A pair that cannot be used
//! leaves the one before it in place. At the start there may be none yet: whoever makes them may come after us.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use x509_cert::der::Decode as _;

use crate::metrics::Metrics;

/// Where the pair is.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM: the certificate, and the chain behind it.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// The pair in use.
#[derive(Debug)]
pub struct Certificates {
    files: Files,
    current: watch::Sender<Option<Arc<CertifiedKey>>>,
    metrics: Arc<Metrics>,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("reading {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One file is there without the other.
    #[error("{0}: absent or empty, and the other file of the pair is there")]
    Half(PathBuf),
    /// Not PEM, or nothing of the kind in it.
    #[error("reading the PEM of the {what}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The file of the certificate holds none.
    #[error("the file of the certificate holds no certificate")]
    Empty,
    /// The certificate cannot be parsed.
    #[error("parsing the certificate")]
    Certificate(#[source] x509_cert::der::Error),
    /// The key cannot be used, or is another certificate's.
    #[error("matching the key to the certificate")]
    Key(#[source] rustls::Error),
    /// No cryptography was installed.
    #[error("no cryptography is installed in this process")]
    NoProvider,
}

/// The bytes of both files; no `Debug`, since a key is in it.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Loads the pair, so that a bad mount fails at the start and not at the first request. Where both files are absent
    /// or empty, it is still to come.
    pub async fn load(files: Files, metrics: Arc<Metrics>) -> Result<(Arc<Self>, Reload), PairError> {
        let content = Content::read(&files).await?;
        let certificates = Arc::new(Self { files, current: watch::Sender::new(None), metrics });
        match (content.certificate.is_empty(), content.key.is_empty()) {
            (true, true) => tracing::info!("waiting for the serving certificate"),
            (true, false) => return Err(PairError::Half(certificates.files.certificate.clone())),
            (false, true) => return Err(PairError::Half(certificates.files.key.clone())),
            (false, false) => {
                let (key, ends) = content.pair()?;
                certificates.replace(key, ends);
            }
        }
        let reload = Reload { certificates: Arc::clone(&certificates), tried: content };
        Ok((certificates, reload))
    }

    /// Waits until there is a pair.
    pub async fn available(&self) {
        // The sender is this value's own.
        let _ = self.current.subscribe().wait_for(Option::is_some).await;
    }

    fn replace(&self, key: CertifiedKey, ends: i64) {
        self.current.send_replace(Some(Arc::new(key)));
        self.metrics.certificate_ends(ends);
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.borrow().clone()
    }
}

/// Reads the files again and again.
pub struct Reload {
    certificates: Arc<Certificates>,
    /// What was tried last, good or bad: one line in the log for each content.
    tried: Content,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reload {
    /// Never ends.
    pub async fn run(mut self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.once().await;
        }
    }

    /// Looks at the files. Whether the pair was replaced.
    pub async fn once(&mut self) -> bool {
        let pair = match Content::read(&self.certificates.files).await {
            Ok(content) if content == self.tried => return false,
            Ok(content) => {
                let pair = content.pair();
                self.tried = content;
                pair
            }
            Err(error) => Err(error),
        };
        match pair {
            Ok((key, ends)) => {
                self.certificates.replace(key, ends);
                tracing::info!(ends, "serving certificate replaced");
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "serving certificate not replaced; the one before stays in use");
                false
            }
        }
    }
}

impl Content {
    async fn read(files: &Files) -> Result<Self, PairError> {
        let read = async |path: &PathBuf| match tokio::fs::read(path).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(|source| PairError::Read { path: path.clone(), source }),
        };
        Ok(Self { certificate: read(&files.certificate).await?, key: read(&files.key).await? })
    }

    /// The pair, and when its first certificate to end ends, in Unix seconds.
    fn pair(&self) -> Result<(CertifiedKey, i64), PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|source| PairError::Pem { what: "certificate", source })?;
        let ends = chain.iter().map(not_after).collect::<Result<Vec<_>, _>>()?;
        let ends = ends.into_iter().min().ok_or(PairError::Empty)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| PairError::Pem { what: "private key", source })?;
        let provider = CryptoProvider::get_default().ok_or(PairError::NoProvider)?;
        // Compares key and certificate where both can be compared.
        let key = CertifiedKey::from_der(chain, key, provider).map_err(PairError::Key)?;
        Ok((key, ends))
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Result<i64, PairError> {
    let parsed = x509_cert::Certificate::from_der(certificate).map_err(PairError::Certificate)?;
    let ends = parsed.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    Ok(i64::try_from(ends).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
