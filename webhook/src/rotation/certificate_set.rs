//! The content of Secret `agent-creds-certificates`. The servers mount `tls.crt` and `tls.key`; the other keys are for the manager
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use super::certificate::{Certificate, Pair};
use super::issue::{self, IssueError};
use super::step::Step;
use super::timing::Timing;

/// Data of a Secret, decoded.
pub type Data = BTreeMap<String, Vec<u8>>;

const SIGNING: (&str, &str) = ("ca.crt", "ca.key");
const NEXT: (&str, &str) = ("next.crt", "next.key");
const LEAF: (&str, &str) = ("tls.crt", "tls.key");
const RETIRED: &str = "retired.crt";

/// CAs and the serving certificate. Not `Debug`: it holds private keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CertificateSet {
    /// The CA that signs.
    pub signing: Option<Pair>,
    /// The CA that will sign next; it is trusted already.
    pub next: Option<Pair>,
    /// Replaced CAs that are still trusted.
    pub retired: Vec<Certificate>,
    /// The serving certificate.
    pub leaf: Option<Pair>,
}

impl CertificateSet {
    /// Reads the Secret. A pair that cannot be used counts as absent; but a CA without its key stays trusted, since a certificate
    /// that it signed may be in use.
    pub fn read(data: &Data) -> Self {
        let part = |key: &str| data.get(key).map(Vec::as_slice).unwrap_or_default();
        let certificate = |key: &str| Certificate::parse(part(key)).into_iter().next();
        let pair = |(certificate_key, key): (&str, &str)| {
            certificate(certificate_key).and_then(|found| Pair::parse(&found, part(key)))
        };
        let signing = pair(SIGNING);
        let mut retired = Certificate::parse(part(RETIRED));
        if signing.is_none() {
            retired.extend(certificate(SIGNING.0));
        }
        Self { signing, next: pair(NEXT), retired, leaf: pair(LEAF) }
    }

    /// Writes the set into the data of the Secret. Other keys stay.
    pub fn write(&self, data: &mut Data) {
        let mut put = |key: &str, value: Option<&str>| match value.filter(|value| !value.is_empty()) {
            Some(value) => drop(data.insert(key.to_owned(), value.as_bytes().to_vec())),
            None => drop(data.remove(key)),
        };
        for (keys, pair) in [(SIGNING, &self.signing), (NEXT, &self.next), (LEAF, &self.leaf)] {
            put(keys.0, pair.as_ref().map(|pair| pair.certificate.pem()));
            put(keys.1, pair.as_ref().map(|pair| pair.key.as_str()));
        }
        let retired: String = self.retired.iter().map(Certificate::pem).collect();
        put(RETIRED, Some(&retired));
    }

    /// Returns the trusted CAs in PEM. Their order does not depend on which one signs, so that it changes only with the CAs.
    pub fn bundle(&self) -> String {
        let pairs = self.signing.iter().chain(&self.next).map(|pair| &pair.certificate);
        let mut trusted: Vec<_> = pairs.chain(&self.retired).collect();
        trusted.sort_by_key(|certificate| (certificate.not_before, certificate.pem()));
        trusted.dedup();
        trusted.into_iter().map(Certificate::pem).collect()
    }

    /// Returns the CA that signs, where it is valid.
    pub(super) fn signer(&self, now: i64) -> Option<&Pair> {
        self.signing.as_ref().filter(|ca| ca.certificate.is_valid(now))
    }

    /// Returns the set after a step. `tag` is random and becomes part of the name of a new CA.
    pub fn after(
        &self,
        step: Step,
        names: &BTreeSet<String>,
        tag: &str,
        now: i64,
        timing: &Timing,
    ) -> Result<Self, IssueError> {
        let mut after = self.clone();
        match step {
            Step::Rest | Step::Publish => {}
            Step::Announce => after.next = Some(issue::ca(&format!("agent-creds CA {tag}"), now, timing)?),
            Step::Renew => {
                if let Some(ca) = &self.signing {
                    after.leaf = Some(issue::leaf(ca, names, now, timing)?);
                }
            }
            Step::Promote => {
                if let Some(next) = after.next.take() {
                    after.leaf = Some(issue::leaf(&next, names, now, timing)?);
                    after.retired.extend(after.signing.take().map(|before| before.certificate));
                    after.signing = Some(next);
                }
            }
            Step::Forget => after.retired.clear(),
        }
        Ok(after)
    }
}
