//! Provider definitions: what a provider's token endpoint expects and how it behaves. They are YAML in the
//! source tree (`core/providers/*.yaml`), compiled in, and the same for every cluster: no grant and no chart
//! value changes the hosts of a built-in provider (invariant I6).

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
    /// How the client authenticates at the token endpoint. `None`: the grant says.
    pub client_auth: Option<ClientAuth>,
    /// Values of the grant's `region`.
    pub region: Option<Choice>,
    /// Values of the grant's `site`.
    pub site: Option<Choice>,
    /// The flow `refresh_token`, where the provider has it.
    pub refresh_token: Option<FlowRules>,
    /// The flow `client_credentials`, where the provider has it.
    pub client_credentials: Option<FlowRules>,
    /// Scope names that were known when this version was built. Another one is a warning, no error.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// A closed set of values with a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Taken where the grant says nothing.
    pub default: String,
    /// All that a grant may say.
    pub allowed: Vec<String>,
}

/// How one flow behaves at one provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowRules {
    /// What a second presentation of the same refresh token does.
    pub replay: Replay,
    /// What a 503 means.
    #[serde(rename = "503", default)]
    pub unavailable: Unavailable,
    /// Life of an access token in seconds, where the answer has no `expires_in`.
    pub lifetime_s: u32,
    /// The grant dies after so many days without a redemption.
    pub idle_days: Option<u32>,
    /// The grant dies so many days after the login, however well it is refreshed.
    pub hard_days: Option<u32>,
    /// Whether the request names the grant's scopes (RFC 6749 §6: may only narrow).
    #[serde(default)]
    pub scope_parameter: bool,
    /// Scope put before the grant's, with `{region}` and `{account}`.
    pub scope_prefix: Option<String>,
    /// Keys of `grant.yaml` that this flow cannot do without.
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
    /// Nothing is documented: a replay may revoke the grant, so it waits for the last responsible moment.
    Unknown,
    /// The same request gets its answer again for so many seconds after the first time.
    Grace(u32),
    /// A grace of unknown length: one prompt repeat, then as [`Self::Unknown`].
    Prompt,
    /// Nothing rotates in this flow: a repeat is harmless.
    None,
}

/// What a 503 of the token endpoint means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// As every 5xx: the refresh token may have been replaced.
    #[default]
    InDoubt,
    /// The provider documents that nothing was done.
    NotCommitted,
}

/// The flow of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// RFC 6749 §6.
    RefreshToken,
    /// RFC 6749 §4.4.
    ClientCredentials,
}

impl Flow {
    /// The value of `flow` in `grant.yaml` and of `grant_type` on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
        }
    }
}

impl FlowRules {
    /// Whether each success may replace the refresh token.
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
    /// The definition with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BUILT_IN.iter().find(|provider| provider.name == name)
    }

    /// Names of all definitions, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|provider| provider.name.as_str())
    }

    /// The rules of a flow, where the provider has it.
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
    fn only_what_cannot_rotate_may_be_repeated() {
        for provider in BUILT_IN.iter() {
            assert!(provider.refresh_token.as_ref().is_none_or(FlowRules::rotates));
            assert!(!provider.client_credentials.as_ref().is_some_and(FlowRules::rotates));
        }
    }
}
