//! The families of tokens: which refresh token is current, which was used, and what a reuse revokes.
//!
//! A family is one login with all its tokens. Each use replaces the current refresh token. A used one that is presented
//! again revokes the family with its access tokens (RFC 9700 §4.14.2). Callers pass the time. Tokens are stored as
//! fingerprints only.

use std::collections::HashMap;

use super::Provider;
use crate::event::fingerprint;

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) provider: Provider,
    pub(super) client_id: String,
}

/// The number of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FamilyId(usize);

struct Family {
    owner: Owner,
    scopes: Vec<String>,
    revoked: bool,
}

struct RefreshToken {
    family: FamilyId,
    used: bool,
}

struct AccessToken {
    family: Option<FamilyId>,
    expires_at_ms: u64,
}

/// Why a refresh token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worthless {
    Unknown,
    OfAnotherClient,
    Revoked,
    /// It was used before. This presentation has revoked the family.
    Reused,
}

/// All families of a server.
#[derive(Default)]
pub(super) struct Families {
    families: Vec<Family>,
    refresh: HashMap<String, RefreshToken>,
    access: HashMap<String, AccessToken>,
}

impl Families {
    /// Creates a family of `owner`, whose first refresh token is `token`.
    pub(super) fn open(&mut self, owner: Owner, scopes: Vec<String>, token: &str) -> FamilyId {
        let family = FamilyId(self.families.len());
        self.families.push(Family { owner, scopes, revoked: false });
        self.refresh.insert(fingerprint(token), RefreshToken { family, used: false });
        family
    }

    /// Checks whether `owner` may use `token` now, and does not use it.
    pub(super) fn present(&mut self, owner: &Owner, token: &str) -> Result<FamilyId, Worthless> {
        let held = self.refresh.get(&fingerprint(token)).ok_or(Worthless::Unknown)?;
        let family = &mut self.families[held.family.0];
        if family.owner != *owner {
            return Err(Worthless::OfAnotherClient);
        }
        if family.revoked {
            return Err(Worthless::Revoked);
        }
        if held.used {
            family.revoked = true;
            return Err(Worthless::Reused);
        }
        Ok(held.family)
    }

    /// Marks `parent` as used and replaces it by `child`.
    pub(super) fn rotate(&mut self, family: FamilyId, parent: &str, child: Option<&str>) {
        if let Some(held) = self.refresh.get_mut(&fingerprint(parent)) {
            held.used = true;
        }
        if let Some(child) = child {
            self.refresh.insert(fingerprint(child), RefreshToken { family, used: false });
        }
    }

    /// Records an issued access token; one without a family belongs to the client itself.
    pub(super) fn issue(&mut self, family: Option<FamilyId>, token: &str, expires_at_ms: u64) {
        self.access.insert(fingerprint(token), AccessToken { family, expires_at_ms });
    }

    /// Whether an API would accept the access token at that time.
    pub(super) fn is_active(&self, access_token: &str, now_ms: u64) -> bool {
        self.access.get(&fingerprint(access_token)).is_some_and(|token| {
            token.expires_at_ms > now_ms
                && !token.family.is_some_and(|family| self.families[family.0].revoked)
        })
    }

    /// Returns when an access token expires or expired, in Unix milliseconds.
    pub(super) fn expires_at_ms(&self, access_token: &str) -> Option<u64> {
        self.access.get(&fingerprint(access_token)).map(|token| token.expires_at_ms)
    }

    /// Whether the family of a refresh token is revoked.
    pub(super) fn is_revoked(&self, refresh_token: &str) -> bool {
        self.of(refresh_token).is_some_and(|family| self.families[family.0].revoked)
    }

    /// Returns the scopes of the login.
    pub(super) fn scopes(&self, family: FamilyId) -> &[String] {
        &self.families[family.0].scopes
    }

    /// Returns the family of a refresh token, also if it is revoked.
    pub(super) fn of(&self, refresh_token: &str) -> Option<FamilyId> {
        self.refresh.get(&fingerprint(refresh_token)).map(|held| held.family)
    }

    /// Revokes a family; `false` if it was revoked before.
    pub(super) fn revoke(&mut self, family: FamilyId) -> bool {
        !std::mem::replace(&mut self.families[family.0].revoked, true)
    }
}

impl std::fmt::Display for FamilyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "family-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(client_id: &str) -> Owner {
        Owner { provider: Provider::Generic, client_id: client_id.to_owned() }
    }

    #[test]
    fn a_reused_token_revokes_its_family_and_no_other() {
        let mut families = Families::default();
        let family = families.open(owner("a"), vec![], "r1");
        let other = families.open(owner("a"), vec![], "other");
        assert_eq!(families.present(&owner("a"), "r1"), Ok(family));
        families.rotate(family, "r1", Some("r2"));
        families.issue(Some(family), "a2", 1_000);
        families.issue(Some(other), "b2", 1_000);
        assert!(families.is_active("a2", 999));
        assert!(!families.is_active("a2", 1_000));

        assert_eq!(families.present(&owner("a"), "r1"), Err(Worthless::Reused));
        assert_eq!(families.present(&owner("a"), "r1"), Err(Worthless::Revoked));
        assert_eq!(families.present(&owner("a"), "r2"), Err(Worthless::Revoked));
        assert!(!families.is_active("a2", 0));
        assert!(families.is_active("b2", 0));
        assert_eq!(families.present(&owner("a"), "other"), Ok(other));
    }

    #[test]
    fn checking_a_token_does_not_use_it() {
        let mut families = Families::default();
        let family = families.open(owner("a"), vec![], "r1");
        assert_eq!(families.present(&owner("a"), "r1"), Ok(family));
        assert_eq!(families.present(&owner("a"), "r1"), Ok(family));
    }

    #[test]
    fn a_token_of_another_client_is_refused_and_stays_valid() {
        let mut families = Families::default();
        let family = families.open(owner("a"), vec![], "r1");
        families.rotate(family, "r1", Some("r2"));
        assert_eq!(families.present(&owner("b"), "r1"), Err(Worthless::OfAnotherClient));
        assert_eq!(families.present(&owner("a"), "r2"), Ok(family));
        assert_eq!(families.present(&owner("a"), "unknown"), Err(Worthless::Unknown));
    }
}
