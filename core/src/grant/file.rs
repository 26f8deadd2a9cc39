//! `grant.yaml`: the settings of a grant that are not secret.

use serde::{Deserialize, Deserializer};

use super::error::GrantError;
use crate::provider::{ClientAuth, Flow};
use crate::yaml::{self, Format};

/// Longest `grant.yaml`, in bytes.
pub const MAX_FILE: usize = 16 * 1024;
/// Most entries of a list.
const MAX_ENTRIES: usize = 128;
/// Longest scope, account or URL.
const MAX_TEXT: usize = 512;

const FORMAT: Format =
    Format { max_bytes: MAX_FILE, max_nodes: 2_000, max_depth: 8, not_built: &["allow", "forward", "hosts"] };

/// The content of `grant.yaml`; the default is what an absent file means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrantFile {
    /// `flow`: never guessed from the keys of the Secret.
    pub flow: Flow,
    /// `region` of providers that have regions.
    #[serde(deserialize_with = "plain")]
    pub region: Option<String>,
    /// `site` of providers that have sites.
    #[serde(deserialize_with = "plain")]
    pub site: Option<String>,
    /// `account`: PagerDuty's subdomain.
    #[serde(deserialize_with = "plain")]
    pub account: Option<String>,
    /// `scopes`: what the token must carry.
    #[serde(deserialize_with = "scopes")]
    pub scopes: Vec<String>,
    /// `expose`: how agents may use the grant. This version has one way.
    #[serde(deserialize_with = "list")]
    pub expose: Vec<Exposure>,
    /// `sharing`.
    pub sharing: Sharing,
    /// `token_url` of provider `oauth2`.
    #[serde(deserialize_with = "plain")]
    pub token_url: Option<String>,
    /// `client_auth` of provider `oauth2`.
    #[serde(deserialize_with = "present")]
    pub client_auth: Option<ClientAuth>,
    /// `allow_private` of provider `oauth2`: the token endpoint may have a private address.
    pub allow_private: bool,
    /// `revocation_url` of provider `oauth2`.
    #[serde(deserialize_with = "plain")]
    pub revocation_url: Option<String>,
}

/// Which pods use the same access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// All pods use the same one: one exchange for all of them.
    #[default]
    All,
    /// Each pod has its own, kept nowhere else and revoked when the pod ends.
    Pod,
}

/// A way in which agents may use a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// The agent reads the access token.
    Token,
}

impl GrantFile {
    /// Parses the file.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        yaml::parse(text, FORMAT).map(Option::unwrap_or_default).map_err(GrantError::File)
    }
}

impl<'de> Deserialize<'de> for Exposure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let remedy = "token; proxy and file are not built in this version";
        yaml::text(deserializer, remedy, |text| (text == "token").then_some(Self::Token))
    }
}

/// One entry of `scopes`: a `scope-token` of RFC 6749 §3.3, printable ASCII without space, quote and backslash.
struct Scope(String);

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let remedy = "one scope without spaces, quotes and backslashes, such as incidents.read";
        yaml::text(deserializer, remedy, |text| {
            (is_plain(text) && !text.contains(['"', '\\'])).then(|| Self(text.to_owned()))
        })
    }
}

/// Reads a key that has a value where it is written at all: `region:` with nothing after it is an error.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

fn plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let remedy = "text without spaces, at most 512 characters";
    yaml::text(deserializer, remedy, |text| is_plain(text).then(|| Some(text.to_owned())))
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(list(deserializer)?.into_iter().map(|Scope(scope)| scope).collect())
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let entries = Vec::deserialize(deserializer)?;
    if (1..=MAX_ENTRIES).contains(&entries.len()) {
        return Ok(entries);
    }
    Err(serde::de::Error::custom("a list of 1 to 128 entries, as in [a, b]"))
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
