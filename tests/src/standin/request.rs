//! A received request, and the checks before the client is known.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};

use super::Provider;
use super::form::{Form, decode};
use super::refusal::Refusal;

/// A completely received request.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The server name in the TLS handshake; `None` if the client connected to an address.
    pub(super) sni: Option<String>,
    /// The client's address.
    pub(super) peer: Option<IpAddr>,
}

impl Asked {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns its `Host` header unchanged.
    pub(super) fn host(&self) -> &str {
        self.header(header::HOST).unwrap_or_default()
    }

    /// Returns the provider whose token endpoint it is for.
    pub(super) fn provider(&self) -> Result<Provider, Refusal> {
        let name = host_name(self.host());
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if !address && self.sni.as_deref() != Some(name) {
            let sni = self.sni.as_deref().unwrap_or("nothing");
            return Err(Refusal::misdirected(format!("Host says {name:?}, the handshake said {sni}")));
        }
        let path = self.uri.path();
        let provider = Provider::at(name).filter(|provider| provider.token_path() == path);
        let provider = provider.ok_or_else(|| Refusal::not_found(format!("no {path} on {name}")))?;
        if self.method != Method::POST {
            return Err(Refusal::method_not_allowed(format!("{} instead of POST", self.method)));
        }
        Ok(provider)
    }

    /// Parses the parameters, which must all be in the body, as a form.
    pub(super) fn form(&self) -> Result<Form, Refusal> {
        if self.uri.query().is_some() {
            return Err(Refusal::invalid_request("parameters in the URL"));
        }
        let kind = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let bare = kind.split(';').next().unwrap_or_default().trim();
        if !bare.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::invalid_request(format!("the body is {kind:?}, not a form")));
        }
        Form::parse(&self.body).map_err(Refusal::invalid_request)
    }

    /// Whether it has an `Authorization` header of any kind.
    pub(super) fn has_authorization(&self) -> bool {
        self.headers.contains_key(header::AUTHORIZATION)
    }

    /// Returns id and secret of HTTP Basic, each form-encoded before base64 (RFC 6749 §2.3.1).
    pub(super) fn basic(&self) -> Result<Option<(String, String)>, Refusal> {
        if !self.has_authorization() {
            return Ok(None);
        }
        let value = self.header(header::AUTHORIZATION).unwrap_or_default();
        let credentials = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let decoded = credentials.and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok());
        let decoded = decoded.ok_or_else(|| Refusal::invalid_request("Authorization is not HTTP Basic"))?;
        let colon = decoded.iter().position(|byte| *byte == b':');
        let colon = colon.ok_or_else(|| Refusal::invalid_request("HTTP Basic without a colon"))?;
        let part = |bytes: &[u8]| {
            decode(bytes).map_err(|what| Refusal::invalid_request(format!("HTTP Basic: {what}")))
        };
        Ok(Some((part(&decoded[..colon])?, part(&decoded[colon + 1..])?)))
    }
}

/// Returns a `Host` without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_part_of_the_name() {
        for (host, name) in [
            ("identity.pagerduty.com", "identity.pagerduty.com"),
            ("identity.pagerduty.com:443", "identity.pagerduty.com"),
            ("127.0.0.1:8443", "127.0.0.1"),
            ("[::1]:8443", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host_name(host), name);
        }
    }
}
