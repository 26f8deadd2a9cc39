//! The logins of the grants of one pod. Two grants with the same refresh token would invalidate each other's token.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use agent_creds_core::names::ObjectName;

/// Fingerprint of each grant's login. It is kept when the Secret is deleted: the Secret may come back, and a copy of its login
/// that was presented meanwhile would have ended that login.
#[derive(Debug, Default)]
pub struct Logins(Mutex<BTreeMap<String, String>>);

impl Logins {
    /// Records the login of a grant. Returns another grant that has the same one.
    pub fn note(&self, grant: &ObjectName, token_fp: &str) -> Option<String> {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = grant.to_string();
        logins.insert(grant.clone(), token_fp.to_owned());
        logins.iter().find(|(other, fp)| **other != grant && *fp == token_fp).map(|(other, _)| other.clone())
    }
}
