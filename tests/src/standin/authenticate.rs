//! Authenticates the client, by the method that it is registered for.

use super::form::Form;
use super::refusal::Refusal;
use super::request::Asked;
use super::{Client, ClientAuth, Provider};

/// Returns the allowed parameters of a request; `None` for a grant type that is refused anyway.
fn expected(provider: Provider, grant_type: Option<&str>) -> Option<&'static [&'static str]> {
    match (provider, grant_type?) {
        (Provider::PagerDuty, "refresh_token") => {
            Some(&["grant_type", "client_id", "client_secret", "refresh_token"])
        }
        (Provider::Datadog(_), "refresh_token") => Some(&["grant_type", "client_id", "refresh_token"]),
        (Provider::Generic, "refresh_token") => {
            Some(&["grant_type", "client_id", "client_secret", "refresh_token", "scope"])
        }
        (Provider::PagerDuty | Provider::Generic, "client_credentials") => {
            Some(&["grant_type", "client_id", "client_secret", "scope"])
        }
        _ => None,
    }
}

/// Returns the client that sent the request, or the refusal.
pub(super) fn authenticate<'a>(
    clients: &'a [Client],
    provider: Provider,
    asked: &Asked,
    form: &Form,
) -> Result<&'a Client, Refusal> {
    let names = expected(provider, form.get("grant_type"));
    if let Some(stranger) = names.and_then(|names| form.stranger(names)) {
        return Err(Refusal::invalid_request(format!("{stranger} does not belong in this request")));
    }
    // Datadog's documentation mentions 401 for confidential clients only.
    let status = if matches!(provider, Provider::Datadog(_)) { 400 } else { 401 };
    let challenge = asked.has_authorization();
    let refuse = |reason: String| Refusal { challenge, ..Refusal::invalid_client(status, reason) };

    let basic = match provider {
        Provider::PagerDuty if challenge => {
            return Err(refuse(
                "an Authorization header; PagerDuty reads the secret from the form".to_owned(),
            ));
        }
        Provider::Datadog(_) if challenge => {
            return Err(Refusal::invalid_request("an Authorization header; Datadog's client is public"));
        }
        _ => asked.basic()?,
    };
    let (used, id, secret) = match (&basic, form.get("client_secret")) {
        (Some(_), Some(_)) => {
            return Err(Refusal::invalid_request("a secret in the header and one in the form"));
        }
        (Some((id, secret)), None) => {
            if form.get("client_id").is_some_and(|named| named != id) {
                return Err(Refusal::invalid_request("one client in the header, another in the form"));
            }
            (ClientAuth::Basic, Some(id.as_str()), Some(secret.as_str()))
        }
        (None, Some(secret)) => (ClientAuth::Post, form.get("client_id"), Some(secret)),
        (None, None) => (ClientAuth::None, form.get("client_id"), None),
    };
    let id = id.ok_or_else(|| Refusal::invalid_request("no client_id"))?;
    let client = clients.iter().find(|client| client.provider == provider && client.id == id);
    let client = client.ok_or_else(|| refuse(format!("no client {id:?} at {provider}")))?;
    if used != client.auth {
        return Err(refuse(format!("registered for {:?}, tried {used:?}", client.auth)));
    }
    if secret != client.secret.as_deref() {
        return Err(refuse("the secret is wrong".to_owned()));
    }
    Ok(client)
}
