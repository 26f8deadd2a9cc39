//! Provider definitions: the requests that a provider's token endpoint expects, and how the provider behaves. They are
//! YAML files in the source tree (`core/providers/*.yaml`), compiled in, and the same in every cluster: no grant and no
//! chart value changes the hosts of a built-in provider (invariant I6).

use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// One provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Value of the label `agent-creds/provider`.
    pub name: String,
    /// Token endpoint, with `{site}` or `{region}` where it depends on one. `None`: the grant names it.
    pub token_url: Option<String>,
    /// Client authentication at the token endpoint. `None`: the grant names it.
    pub client_auth: Option<ClientAuth>,
    /// Values of the grant's `region`.
    pub region: Option<Choice>,
    /// Values of the grant's `site`.
    pub site: Option<Choice>,
    /// The flow `refresh_token`, if the provider has it.
    pub refresh_token: Option<FlowRules>,
    /// The flow `client_credentials`, if the provider has it.
    pub client_credentials: Option<FlowRules>,
    /// Scope names that were known when this version was built. Another one is a warning, not an error.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A closed set of values with a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The value of a grant that names none.
    pub default: String,
    /// The values that a grant may name.
    pub allowed: Vec<String>,
}

/// The rules of one flow at one provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRules {
    /// The effect of a second presentation of the same refresh token.
    pub replay: Replay,
    /// The meaning of a 503.
    #[serde(rename = "503", default)]
    pub unavailable: Unavailable,
    /// Life of an access token in seconds, if the answer has no `expires_in`.
    pub lifetime_s: u32,
    /// Days without a redemption after which the grant ends.
    pub idle_days: Option<u32>,
    /// Days after the login after which the grant ends, however often it is refreshed.
    pub hard_days: Option<u32>,
    /// Whether the request names the grant's scopes (RFC 6749 §6: may only narrow).
    #[serde(default)]
    pub scope_parameter: bool,
    /// Scope put before the grant's, with `{region}` and `{account}`.
    pub scope_prefix: Option<String>,
    /// Keys of `grant.yaml` that this flow requires.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Values of `token_type` in answers that can be used as `Bearer`. Empty: that one alone.
    #[serde(default)]
    pub token_types: Vec<String>,
}

/// Client authentication at the token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// `client_id` and `client_secret` in the form body (`client_secret_post`).
    Post,
    /// HTTP Basic, both parts form-encoded first (`client_secret_basic`).
    Basic,
    /// A public client: `client_id` in the body, no secret.
    None,
}

/// The provider's replay rule: when a refresh token may be presented a second time after an answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// Nothing is documented. A replay may revoke the grant, so it waits for the last responsible moment.
    Unknown,
    /// The same request gets its answer again for this many seconds.
    Grace(u32),
    /// A grace of unknown length: one prompt repeat, then as [`Self::Unknown`].
    Prompt,
    /// Nothing rotates in this flow: a repeat is harmless.
    None,
}

/// The meaning of a 503 of the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// Like every 5xx: the refresh token may have been replaced.
    #[default]
    InDoubt,
    /// The provider documents that a 503 changed nothing.
    NotCommitted,
}

/// The flow of a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// RFC 6749 §6.
    #[default]
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
}

/// A key of a grant Secret that holds a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The OAuth client.
    ClientId,
    /// The secret of a confidential client.
    ClientSecret,
    /// The refresh token of a login.
    RefreshToken,
}

/// Whether a grant has a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Always.
    Required,
    /// Unless the grant says `client_auth: none`.
    ByClientAuth,
    /// Never.
    Forbidden,
}

impl Flow {
    /// Both flows, in the order of the tables.
    pub const ALL: [Self; 2] = [Self::RefreshToken, Self::ClientCredentials];

    /// Returns the value of `flow` in `grant.yaml` and of `grant_type` on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

impl ClientAuth {
    /// Returns the value of `client_auth` in `grant.yaml`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Basic => "basic",
            Self::None => "none",
        }
    }
}

impl Credential {
    /// All credentials, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::ClientId, Self::ClientSecret, Self::RefreshToken];

    /// Returns the key of the Secret.
    pub const fn key(self) -> &'static str {
        match self {
            Self::ClientId => "client_id",
            Self::ClientSecret => "client_secret",
            Self::RefreshToken => "refresh_token",
        }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Grace(seconds) => write!(f, "grace: {seconds}"),
            Self::Prompt => f.write_str("prompt"),
            Self::None => f.write_str("none"),
        }
    }
}

impl FlowRules {
    /// Returns whether each success may replace the refresh token.
    pub fn rotates(&self) -> bool {
        self.replay != Replay::None
    }
}

static BUILT_IN: LazyLock<Vec<Provider>> = LazyLock::new(|| {
    [
        include_str!("../providers/pagerduty.yaml"),
        include_str!("../providers/datadog.yaml"),
        include_str!("../providers/oauth2.yaml"),
    ]
    .into_iter()
    .map(|text| {
        #[expect(
            clippy::expect_used,
            reason = "compiled in and parsed by a test: it cannot fail in the field"
        )]
        serde_yaml::from_str(text).expect("a built-in provider definition")
    })
    .collect()
});

impl Provider {
    /// Iterates over all definitions, in the order of the tables.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        BUILT_IN.iter()
    }

    /// Returns the definition with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|provider| provider.name == name)
    }

    /// Iterates over the names of all definitions, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::all().map(|provider| provider.name.as_str())
    }

    /// Iterates over the flows that the provider has.
    pub fn flows(&self) -> impl Iterator<Item = (Flow, &FlowRules)> {
        Flow::ALL.into_iter().filter_map(|flow| Some((flow, self.flow(flow)?)))
    }

    /// Returns whether a grant of this provider and flow has a credential.
    pub fn need(&self, flow: Flow, credential: Credential) -> Need {
        match (credential, self.client_auth) {
            (Credential::ClientId, _) => Need::Required,
            (Credential::RefreshToken, _) if flow == Flow::RefreshToken => Need::Required,
            (Credential::RefreshToken, _) => Need::Forbidden,
            (Credential::ClientSecret, Some(ClientAuth::None)) => Need::Forbidden,
            (Credential::ClientSecret, Some(ClientAuth::Post | ClientAuth::Basic)) => Need::Required,
            (Credential::ClientSecret, None) => Need::ByClientAuth,
        }
    }

    /// Returns the keys of `grant.yaml` that this provider and flow take besides `flow`, `scopes`, `expose` and
    /// `sharing`, which all take.
    pub fn own_keys(&self, flow: Flow) -> Vec<&'static str> {
        let rules = self.flow(flow);
        let own_endpoint = self.token_url.is_none();
        [
            ("region", self.region.is_some()),
            ("site", self.site.is_some()),
            ("account", rules.is_some_and(|rules| rules.requires.iter().any(|key| key == "account"))),
            ("token_url", own_endpoint),
            ("client_auth", own_endpoint && self.client_auth.is_none()),
            ("allow_private", own_endpoint),
            ("revocation_url", own_endpoint && rules.is_some_and(|rules| !rules.rotates())),
        ]
        .into_iter()
        .filter_map(|(key, taken)| taken.then_some(key))
        .collect()
    }

    /// Returns the rules of a flow, if the provider has it.
    pub fn flow(&self, flow: Flow) -> Option<&FlowRules> {
        match flow {
            Flow::RefreshToken => self.refresh_token.as_ref(),
            Flow::ClientCredentials => self.client_credentials.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_parses_and_its_file_is_named_like_it() {
        assert_eq!(Provider::names().collect::<Vec<_>>(), ["pagerduty", "datadog", "oauth2"]);
        for provider in BUILT_IN.iter() {
            assert!(provider.refresh_token.is_some() || provider.client_credentials.is_some());
            for choice in [&provider.region, &provider.site].into_iter().flatten() {
                assert!(choice.allowed.contains(&choice.default), "{}", provider.name);
            }
        }
    }

    #[test]
    fn built_in_providers_fix_their_hosts_and_client_authentication() {
        for provider in BUILT_IN.iter().filter(|p| p.name != "oauth2") {
            let url = provider.token_url.as_deref().expect("a built-in provider names its endpoint");
            assert!(url.starts_with("https://"), "{url}");
            assert!(provider.client_auth.is_some());
        }
        assert!(Provider::named("oauth2").unwrap().token_url.is_none());
        assert!(Provider::named("nope").is_none());
    }

    #[test]
    fn lists_the_keys_of_each_provider_and_flow() {
        let needs = |name: &str, flow| {
            let provider = Provider::named(name).unwrap();
            Credential::ALL.map(|credential| provider.need(flow, credential))
        };
        let (refresh, client) = (Flow::RefreshToken, Flow::ClientCredentials);
        assert_eq!(needs("pagerduty", refresh), [Need::Required; 3]);
        assert_eq!(needs("pagerduty", client), [Need::Required, Need::Required, Need::Forbidden]);
        assert_eq!(needs("datadog", refresh), [Need::Required, Need::Forbidden, Need::Required]);
        assert_eq!(needs("oauth2", client), [Need::Required, Need::ByClientAuth, Need::Forbidden]);
        let keys = |name: &str, flow| Provider::named(name).unwrap().own_keys(flow);
        assert_eq!(keys("pagerduty", refresh), ["region"]);
        assert_eq!(keys("pagerduty", client), ["region", "account"]);
        assert_eq!(keys("datadog", refresh), ["site"]);
        assert_eq!(keys("oauth2", refresh), ["token_url", "client_auth", "allow_private"]);
        assert_eq!(keys("oauth2", client).last(), Some(&"revocation_url"));
        let flows = |name: &str| Provider::named(name).unwrap().flows().count();
        assert_eq!([flows("pagerduty"), flows("datadog"), flows("oauth2")], [2, 1, 2]);
    }

    #[test]
    fn a_replay_rule_is_printed_as_it_is_written() {
        for rule in [Replay::Unknown, Replay::Grace(1800), Replay::Prompt, Replay::None] {
            let read: Replay = serde_yaml::from_str(&rule.to_string()).expect("a rule");
            assert_eq!(read, rule);
        }
    }

    #[test]
    fn refresh_tokens_rotate_and_client_credentials_do_not() {
        for provider in BUILT_IN.iter() {
            assert!(provider.refresh_token.as_ref().is_none_or(FlowRules::rotates));
            assert!(!provider.client_credentials.as_ref().is_some_and(FlowRules::rotates));
        }
    }
}
