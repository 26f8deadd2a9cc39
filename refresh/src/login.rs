//! The grant Secret as it is now, with its fingerprints; and the part of it that an answer is judged by.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use agent_creds_core::grant::Grant;
use agent_creds_core::provider::{Replay, Unavailable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fingerprint;

/// A grant with its fingerprints.
#[derive(Clone, Debug)]
pub struct Login {
    /// The grant. Shared, so that there is one copy of its secrets.
    pub grant: Arc<Grant>,
    /// [`fingerprint::of_login`]
    pub token_fp: String,
    /// [`fingerprint::of_binding`]
    pub binding: String,
    /// [`fingerprint::of_config`]
    pub config_fp: String,
    /// [`fingerprint::of_secret`]
    pub secret_fp: Option<String>,
    /// [`fingerprint::of_endpoint`]
    pub endpoint_fp: String,
    /// When a person logged in: the annotation `agent-creds/issued-at`.
    pub issued_at: Option<Timestamp>,
    /// When the grant Secret was created.
    pub created_at: Option<Timestamp>,
}

impl Login {
    /// A login with the fingerprints of `grant`.
    pub fn new(grant: Grant) -> Self {
        Self {
            token_fp: fingerprint::of_login(&grant),
            binding: fingerprint::of_binding(&grant),
            config_fp: fingerprint::of_config(&grant),
            secret_fp: fingerprint::of_secret(&grant),
            endpoint_fp: fingerprint::of_endpoint(&grant),
            grant: Arc::new(grant),
            issued_at: None,
            created_at: None,
        }
    }

    /// Returns what an answer to a request for this grant is judged by.
    pub fn asked(&self) -> Asked {
        let rules = self.grant.rules;
        Asked {
            binding: self.binding.clone(),
            config_fp: self.config_fp.clone(),
            scopes: self.grant.scopes.clone(),
            lifetime_s: rules.lifetime_s,
            replay: rules.replay,
            unavailable: rules.unavailable,
            idle_days: rules.idle_days,
            hard_days: rules.hard_days,
            token_types: rules.token_types.clone(),
            secret_fp: self.secret_fp.clone(),
            endpoint_fp: self.endpoint_fp.clone(),
        }
    }
}

/// Two logins are equal where everything is that a decision depends on.
impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        (&self.token_fp, &self.binding, &self.config_fp, self.issued_at)
            == (&other.token_fp, &other.binding, &other.config_fp, other.issued_at)
    }
}

impl Eq for Login {}

impl Hash for Login {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.token_fp, &self.binding, &self.config_fp, self.issued_at).hash(state);
    }
}

/// What was asked, as far as the answer is judged by it. It is kept with the answer, also in the spool, until the answer is
/// stored: the grant Secret may change meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Asked {
    /// [`Login::binding`]
    pub binding: String,
    /// [`Login::config_fp`]
    pub config_fp: String,
    /// Scopes that the token must carry.
    pub scopes: Vec<String>,
    /// Lifetime of an access token in seconds, where the answer has no `expires_in`.
    pub lifetime_s: u32,
    /// The provider's replay rule.
    pub replay: Replay,
    /// What a 503 means.
    pub unavailable: Unavailable,
    /// Days without a redemption after which the grant ends.
    pub idle_days: Option<u32>,
    /// Days after the login after which the grant ends.
    pub hard_days: Option<u32>,
    /// Values of `token_type` that can be used as `Bearer`; empty: that one.
    #[serde(default)]
    pub token_types: Vec<String>,
    /// [`Login::secret_fp`]
    #[serde(default)]
    pub secret_fp: Option<String>,
    /// [`Login::endpoint_fp`]
    #[serde(default)]
    pub endpoint_fp: String,
}

impl Asked {
    /// Whether each success may replace the refresh token.
    pub fn rotates(&self) -> bool {
        self.replay != Replay::None
    }

    /// Whether an access token of this type can be used as `Bearer`. The type is compared without case (RFC 6749 §5.1).
    pub fn takes_type(&self, token_type: &str) -> bool {
        let is = |name: &str| name.eq_ignore_ascii_case(token_type);
        if self.token_types.is_empty() { is("Bearer") } else { self.token_types.iter().any(|name| is(name)) }
    }
}
