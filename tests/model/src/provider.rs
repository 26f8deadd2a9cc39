//! The provider of the model: tokens in families, and what a second presentation does.

use std::collections::BTreeMap;

use agent_creds_core::provider::Replay;

use super::world::Said;

/// How a provider treats a token that was presented before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// The whole family is revoked.
    Strict,
    /// For half an hour the same child comes again.
    SameAgain,
    /// For half an hour another child comes.
    Another,
    /// For half an hour an access token comes, and no refresh token.
    AccessOnly,
    /// The second presentation is refused, and nothing is revoked.
    Refused,
    /// Nothing rotates.
    Fixed,
}

/// Life of an access token, in milliseconds.
pub(crate) const LIFE: i64 = 600_000;
/// The grace of those that have one, in seconds.
const GRACE: u32 = 1800;

impl Variant {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Strict, Self::SameAgain, Self::Another, Self::AccessOnly, Self::Refused, Self::Fixed];

    /// What the provider's definition would say.
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
    /// With one login for each family, named `n.0`.
    pub(crate) fn new(variant: Variant, families: u8) -> Self {
        let tokens =
            (0..families).map(|family| (format!("{family}.0"), Token { family, used: None })).collect();
        Self { variant, tokens, revoked: Vec::new(), issued: 0 }
    }

    /// Whether this token can be redeemed, or was replaced and a descendant can be.
    pub(crate) fn is_alive(&self, token: &str) -> bool {
        let found = self.tokens.get(token);
        found.is_some_and(|found| found.used.is_none() && !self.revoked.contains(&found.family))
    }

    /// The token endpoint. `now` in milliseconds.
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

    /// An access token says when it was issued.
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

/// An answer.
pub(crate) fn http(status: u16, body: &str) -> Said {
    (status, body.to_owned())
}
