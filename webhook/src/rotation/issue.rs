//! Issues certificates with ECDSA over P-256, which every client supports.

use std::collections::BTreeSet;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::certificate::{Certificate, Pair};
use super::timing::{Timing, seconds};

/// A certificate could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The library failed, such as for an invalid name.
    #[error("issuing a certificate")]
    Issue(#[from] rcgen::Error),
    /// The issued certificate cannot be parsed.
    #[error("parsing the issued certificate")]
    Read,
}

/// Issues a CA named `name` at `now`.
pub(super) fn ca(name: &str, now: i64, timing: &Timing) -> Result<Pair, IssueError> {
    let key = KeyPair::generate()?;
    let ends = now.saturating_add(seconds(timing.ca_life));
    let certificate =
        ca_params(name, now.saturating_sub(seconds(timing.backdate)), ends).self_signed(&key)?;
    pair(&certificate, &key)
}

/// Issues a serving certificate for `names`. It ends with its CA at the latest.
pub(super) fn leaf(
    ca: &Pair,
    names: &BTreeSet<String>,
    now: i64,
    timing: &Timing,
) -> Result<Pair, IssueError> {
    let signer = &ca.certificate;
    let issuer = Issuer::new(
        ca_params(&signer.name, signer.not_before, signer.not_after),
        KeyPair::from_pem(&ca.key)?,
    );
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "agent-creds");
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let begins = now.saturating_sub(seconds(timing.backdate)).max(signer.not_before);
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(begins);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(leaf_end(signer, now, timing));
    let key = KeyPair::generate()?;
    pair(&params.signed_by(&key, &issuer)?, &key)
}

/// Returns when a serving certificate that is issued now would end.
pub(super) fn leaf_end(ca: &Certificate, now: i64, timing: &Timing) -> i64 {
    now.saturating_add(seconds(timing.leaf_life)).min(ca.not_after)
}

fn ca_params(name: &str, begins: i64, ends: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(begins);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(ends);
    params
}

fn since_1970(unix: i64) -> Duration {
    Duration::from_secs(u64::try_from(unix).unwrap_or_default())
}

fn pair(certificate: &rcgen::Certificate, key: &KeyPair) -> Result<Pair, IssueError> {
    let certificate = Certificate::from_der(certificate.der()).ok_or(IssueError::Read)?;
    Pair::parse(&certificate, key.serialize_pem().as_bytes()).ok_or(IssueError::Read)
}
