//! The token request of a grant (RFC 6749 §4.4.2 and §6), in exactly the shape that the provider documents: nothing
//! more goes into the form than it asks for.

use agent_creds_core::grant::Grant;
use agent_creds_core::provider::{ClientAuth, Flow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use secrecy::ExposeSecret;
use url::form_urlencoded::Serializer;
use url::{Position, Url};

use crate::grant::document::Token;

/// A request that cannot be built from a grant that was read with success: a defect, not a user's mistake.
#[derive(Debug, thiserror::Error)]
#[error("building the token request")]
pub struct RequestError(#[from] http::Error);

/// Builds the request that presents `token`, or the client's own credentials where the flow has no token.
pub fn build(grant: &Grant, token: &Token) -> Result<Request<Full<Bytes>>, RequestError> {
    let secret = grant.client_secret.as_ref().map_or("", ExposeSecret::expose_secret);
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", grant.flow.as_str());
    if grant.client_auth != ClientAuth::Basic {
        form.append_pair("client_id", &grant.client_id);
    }
    if grant.client_auth == ClientAuth::Post {
        form.append_pair("client_secret", secret);
    }
    if grant.flow == Flow::RefreshToken {
        form.append_pair("refresh_token", token.expose());
    }
    if let Some(scope) = &grant.scope_parameter {
        form.append_pair("scope", scope);
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&grant.token_url[Position::BeforePath..])
        .header(HOST, authority(&grant.token_url))
        .header(USER_AGENT, concat!("agent-creds/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    if grant.client_auth == ClientAuth::Basic {
        // RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
        let pair = format!("{}:{}", encoded(&grant.client_id), encoded(secret));
        let mut value =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).map_err(http::Error::from)?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    Ok(request.body(Full::new(Bytes::from(form.finish())))?)
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn authority(url: &Url) -> String {
    url[Position::BeforeHost..Position::AfterPort].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http_body_util::BodyExt;

    use super::*;

    async fn shape(provider: &str, file: &str, secret: bool) -> (http::request::Parts, String) {
        let mut data = BTreeMap::from([
            ("client_id".to_owned(), b"id:1".to_vec()),
            ("grant.yaml".to_owned(), file.as_bytes().to_vec()),
        ]);
        if !file.contains("client_credentials") {
            data.insert("refresh_token".to_owned(), b"pdus+_1/x".to_vec());
        }
        if secret {
            data.insert("client_secret".to_owned(), b"s&s".to_vec());
        }
        let grant = Grant::read(Some(provider), &data).unwrap();
        let token = grant.refresh_token.clone().unwrap_or_default();
        let (parts, body) = build(&grant, &token.into()).unwrap().into_parts();
        (parts, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn pagerduty_wants_the_secret_in_the_form_and_its_plus_encoded() {
        let (parts, body) = shape("pagerduty", "scopes: [incidents.read]", true).await;
        assert_eq!(
            body,
            "grant_type=refresh_token&client_id=id%3A1&client_secret=s%26s&refresh_token=pdus%2B_1%2Fx"
        );
        assert_eq!(parts.uri, "/oauth/token");
        assert_eq!(parts.headers[HOST], "identity.pagerduty.com");
        assert!(!parts.headers.contains_key(AUTHORIZATION));
    }

    #[tokio::test]
    async fn datadog_gets_three_parameters_and_no_more() {
        let (parts, body) = shape("datadog", "site: datadoghq.eu", false).await;
        assert_eq!(body, "grant_type=refresh_token&client_id=id%3A1&refresh_token=pdus%2B_1%2Fx");
        assert_eq!(parts.headers[HOST], "api.datadoghq.eu");
    }

    #[tokio::test]
    async fn basic_is_form_encoded_before_base64() {
        let (parts, body) =
            shape("oauth2", "token_url: https://id.example.com:8443/t\nscopes: [a, b]", true).await;
        assert_eq!(body, "grant_type=refresh_token&refresh_token=pdus%2B_1%2Fx&scope=a+b");
        let expected = format!("Basic {}", STANDARD.encode("id%3A1:s%26s"));
        assert_eq!(parts.headers[AUTHORIZATION], expected.as_str());
        assert_eq!(parts.headers[HOST], "id.example.com:8443");
        assert_eq!(parts.uri, "/t");
    }

    #[tokio::test]
    async fn client_credentials_present_no_token() {
        let file = "flow: client_credentials\naccount: acme\nscopes: [incidents.read]";
        let (_, body) = shape("pagerduty", file, true).await;
        assert_eq!(
            body,
            "grant_type=client_credentials&client_id=id%3A1&client_secret=s%26s&scope=as_account-us.acme+incidents.read"
        );
    }
}
