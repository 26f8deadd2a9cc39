//! The provider of the model: families of refresh tokens, and the answer to a second presentation.

use std::collections::BTreeMap;

use agent_creds_core::provider::Replay;

use super::world::Said;

/// What the provider does when a used refresh token is presented again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Revokes the whole family.
    Strict,
    /// Returns the same child again for half an hour.
    SameAgain,
    /// Returns another child for half an hour.
    Another,
    /// Returns an access token without a refresh token for half an hour.
    AccessOnly,
    /// Refuses the token and revokes nothing.
    Refused,
    /// Does not rotate refresh tokens.
    Fixed,
}

/// Lifetime of an access token, in milliseconds.
pub(crate) const LIFE: i64 = 600_000;
/// Grace period of the variants that have one, in seconds.
const GRACE: u32 = 1800;

impl Variant {
    /// All variants.
    pub const ALL: [Self; 6] =
        [Self::Strict, Self::SameAgain, Self::Another, Self::AccessOnly, Self::Refused, Self::Fixed];

    /// The replay rule in the provider's definition.
    pub(crate) fn replay(self) -> Replay {
        match self {
            Self::Strict => Replay::Unknown,
            Self::SameAgain | Self::Another | Self::AccessOnly => Replay::Grace(GRACE),
            Self::Refused => Replay::Prompt,
            Self::Fixed => Replay::None,
        }
    }
}

/// One refresh token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Token {
    family: u8,
    used: Option<(i64, String)>,
}

/// The provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Provider {
    variant: Variant,
    tokens: BTreeMap<String, Token>,
    revoked: Vec<u8>,
    issued: u16,
}

impl Provider {
    /// A provider with one login for each family, named `n.0`.
    pub(crate) fn new(variant: Variant, families: u8) -> Self {
        let tokens =
            (0..families).map(|family| (format!("{family}.0"), Token { family, used: None })).collect();
        Self { variant, tokens, revoked: Vec::new(), issued: 0 }
    }

    /// Whether the token can be redeemed.
    pub(crate) fn is_alive(&self, token: &str) -> bool {
        let found = self.tokens.get(token);
        found.is_some_and(|found| found.used.is_none() && !self.revoked.contains(&found.family))
    }

    /// The token endpoint. `now` is in milliseconds.
    pub(crate) fn present(&mut self, token: &str, now: i64) -> Said {
        let Some(found) = self.tokens.get(token).cloned() else { return refused() };
        if self.revoked.contains(&found.family) {
            return refused();
        }
        if self.variant == Variant::Fixed {
            return self.granted(None, now);
        }
        match &found.used {
            None => self.rotate(token, found.family, now),
            Some((at, child)) => {
                let fresh = self.tokens.get(child).is_some_and(|child| child.used.is_none());
                match self.variant {
                    Variant::Refused => refused(),
                    _ if now - at > i64::from(GRACE) * 1000 => self.revoke(found.family),
                    Variant::SameAgain if fresh => {
                        let child = child.clone();
                        self.granted(Some(&child), now)
                    }
                    Variant::Another => self.rotate(token, found.family, now),
                    Variant::AccessOnly => self.granted(None, now),
                    _ => self.revoke(found.family),
                }
            }
        }
    }

    fn rotate(&mut self, token: &str, family: u8, now: i64) -> Said {
        let child = format!("{family}.{}", self.issued + 1);
        if let Some(parent) = self.tokens.get_mut(token) {
            parent.used.get_or_insert((now, child.clone()));
        }
        self.tokens.insert(child.clone(), Token { family, used: None });
        self.granted(Some(&child), now)
    }

    /// The access token contains the time of issue.
    fn granted(&mut self, refresh: Option<&str>, now: i64) -> Said {
        self.issued += 1;
        let refresh = refresh.map(|token| format!(r#","refresh_token":"{token}""#)).unwrap_or_default();
        let life = LIFE / 1000;
        http(200, &format!(r#"{{"access_token":"a{}@{now}","expires_in":{life}{refresh}}}"#, self.issued))
    }

    fn revoke(&mut self, family: u8) -> Said {
        self.revoked.push(family);
        refused()
    }
}

fn refused() -> Said {
    http(400, r#"{"error":"invalid_grant"}"#)
}

/// An HTTP answer.
pub(crate) fn http(status: u16, body: &str) -> Said {
    (status, body.to_owned())
}
