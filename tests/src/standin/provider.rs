//! Selects the provider of a request by its host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Datadog's sites. Each has its own clients and tokens.
pub const DATADOG_SITES: [&str; 9] = [
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "uk1.datadoghq.com",
    "datadoghq.eu",
    "ddog-gov.com",
    "us2.ddog-gov.com",
];

const PAGERDUTY_API: [&str; 2] = ["api.pagerduty.com", "api.eu.pagerduty.com"];
const PAGERDUTY_IDENTITY: &str = "identity.pagerduty.com";

/// The provider whose token endpoint is imitated. As text: `pagerduty`, `datadog:SITE`, `generic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Provider {
    /// `POST /oauth/token` on `identity.pagerduty.com`, for all regions.
    PagerDuty,
    /// `POST /oauth2/v1/token` on `api.SITE`.
    Datadog(Site),
    /// `POST /oauth/token` on 127.0.0.1 and every other host, as in RFC 6749.
    Generic,
}

/// One of [`DATADOG_SITES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site(&'static str);

impl Provider {
    /// Returns the provider with the token endpoint on `host`, a name without a port. `None` for a provider's host that
    /// issues no tokens.
    pub(super) fn at(host: &str) -> Option<Self> {
        if host == PAGERDUTY_IDENTITY {
            return Some(Self::PagerDuty);
        }
        if PAGERDUTY_API.contains(&host) {
            return None;
        }
        let site = host.strip_prefix("api.").and_then(|site| site.parse().ok());
        Some(site.map_or(Self::Generic, Self::Datadog))
    }

    /// Returns all host names that clients of the providers may connect to.
    pub(super) fn host_names() -> impl Iterator<Item = String> {
        let datadog = DATADOG_SITES.iter().map(|site| format!("api.{site}"));
        let pagerduty = PAGERDUTY_API.iter().chain([&PAGERDUTY_IDENTITY]).map(|name| (*name).to_owned());
        pagerduty.chain(datadog)
    }

    /// Returns the host of its token endpoint, if it has a fixed one.
    pub fn host(self) -> Option<String> {
        match self {
            Self::PagerDuty => Some(PAGERDUTY_IDENTITY.to_owned()),
            Self::Datadog(site) => Some(format!("api.{}", site.0)),
            Self::Generic => None,
        }
    }

    /// Returns the path of its token endpoint.
    pub fn token_path(self) -> &'static str {
        match self {
            Self::PagerDuty | Self::Generic => "/oauth/token",
            Self::Datadog(_) => "/oauth2/v1/token",
        }
    }

    /// Returns the lifetime of its access tokens, in seconds.
    pub(super) fn token_life(self) -> u64 {
        match self {
            Self::PagerDuty => 86_400,
            Self::Datadog(_) | Self::Generic => 3_600,
        }
    }
}

impl FromStr for Site {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = DATADOG_SITES.iter().find(|site| **site == text);
        known.map(|site| Self(site)).ok_or_else(|| format!("{text:?} is not a Datadog site"))
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("datadog:")) {
            ("pagerduty", _) => Ok(Self::PagerDuty),
            ("generic", _) => Ok(Self::Generic),
            (_, Some(site)) => site.parse().map(Self::Datadog),
            _ => Err(format!("{text:?} is not one of pagerduty, datadog:SITE, generic")),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PagerDuty => f.write_str("pagerduty"),
            Self::Datadog(site) => write!(f, "datadog:{}", site.0),
            Self::Generic => f.write_str("generic"),
        }
    }
}

impl TryFrom<String> for Provider {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Provider> for String {
    fn from(provider: Provider) -> Self {
        provider.to_string()
    }
}
