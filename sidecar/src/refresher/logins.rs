//! The logins of the grants of one pod. Two grants with the same refresh token would invalidate each other's token.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agent_creds_core::names::ObjectName;
use tokio::time::Instant;

/// How long the login of a Secret that is gone still counts. A Secret that is replaced is gone for a moment, and a copy of its
/// login that was presented meanwhile would end that login.
const GRACE: Duration = Duration::from_secs(10);

/// The login of each grant.
#[derive(Debug, Default)]
pub struct Logins(Mutex<BTreeMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    token_fp: String,
    /// Since when the Secret is gone.
    gone_since: Option<Instant>,
}

impl Logins {
    /// Records the login of a grant. Returns another grant that has the same one.
    pub fn note(&self, grant: &ObjectName, token_fp: &str, now: Instant) -> Option<String> {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let grant = grant.to_string();
        logins.insert(grant.clone(), Entry { token_fp: token_fp.to_owned(), gone_since: None });
        let counts = |entry: &Entry| entry.gone_since.is_none_or(|since| now.duration_since(since) < GRACE);
        let same = |(other, entry): &(&String, &Entry)| {
            **other != grant && entry.token_fp == token_fp && counts(entry)
        };
        logins.iter().find(same).map(|(other, _)| other.clone())
    }

    /// Records that the Secret of a grant does not exist.
    pub fn gone(&self, grant: &ObjectName, now: Instant) {
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = logins.get_mut(&grant.to_string()) {
            entry.gone_since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [ObjectName; 2] {
        ["a", "b"].map(|name| ObjectName { namespace: "ops".to_owned(), name: name.to_owned() })
    }

    #[test]
    fn a_login_counts_until_it_changes() {
        let (logins, [a, b], now) = (Logins::default(), names(), Instant::now());
        assert_eq!(logins.note(&a, "login", now), None);
        assert_eq!(logins.note(&b, "login", now), Some("ops/a".to_owned()));
        assert_eq!(logins.note(&a, "login", now), Some("ops/b".to_owned()));
        assert_eq!(logins.note(&b, "another", now), None);
        assert_eq!(logins.note(&a, "login", now), None);
    }

    #[test]
    fn a_login_counts_until_its_secret_has_been_gone_for_a_while() {
        let (logins, [a, b], now) = (Logins::default(), names(), Instant::now());
        logins.note(&a, "login", now);
        logins.gone(&a, now);
        logins.gone(&a, now + GRACE / 2);
        assert_eq!(logins.note(&b, "login", now + GRACE / 2), Some("ops/a".to_owned()), "perhaps replaced");
        assert_eq!(logins.note(&b, "login", now + GRACE), None);
        assert_eq!(logins.note(&a, "login", now + GRACE), Some("ops/b".to_owned()), "it is back");
        assert_eq!(logins.note(&b, "login", now + GRACE), Some("ops/a".to_owned()));
    }
}
