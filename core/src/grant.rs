//! A grant, parsed from its Secret: provider, flow and credentials, complete and consistent. An error is one sentence that names
//! the key, what was found and what to write instead.

mod credential;
mod endpoints;
mod error;
pub mod file;
mod keys;

pub use error::GrantError;
pub use keys::FILE_KEY;

use std::collections::BTreeMap;

use secrecy::SecretString;
use url::Url;

use crate::provider::{Choice, ClientAuth, Flow, FlowRules, Provider};
use credential::{credential, utf8};
use endpoints::{per_pod, revocation, token_endpoint};
use file::GrantFile;

/// Longest credential in a grant Secret, and longest token in an answer, in bytes.
pub const MAX_TOKEN: usize = 32 * 1024;

/// A parsed grant Secret.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The provider's definition.
    pub provider: &'static Provider,
    /// The flow.
    pub flow: Flow,
    /// The provider's rules for that flow.
    pub rules: &'static FlowRules,
    /// Token endpoint.
    pub token_url: Url,
    /// Client authentication at the token endpoint.
    pub client_auth: ClientAuth,
    /// The OAuth client's identifier.
    pub client_id: String,
    /// The client's secret, unless it is a public client.
    pub client_secret: Option<SecretString>,
    /// The login's refresh token; `None` in flows that have none.
    pub refresh_token: Option<SecretString>,
    /// Scopes that a token must carry, the flow's prefix not included.
    pub scopes: Vec<String>,
    /// The `scope` parameter of the request, if the flow sends one.
    pub scope_parameter: Option<String>,
    /// Scopes that this version does not know: a warning.
    pub unknown_scopes: Vec<String>,
    /// Whether the token endpoint may have a private, loopback or link-local address: those of built-in providers, whose
    /// hosts are fixed, and a `token_url` with `allow_private: true`.
    pub allow_private: bool,
    /// Whether every pod has access tokens of its own.
    pub per_pod: bool,
    /// Endpoint where a pod's own access token is revoked when the pod ends (RFC 7009).
    pub revocation_url: Option<Url>,
    /// Sentences about keys of the Secret that are unknown.
    pub warnings: Vec<String>,
}

impl Grant {
    /// Parses a grant Secret: the value of its label `agent-creds/provider` and its data.
    pub fn read(provider: Option<&str>, data: &BTreeMap<String, Vec<u8>>) -> Result<Self, GrantError> {
        let provider = provider.and_then(Provider::named).ok_or_else(|| GrantError::provider(provider))?;
        keys::check(data)?;
        let file = match data.get(FILE_KEY) {
            None => GrantFile::default(),
            Some(bytes) => GrantFile::parse(utf8(FILE_KEY, bytes)?)?,
        };
        let flow = file.flow;
        let rules = provider.flow(flow).ok_or_else(|| {
            GrantError::field(
                "flow",
                format!("\"{}\"", flow.as_str()),
                format!("a flow that {} has", provider.name),
            )
        })?;
        let region = choice("region", file.region.as_deref(), provider.region.as_ref(), &provider.name)?;
        let site = choice("site", file.site.as_deref(), provider.site.as_ref(), &provider.name)?;
        let account = account(&file, rules, provider)?;
        required(&file, rules)?;

        let (token_url, client_auth) = token_endpoint(provider, &file, site.or(region))?;
        let per_pod = per_pod(&file, rules, provider)?;
        let revocation_url = revocation(&file, &token_url, per_pod)?;
        let missing = |key| GrantError::missing(key, flow, keys::misspelt(data, key));
        let client_id = credential(data, "client_id")?.ok_or_else(|| missing("client_id"))?;
        let client_secret = match (client_auth, credential(data, "client_secret")?) {
            (ClientAuth::None, Some(_)) => {
                return Err(GrantError::needless("client_secret", "this client is public"));
            }
            (ClientAuth::Post | ClientAuth::Basic, None) => {
                return Err(missing("client_secret"));
            }
            (_, secret) => secret.map(SecretString::from),
        };
        let refresh_token = match (flow, credential(data, "refresh_token")?) {
            (Flow::RefreshToken, None) => return Err(missing("refresh_token")),
            (Flow::ClientCredentials, Some(_)) => {
                return Err(GrantError::needless("refresh_token", "flow client_credentials has none"));
            }
            (_, token) => token.map(SecretString::from),
        };
        let scope_parameter = match flow {
            Flow::RefreshToken => {
                (rules.scope_parameter && !file.scopes.is_empty()).then(|| file.scopes.join(" "))
            }
            Flow::ClientCredentials => prefixed_scopes(rules, region, account, &file.scopes),
        };
        let unknown = |scope: &&String| !provider.scopes.is_empty() && !provider.scopes.contains(*scope);
        Ok(Self {
            provider,
            flow,
            rules,
            token_url,
            client_auth,
            client_id,
            client_secret,
            refresh_token,
            unknown_scopes: file.scopes.iter().filter(unknown).cloned().collect(),
            scopes: file.scopes,
            scope_parameter,
            allow_private: provider.token_url.is_some() || file.allow_private,
            per_pod,
            revocation_url,
            warnings: keys::warnings(data),
        })
    }
}

fn choice<'a>(
    path: &str,
    found: Option<&'a str>,
    choice: Option<&'a Choice>,
    provider: &str,
) -> Result<Option<&'a str>, GrantError> {
    match (found, choice) {
        (None, choice) => Ok(choice.map(|choice| choice.default.as_str())),
        (Some(_), None) => {
            Err(GrantError::field(path, "a value", format!("nothing: provider {provider} has no {path}")))
        }
        (Some(found), Some(choice)) => {
            let known = choice.allowed.iter().find(|allowed| *allowed == found);
            let one_of = || format!("one of {}", choice.allowed.join(", "));
            known
                .map(|known| Some(known.as_str()))
                .ok_or_else(|| GrantError::field(path, "another value", one_of()))
        }
    }
}

/// Checks the account. It becomes part of a scope, so it may have no character that ends a scope.
fn account<'a>(
    file: &'a GrantFile,
    rules: &FlowRules,
    provider: &Provider,
) -> Result<Option<&'a str>, GrantError> {
    let Some(account) = file.account.as_deref() else {
        return Ok(None);
    };
    if !rules.requires.iter().any(|key| key == "account") {
        let nothing =
            format!("nothing: flow {} of provider {} has no account", file.flow.as_str(), provider.name);
        return Err(GrantError::field("account", "a value", &nothing));
    }
    if account.len() <= 63 && account.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(Some(account));
    }
    Err(GrantError::field("account", "a value", "the account's subdomain: letters, digits and '-'"))
}

fn required(file: &GrantFile, rules: &FlowRules) -> Result<(), GrantError> {
    for key in &rules.requires {
        let there = match key.as_str() {
            "account" => file.account.is_some(),
            "scopes" => !file.scopes.is_empty(),
            _ => false,
        };
        if !there {
            let needed = format!("it: flow {} cannot do without", file.flow.as_str());
            return Err(GrantError::field(key, "nothing", &needed));
        }
    }
    Ok(())
}

fn prefixed_scopes(
    rules: &FlowRules,
    region: Option<&str>,
    account: Option<&str>,
    scopes: &[String],
) -> Option<String> {
    let prefix = rules.scope_prefix.as_ref().map(|prefix| {
        prefix
            .replace("{region}", region.unwrap_or_default())
            .replace("{account}", account.unwrap_or_default())
    });
    let all: Vec<&str> = prefix.iter().map(String::as_str).chain(scopes.iter().map(String::as_str)).collect();
    (!all.is_empty()).then(|| all.join(" "))
}

#[cfg(test)]
mod tests;
