//! The token request of a grant (RFC 6749 §4.4.2 and §6) in the form that the provider documents, with no further parameter; and
//! the revocation request (RFC 7009 §2.1).

use agent_creds_core::grant::Grant;
use agent_creds_core::provider::{ClientAuth, Flow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use secrecy::ExposeSecret;
use url::form_urlencoded::Serializer;
use url::{Position, Url};

use agent_creds_refresh::document::Token;

/// The request cannot be built from the grant.
#[derive(Debug, thiserror::Error)]
#[error("building the token request")]
pub struct RequestError(#[from] http::Error);

/// Builds the request that presents `token`, or the client's credentials where the flow has no refresh token.
pub fn build(grant: &Grant, token: &Token) -> Result<Request<Full<Bytes>>, RequestError> {
    let mut form = vec![("grant_type", grant.flow.as_str())];
    if grant.flow == Flow::RefreshToken {
        form.push(("refresh_token", token.expose()));
    }
    if let Some(scope) = &grant.scope_parameter {
        form.push(("scope", scope));
    }
    authenticated(grant, &grant.token_url, &form)
}

/// Builds the request that revokes an access token (RFC 7009 §2.1).
pub fn revocation(grant: &Grant, url: &Url, token: &Token) -> Result<Request<Full<Bytes>>, RequestError> {
    authenticated(grant, url, &[("token", token.expose()), ("token_type_hint", "access_token")])
}

/// A form, with the client's authentication.
fn authenticated(
    grant: &Grant,
    url: &Url,
    pairs: &[(&str, &str)],
) -> Result<Request<Full<Bytes>>, RequestError> {
    let secret = grant.client_secret.as_ref().map_or("", ExposeSecret::expose_secret);
    let mut form = Serializer::new(String::new());
    form.extend_pairs(pairs);
    if grant.client_auth != ClientAuth::Basic {
        form.append_pair("client_id", &grant.client_id);
    }
    if grant.client_auth == ClientAuth::Post {
        form.append_pair("client_secret", secret);
    }
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&url[Position::BeforePath..])
        .header(HOST, authority(url))
        .header(USER_AGENT, concat!("agent-creds/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json")
        // Without it any coding is allowed (RFC 9110 §12.5.3).
        .header(ACCEPT_ENCODING, "identity")
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
            "grant_type=refresh_token&refresh_token=pdus%2B_1%2Fx&client_id=id%3A1&client_secret=s%26s"
        );
        assert_eq!(parts.uri, "/oauth/token");
        assert_eq!(parts.headers[HOST], "identity.pagerduty.com");
        assert!(!parts.headers.contains_key(AUTHORIZATION));
        assert_eq!(parts.headers[ACCEPT], "application/json");
        assert_eq!(parts.headers[ACCEPT_ENCODING], "identity");
    }

    #[tokio::test]
    async fn datadog_gets_three_parameters_and_no_more() {
        let (parts, body) = shape("datadog", "site: datadoghq.eu", false).await;
        assert_eq!(body, "grant_type=refresh_token&refresh_token=pdus%2B_1%2Fx&client_id=id%3A1");
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
    async fn a_revocation_names_the_token_and_authenticates_likewise() {
        let file = "flow: client_credentials\nsharing: pod\nclient_auth: post\n\
                    token_url: https://id.example.com/t\nrevocation_url: https://id.example.com/r";
        let data = [("client_id", "id:1"), ("client_secret", "s&s"), ("grant.yaml", file)]
            .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let grant = Grant::read(Some("oauth2"), &BTreeMap::from(data)).unwrap();
        let url = grant.revocation_url.clone().unwrap();
        let request = revocation(&grant, &url, &"a+1".to_owned().into()).unwrap();
        assert_eq!(
            (request.uri(), &request.headers()[HOST]),
            (&"/r".parse().unwrap(), &HeaderValue::from_static("id.example.com"))
        );
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "token=a%2B1&token_type_hint=access_token&client_id=id%3A1&client_secret=s%26s");
    }

    #[tokio::test]
    async fn client_credentials_present_no_token() {
        let file = "flow: client_credentials\naccount: acme\nscopes: [incidents.read]";
        let (_, body) = shape("pagerduty", file, true).await;
        assert_eq!(
            body,
            "grant_type=client_credentials&scope=as_account-us.acme+incidents.read&client_id=id%3A1&client_secret=s%26s"
        );
    }
}
