//! The settings of a stand-in: its clients and its names.

use serde::{Deserialize, Serialize};

use super::Provider;
use crate::authority::Authority;

/// The settings of a stand-in.
#[derive(Clone, Default)]
pub struct Config {
    /// The registered clients.
    pub clients: Vec<Client>,
    /// Additional names and addresses in the certificate, besides the providers' hosts and loopback.
    pub names: Vec<String>,
    /// The CA that signs the certificate; `None` creates one.
    pub authority: Option<Authority>,
    /// Lifetime of access tokens in seconds, instead of the providers' own.
    pub token_life: Option<u64>,
}

/// A registered client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The provider that it is registered at.
    pub provider: Provider,
    /// Its `client_id`.
    pub id: String,
    /// Its `client_secret`; `None` for a public client.
    #[serde(default)]
    pub secret: Option<String>,
    /// How it authenticates. Only a generic client may choose: PagerDuty requires `post`, Datadog `none`.
    pub auth: ClientAuth,
    /// Its scopes. At PagerDuty the account of an app token, `as_account-us.acme`, is one of them.
    pub scopes: Vec<String>,
}

/// How a client authenticates at the token endpoint (RFC 6749 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Id and secret in the form.
    Post,
    /// Id and secret in an `Authorization: Basic` header, each form-encoded first.
    Basic,
    /// The id alone.
    None,
}

impl Client {
    /// A confidential client of PagerDuty.
    pub fn pagerduty(id: &str, secret: &str, scopes: &[&str]) -> Self {
        Self::new(Provider::PagerDuty, id, Some(secret), ClientAuth::Post, scopes)
    }

    /// A public client of Datadog at `site`, for example `us3.datadoghq.com`.
    ///
    /// # Panics
    /// If Datadog has no such site.
    pub fn datadog(site: &str, id: &str, scopes: &[&str]) -> Self {
        let site = site.parse().expect("a Datadog site");
        Self::new(Provider::Datadog(site), id, None, ClientAuth::None, scopes)
    }

    /// A client of the generic server; `secret` matters unless `auth` is [`ClientAuth::None`].
    pub fn generic(id: &str, secret: Option<&str>, auth: ClientAuth, scopes: &[&str]) -> Self {
        Self::new(Provider::Generic, id, secret, auth, scopes)
    }

    fn new(provider: Provider, id: &str, secret: Option<&str>, auth: ClientAuth, scopes: &[&str]) -> Self {
        Self {
            provider,
            id: id.to_owned(),
            secret: secret.map(str::to_owned),
            auth,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        }
    }

    /// Returns the mistake in a client that could never be used, so that a test fails at the start.
    pub(super) fn check(&self) -> Result<(), String> {
        let wanted = match self.provider {
            Provider::PagerDuty => Some(ClientAuth::Post),
            Provider::Datadog(_) => Some(ClientAuth::None),
            Provider::Generic => None,
        };
        if wanted.is_some_and(|auth| auth != self.auth) {
            return Err(format!("{} has no client with auth {:?} ({})", self.provider, self.auth, self.id));
        }
        if self.secret.is_some() == (self.auth == ClientAuth::None) {
            return Err(format!("{}: a secret belongs to auth post or basic, and to nothing else", self.id));
        }
        Ok(())
    }
}
