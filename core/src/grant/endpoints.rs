//! The endpoints that a grant's credentials are sent to, and the sharing of its access tokens.

use url::Url;

use super::error::GrantError;
use super::file::{GrantFile, Sharing};
use crate::provider::{ClientAuth, FlowRules, Provider};

/// Returns the token endpoint and its client authentication: fixed by the provider, or the grant's own.
pub(super) fn token_endpoint(
    provider: &Provider,
    file: &GrantFile,
    place: Option<&str>,
) -> Result<(Url, ClientAuth), GrantError> {
    let (Some(template), Some(client_auth)) = (&provider.token_url, provider.client_auth) else {
        return own_endpoint(file);
    };
    let fixed = format!("nothing: provider {} fixes it", provider.name);
    if file.token_url.is_some() {
        return Err(GrantError::field("token_url", "a value", &fixed));
    }
    if file.client_auth.is_some() {
        return Err(GrantError::field("client_auth", "a value", &fixed));
    }
    if file.allow_private {
        return Err(GrantError::field("allow_private", "true", &fixed));
    }
    if file.revocation_url.is_some() {
        let nothing = format!("nothing: provider {} documents no exact way to revoke a token", provider.name);
        return Err(GrantError::field("revocation_url", "a value", &nothing));
    }
    let place = place.unwrap_or_default();
    let url = template.replace("{site}", place).replace("{region}", place);
    let url = Url::parse(&url).map_err(|_| GrantError::field("site", "a value", "a site of the provider"))?;
    Ok((url, client_auth))
}

/// Returns whether each pod obtains its own tokens. Refused where the refresh token rotates: two pods would end each other's
/// login.
pub(super) fn per_pod(file: &GrantFile, rules: &FlowRules, provider: &Provider) -> Result<bool, GrantError> {
    if file.sharing == Sharing::Pod && rules.rotates() {
        let (flow, provider) = (file.flow.as_str(), &provider.name);
        let all = format!(
            "all: in flow {flow} of {provider} a refresh token is good for one use, so all pods share it"
        );
        return Err(GrantError::field("sharing", "pod", &all));
    }
    Ok(file.sharing == Sharing::Pod)
}

/// Returns the revocation endpoint. Only for tokens that no other pod uses, and only at the host and port of the token endpoint,
/// because the client secret is sent there.
pub(super) fn revocation(
    file: &GrantFile,
    token_url: &Url,
    per_pod: bool,
) -> Result<Option<Url>, GrantError> {
    let Some(text) = &file.revocation_url else { return Ok(None) };
    if !per_pod {
        return Err(GrantError::field(
            "revocation_url",
            "a value",
            "nothing, or sharing: pod: tokens that pods share are not revoked",
        ));
    }
    let allowed = "the https URL of the revocation endpoint, at the host and port of token_url, without user, query and fragment";
    let url = plain_https(text).map_err(|found| GrantError::field("revocation_url", found, allowed))?;
    if url.origin() != token_url.origin() {
        return Err(GrantError::field("revocation_url", "a URL at another host", allowed));
    }
    Ok(Some(url))
}

/// Parses an https URL without user, query and fragment. `Err` says what was found instead.
fn plain_https(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "a text that is no URL")?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let good = url.scheme() == "https" && url.password().is_none() && plain && url.host().is_some();
    good.then_some(url).ok_or("a URL of another kind")
}

/// Returns the endpoint of provider `oauth2`. The default is Basic, which every server has to accept (RFC 6749 §2.3.1).
fn own_endpoint(file: &GrantFile) -> Result<(Url, ClientAuth), GrantError> {
    let allowed = "the https URL of the token endpoint, without user, query and fragment";
    let Some(text) = &file.token_url else {
        return Err(GrantError::field("token_url", "nothing", allowed));
    };
    let url = plain_https(text).map_err(|found| GrantError::field("token_url", found, allowed))?;
    Ok((url, file.client_auth.unwrap_or(ClientAuth::Basic)))
}
