//! The serving certificate: read from two files at the start and again while the process runs, since certificates are renewed.
//! The files are compared by content, because the kubelet replaces a link above them and file notifications miss that. A
//! pair that cannot be used leaves the pair before it in use. At the start there may be no pair yet.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use x509_cert::der::Decode as _;

/// Paths of the pair.
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
    /// End of the pair in use, in Unix seconds; 0 while there is none.
    ends: AtomicI64,
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
    /// One file exists without the other.
    #[error("{0}: absent or empty, although the other file of the pair is there")]
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
    /// The key cannot be used, or belongs to another certificate.
    #[error("matching the key to the certificate")]
    Key(#[source] rustls::Error),
    /// No TLS provider was installed.
    #[error("no TLS provider is installed in this process")]
    NoProvider,
}

/// The bytes of both files; no `Debug`, since a key is in it.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Loads the pair, so that a wrong mount fails at the start and not at the first request. Where both files are absent or
    /// empty, the pair is still to come.
    ///
    /// # Errors
    /// Where the pair cannot be used.
    pub async fn load(files: Files) -> Result<(Arc<Self>, Reload), PairError> {
        let content = Content::read(&files).await?;
        let certificates =
            Arc::new(Self { files, current: watch::Sender::new(None), ends: AtomicI64::new(0) });
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

    /// A pair that never comes, for tests of what only shows it.
    pub fn pending() -> Arc<Self> {
        let files = Files { certificate: PathBuf::new(), key: PathBuf::new() };
        Arc::new(Self { files, current: watch::Sender::new(None), ends: AtomicI64::new(0) })
    }

    /// Waits until there is a pair.
    pub async fn available(&self) {
        // The sender is this value's own.
        let _ = self.current.subscribe().wait_for(Option::is_some).await;
    }

    /// End of the first certificate of the pair to end, in Unix seconds; `None` while there is no pair.
    pub fn ends(&self) -> Option<i64> {
        Some(self.ends.load(Ordering::Relaxed)).filter(|ends| *ends != 0)
    }

    fn replace(&self, key: CertifiedKey, ends: i64) {
        self.current.send_replace(Some(Arc::new(key)));
        self.ends.store(ends, Ordering::Relaxed);
    }
}

/// The metric `certificate_expiry_timestamp_seconds`; without a sample while there is no pair.
#[derive(Debug)]
pub struct Expiry(pub Arc<Certificates>);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Unix time at which the serving certificate ends.";
        let name = "certificate_expiry_timestamp_seconds";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        self.0.ends().map_or(Ok(()), |ends| ConstGauge::new(ends).encode(metric))
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
    /// The content that was tried last, usable or not, so that each is logged once.
    tried: Content,
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reload {
    /// Reads the files again and again.
    pub async fn run(mut self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.once().await;
        }
    }

    /// Reads the files. Returns whether the pair was replaced.
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
                tracing::warn!(%error, cause, "serving certificate not replaced");
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
