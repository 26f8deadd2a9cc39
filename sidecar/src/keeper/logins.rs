//! The logins of one pod's grants. Two grants with one refresh token would each replace it under the other's feet.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::object_name::ObjectName;

/// Fingerprint of each grant's login. None is forgotten when its Secret goes: that may come back in a moment, and whoever
/// presented the copy meanwhile would end the login that it comes back with.
#[derive(Debug, Default)]
pub struct Logins(Mutex<BTreeMap<String, String>>);

impl Logins {
    /// Notes the login of a grant. Returns another grant that has the same.
    pub fn note(&self, grant: &ObjectName, token_fp: &str) -> Option<String> {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = grant.to_string();
        logins.insert(grant.clone(), token_fp.to_owned());
        logins.iter().find(|(other, fp)| **other != grant && *fp == token_fp).map(|(other, _)| other.clone())
    }
}
