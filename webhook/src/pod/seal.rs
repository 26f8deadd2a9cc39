//! The seal of a pod: the injected fragment, signed. A pod outlives the version that injected it, and today's code
//! cannot compute an earlier injection again, so it is read from the seal.
//!
//! A JWS in compact form (RFC 7515, HMAC-SHA256): header, payload and MAC in base64url, separated by dots. The payload
//! is the JSON of [`Sealed`], which people can read: `cut -d. -f2 | base64 -d`.

use std::collections::BTreeMap;

use agent_creds_core::annotations::{PREFIX, SEAL, STATUS};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fragment::Fragment;
use super::seal_keys::Keys;
use super::view;

/// Format of the payload. The version before a new format has to read it too; else a rollback of the release would
/// refuse the tokens of running pods.
const TYPE: &str = "agent-creds-seal+1";
const ALGORITHM: &str = "HS256";
/// The API server allows a pod 256 KiB of annotations.
const LONGEST: usize = 256 * 1024;
/// Longest time from a seal to the creation of its pod, in seconds. One request takes seconds; the rest is for clocks that
/// differ.
pub const MAX_AGE: i64 = 600;
/// How long after the creation of its pod a seal may seem to be made, in seconds, because clocks differ.
pub const CLOCK_TOLERANCE: i64 = 60;

/// The payload of a seal: the fragment, the pod that it was made for, and the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sealed {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's ServiceAccount.
    pub service_account: String,
    /// The pod's annotations under our prefix, without seal and status.
    pub annotations: BTreeMap<String, String>,
    /// The injected fragment.
    pub fragment: Fragment,
    /// Time of the seal, in Unix seconds (RFC 7519 §4.1.6).
    #[serde(rename = "iat")]
    pub issued_at: i64,
}

/// The protected header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: String,
    typ: String,
}

/// Why a seal is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// Another format, or a wrong MAC.
    Invalid,
    /// Made with a key that was removed.
    KeyUnknown,
}

impl Sealed {
    /// Returns the payload of a seal for this pod at `now` (Unix seconds).
    pub fn new(pod: &Value, namespace: &str, fragment: Fragment, now: i64) -> Self {
        let all = pod["metadata"]["annotations"].as_object().into_iter().flatten();
        let ours = all.filter(|(key, _)| key.starts_with(PREFIX) && ![SEAL, STATUS].contains(&key.as_str()));
        let text =
            |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap_or_default().to_owned());
        Self {
            namespace: namespace.to_owned(),
            service_account: view::service_account(pod).to_owned(),
            annotations: ours.map(text).collect(),
            fragment,
            issued_at: now,
        }
    }

    /// Whether the seal was made for a pod that was created at `created` (Unix seconds), and not for an earlier one.
    pub fn is_timely(&self, created: i64) -> bool {
        (created - MAX_AGE..=created + CLOCK_TOLERANCE).contains(&self.issued_at)
    }

    /// Returns the value of the annotation.
    pub fn seal(&self, keys: &Keys) -> String {
        let header = Header { alg: ALGORITHM.to_owned(), kid: keys.id().to_owned(), typ: TYPE.to_owned() };
        let signed = format!("{}.{}", encoded(&header), encoded(self));
        let mac = BASE64.encode(keys.sign(signed.as_bytes()));
        format!("{signed}.{mac}")
    }

    /// Reads the value of the annotation. The payload is parsed only after its MAC was verified.
    pub fn open(text: &str, keys: &Keys) -> Result<Self, SealError> {
        if text.len() > LONGEST {
            return Err(SealError::Invalid);
        }
        let (signed, mac) = text.rsplit_once('.').ok_or(SealError::Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(SealError::Invalid)?;
        // The header cannot select the algorithm: it has to equal the one that we write.
        let header: Header = decoded(header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(SealError::Invalid);
        }
        let mac = BASE64.decode(mac).map_err(|_| SealError::Invalid)?;
        match keys.verify(&header.kid, signed.as_bytes(), &mac) {
            Some(true) => decoded(payload),
            Some(false) => Err(SealError::Invalid),
            None => Err(SealError::KeyUnknown),
        }
    }
}

fn encoded(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_else(|_| unreachable!("text keys and plain values"));
    BASE64.encode(json)
}

fn decoded<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, SealError> {
    let json = BASE64.decode(text).map_err(|_| SealError::Invalid)?;
    serde_json::from_slice(&json).map_err(|_| SealError::Invalid)
}

#[cfg(test)]
mod tests;
