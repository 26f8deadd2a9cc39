//! What a stand-in is told when it starts: who its clients are, and what it is called.

use serde::{Deserialize, Serialize};

use super::Provider;
use crate::authority::Authority;

/// How a stand-in is set up.
#[derive(Clone, Default)]
pub struct Config {
    /// Who may ask for tokens.
    pub clients: Vec<Client>,
    /// Names and addresses for the certificate, besides the providers' hosts and loopback.
    pub names: Vec<String>,
    /// Who signs the certificate; a new authority if not given.
    pub authority: Option<Authority>,
    /// Seconds that access tokens live, instead of the providers' own.
    pub token_life: Option<u64>,
}

/// A registered client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Where it is registered.
    pub provider: Provider,
    /// Its `client_id`.
    pub id: String,
    /// Its `client_secret`; none for a public client.
    #[serde(default)]
    pub secret: Option<String>,
    /// How it proves itself. Only a generic client may choose: PagerDuty wants `post`, Datadog `none`.
    pub auth: ClientAuth,
    /// What it may ask for. At PagerDuty an app token's account, `as_account-us.acme`, is one of them.
    pub scopes: Vec<String>,
}

/// How a client proves itself at the token endpoint (RFC 6749 §2.3).
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

    /// Says what is wrong with a client that could never be served, so that no test hunts for it.
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
