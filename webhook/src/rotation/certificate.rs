//! Certificates, parsed from PEM as far as the rotation needs them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A certificate. Public data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pem: String,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
    /// Common name of its subject; empty where the subject has another kind of name.
    pub name: String,
    /// DNS names that it is for.
    pub names: BTreeSet<String>,
    /// First second of its validity.
    pub not_before: i64,
    /// Last second of its validity.
    pub not_after: i64,
}

impl Certificate {
    /// Parses all certificates of a PEM text; other content is left out.
    pub fn parse(pem: &[u8]) -> Vec<Self> {
        let ders = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        ders.filter_map(|der| Self::from_der(&der)).collect()
    }

    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let parsed = x509_cert::Certificate::from_der(der).ok()?;
        let inner = parsed.tbs_certificate();
        let at = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        let alternatives = inner.get_extension::<SubjectAltName>().ok().flatten();
        let names = alternatives.into_iter().flat_map(|(_, names)| names.0).filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            _ => None,
        });
        Some(Self {
            pem: to_pem(der),
            subject: inner.subject().to_der().ok()?,
            issuer: inner.issuer().to_der().ok()?,
            key: inner.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
            name: inner.subject().to_string().strip_prefix("CN=").unwrap_or_default().to_owned(),
            names: names.collect(),
            not_before: at(inner.validity().not_before),
            not_after: at(inner.validity().not_after),
        })
    }

    /// PEM with a final line break.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether it is valid at `now`.
    pub fn is_valid(&self, now: i64) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Whether `ca` signed it. The name of each of our CAs is unique.
    pub fn is_from(&self, ca: &Self) -> bool {
        self.issuer == ca.subject
    }
}

fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// A certificate and its private key. Not `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: Certificate,
    /// PKCS #8 in PEM.
    pub(super) key: String,
}

impl Pair {
    /// A pair whose key belongs to its certificate.
    pub(super) fn parse(certificate: &Certificate, key: &[u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let made = KeyPair::from_pem(key).ok()?;
        let fits = made.der_bytes() == certificate.key;
        fits.then(|| Self { certificate: certificate.clone(), key: key.to_owned() })
    }
}
