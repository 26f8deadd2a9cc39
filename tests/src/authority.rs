//! A certificate authority for one test. It is created on demand and ends with the process.
//!
//! A client that trusts [`Authority::ca_pem`] trusts every server certificate that this CA signed, so one CA file
//! serves several servers. The keys stay in memory unless a caller writes them to a file.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The crypto provider of all test servers and clients. Tests install no process-wide one.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certificate authority; clones share the same keys.
#[derive(Clone)]
pub struct Authority {
    issuer: Arc<Issuer<'static, KeyPair>>,
    ca_pem: Arc<str>,
}

/// A server's certificate with its key.
pub struct Leaf {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// The private key, PKCS #8 PEM.
    pub key_pem: String,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Authority {
    /// Makes a new authority.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("aws-lc makes P-256 keys");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "agent-creds test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = params.self_signed(&key).expect("the parameters above are complete").pem().into();
        Self { issuer: Arc::new(Issuer::new(params, key)), ca_pem }
    }

    /// The CA certificate in PEM, for the trust store of a client.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Signs a certificate for `names`: host names, and addresses in their usual text form.
    ///
    /// # Panics
    /// On a name that is neither.
    pub fn leaf(&self, names: impl IntoIterator<Item = impl Into<String>>) -> Leaf {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let key = KeyPair::generate().expect("aws-lc makes P-256 keys");
        let mut params = CertificateParams::new(names).expect("names are host names or addresses");
        params.distinguished_name.push(DnType::CommonName, "agent-creds test server");
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let signed = params.signed_by(&key, &self.issuer).expect("the parameters above are complete");
        Leaf {
            cert_pem: signed.pem(),
            key_pem: key.serialize_pem(),
            certificate: signed.der().clone(),
            key: key.serialize_der().into(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Leaf {
    /// A rustls configuration that serves HTTP/1.1 under this certificate.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(self.key.clone_key());
        let mut config = ServerConfig::builder_with_provider(crypto())
            .with_safe_default_protocol_versions()
            .expect("aws-lc speaks TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .expect("certificate and key were made for each other");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}
