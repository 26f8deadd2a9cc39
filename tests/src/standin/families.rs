//! The families of tokens: which refresh token is alive, which was used, and what dies with a reuse.
//!
//! A family is one login and all that came of it. Its current refresh token is replaced with every use, and a
//! used one that comes back kills the family, access tokens and all (RFC 9700 §4.14.2). No clock in here: who
//! asks says what time it is. Tokens are known by their fingerprints only.

use std::collections::HashMap;

use super::Provider;
use crate::event::fingerprint;

/// A client as tokens know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) provider: Provider,
    pub(super) client_id: String,
}

/// A family's number.
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

/// Why a refresh token is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worthless {
    Unknown,
    OfAnotherClient,
    Revoked,
    /// It was used before. This presentation has just revoked the family.
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
    /// A new login of `owner`, whose first refresh token is `token`.
    pub(super) fn open(&mut self, owner: Owner, scopes: Vec<String>, token: &str) -> FamilyId {
        let family = FamilyId(self.families.len());
        self.families.push(Family { owner, scopes, revoked: false });
        self.refresh.insert(fingerprint(token), RefreshToken { family, used: false });
        family
    }

    /// Whether `owner` may use `token` now, without using it.
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

    /// `parent` is used from now on and `child` takes its place.
    pub(super) fn rotate(&mut self, family: FamilyId, parent: &str, child: Option<&str>) {
        if let Some(held) = self.refresh.get_mut(&fingerprint(parent)) {
            held.used = true;
        }
        if let Some(child) = child {
            self.refresh.insert(fingerprint(child), RefreshToken { family, used: false });
        }
    }

    /// An access token was handed out; one of no family belongs to the client itself.
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

    /// When an access token ends, or ended, in milliseconds since 1970.
    pub(super) fn expires_at_ms(&self, access_token: &str) -> Option<u64> {
        self.access.get(&fingerprint(access_token)).map(|token| token.expires_at_ms)
    }

    /// Whether the family of a refresh token is revoked.
    pub(super) fn is_revoked(&self, refresh_token: &str) -> bool {
        self.of(refresh_token).is_some_and(|family| self.families[family.0].revoked)
    }

    /// What the login was for.
    pub(super) fn scopes(&self, family: FamilyId) -> &[String] {
        &self.families[family.0].scopes
    }

    /// The family of a refresh token, alive or not.
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
    fn a_used_token_that_comes_back_kills_the_family_and_no_other() {
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
    fn looking_at_a_token_does_not_use_it() {
        let mut families = Families::default();
        let family = families.open(owner("a"), vec![], "r1");
        assert_eq!(families.present(&owner("a"), "r1"), Ok(family));
        assert_eq!(families.present(&owner("a"), "r1"), Ok(family));
    }

    #[test]
    fn anothers_token_is_refused_and_lives_on() {
        let mut families = Families::default();
        let family = families.open(owner("a"), vec![], "r1");
        families.rotate(family, "r1", Some("r2"));
        assert_eq!(families.present(&owner("b"), "r1"), Err(Worthless::OfAnotherClient));
        assert_eq!(families.present(&owner("a"), "r2"), Ok(family));
        assert_eq!(families.present(&owner("a"), "nobody's"), Err(Worthless::Unknown));
    }
}
