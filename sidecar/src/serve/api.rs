//! The local API. On loopback a caller proves itself with the caller key and names a loopback host (a page that
//! rebinds its DNS name can't); on the socket the mount is the proof.

use std::sync::Arc;

use agent_creds_core::names::LocalName;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};

use super::caller_key::CallerKey;
use crate::clock::Clock;
use crate::grant::status::Status;
use crate::metrics::Metrics;
use crate::shelf::Shelf;

/// What the API serves.
#[derive(Clone)]
pub struct Api {
    grants: Arc<[Offer]>,
    clock: Clock,
}

/// A grant, and the counters of its requests.
struct Offer {
    shelf: Arc<Shelf>,
    served: Counter,
    unavailable: Counter,
}

impl Api {
    /// Serves from `shelves`.
    pub fn new(shelves: &[Arc<Shelf>], clock: Clock, metrics: &Metrics) -> Self {
        let offer = |shelf: &Arc<Shelf>| Offer {
            served: metrics.token_requests(&shelf.secret, "served"),
            unavailable: metrics.token_requests(&shelf.secret, "unavailable"),
            shelf: shelf.clone(),
        };
        Self { grants: shelves.iter().map(offer).collect(), clock }
    }

    /// For the Unix socket.
    pub fn on_socket(&self) -> Router {
        Router::new()
            .route("/v1/grants", get(grants))
            .route("/v1/token/{grant}", get(token))
            .fallback(no_such_path)
            .method_not_allowed_fallback(only_get)
            .with_state(self.clone())
    }

    /// For the loopback port.
    pub fn on_loopback(&self, key: CallerKey) -> Router {
        self.on_socket().layer(middleware::from_fn_with_state(Arc::new(key), guard))
    }
}

/// Host first: a foreign page must not learn even whether its key was right.
async fn guard(State(key): State<Arc<CallerKey>>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_loopback),
        _ => false,
    };
    let absolute = request.uri().authority().is_none_or(|authority| is_loopback(authority.as_str()));
    if !named || !absolute {
        let text = "the Host header must be one loopback name: localhost, 127.0.0.1 or [::1]";
        return refusal(StatusCode::MISDIRECTED_REQUEST, "bad_host", text);
    }
    if !key.admits(request.headers()) {
        let text = "send the caller key once, as Authorization: Bearer <content of $AGENT_CREDS_KEY_FILE>";
        return refusal(StatusCode::UNAUTHORIZED, "invalid_client", text);
    }
    next.run(request).await
}

fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix("[::1]") {
        Some(rest) => ("[::1]", rest),
        None => host.split_once(':').map_or((host, ""), |(name, _)| (name, &host[name.len()..])),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port && (name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]")
}

async fn no_such_path() -> Response {
    refusal(StatusCode::NOT_FOUND, "not_found", "no such path; see GET /v1/grants")
}

async fn only_get() -> Response {
    let mut response =
        refusal(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "this path answers GET alone");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

async fn grants(State(api): State<Api>) -> Response {
    let now = api.clock.now();
    let grants: Vec<Value> = api
        .grants
        .iter()
        .map(|offer| {
            let Status { state, reason, message, expires_at, scopes, reauth_at } = offer.shelf.status(now);
            json!({
                "name": offer.shelf.name.as_str(),
                "provider": offer.shelf.provider(),
                "state": state,
                "reason": reason,
                "message": message,
                "expires_at": expires_at.map(jiff::Timestamp::as_second),
                "scopes": scopes,
                "expose": ["token"],
                "reauth_at": reauth_at.map(jiff::Timestamp::as_second),
            })
        })
        .collect();
    answer(StatusCode::OK, json!({ "grants": grants }).to_string())
}

/// A path that is no text is no grant's name either.
async fn token(State(api): State<Api>, name: Result<Path<String>, PathRejection>) -> Response {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let Some(offer) = api.grants.iter().find(|offer| offer.shelf.name.as_str() == name) else {
        // Named only where it is a name: nothing of a caller's path comes back as it was.
        let known: Vec<_> = api.grants.iter().map(|offer| offer.shelf.name.as_str()).collect();
        let text = match LocalName::parse(&name) {
            Ok(name) => format!("this pod has no grant {name}; it has {}", known.join(", ")),
            Err(_) => format!("this pod has no such grant; it has {}", known.join(", ")),
        };
        return refusal(StatusCode::NOT_FOUND, "unknown_grant", &text);
    };
    let now = api.clock.now();
    let Some(served) = offer.shelf.token(now) else {
        offer.unavailable.inc();
        return unavailable(offer, now);
    };
    offer.served.inc();
    let body = json!({
        "access_token": served.token.expose(),
        "token_type": "Bearer",
        "expires_in": served.expires_at.as_second() - now.as_second(),
        "expires_at": served.expires_at.as_second(),
        "scope": served.scopes.join(" "),
    });
    answer(StatusCode::OK, body.to_string())
}

fn unavailable(offer: &Offer, now: jiff::Timestamp) -> Response {
    let status = offer.shelf.status(now);
    let body = json!({
        "error": "temporarily_unavailable",
        "error_description": status.message,
        "grant": offer.shelf.name.as_str(),
        "state": status.state,
    });
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, body.to_string());
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// RFC 6749 §5.2.
fn refusal(status: StatusCode, error: &str, description: &str) -> Response {
    answer(status, json!({ "error": error, "error_description": description }).to_string())
}

fn answer(status: StatusCode, body: String) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_are_hosts() {
        for good in ["localhost", "LOCALHOST:9911", "127.0.0.1", "127.0.0.1:9911", "[::1]", "[::1]:80"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example.com",
            "localhost.evil.example.com",
            "127.0.0.1.evil.com",
            "127.0.0.2",
            "[::1",
            "[::1]x",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "localhost:1:2",
            "user@localhost",
            "0.0.0.0",
            "::1",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
