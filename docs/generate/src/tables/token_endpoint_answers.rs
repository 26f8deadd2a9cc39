//! What an answer of the token endpoint means: each row is an answer that is read, recorded and judged here, by the code that
//! the sidecar runs.

use agent_creds_core::words::Word as _;
use agent_creds_refresh::answer::Heard;
use agent_creds_refresh::cause::Cause;
use agent_creds_refresh::commit::{Presentation, record};
use agent_creds_refresh::login::Login;
use agent_creds_refresh::reason::NotSent;
use agent_creds_refresh::reply::{HttpReply, Reply};
use agent_creds_refresh::safeguards::Safeguards;
use agent_creds_refresh::status::Status;
use agent_creds_refresh::timing::Timing;
use anyhow::Context as _;
use serde_json::json;

use crate::example;
use crate::markdown::{code, table};

pub(super) fn token_endpoint_answers() -> anyhow::Result<String> {
    let login = example::login()?;
    let rows: Result<Vec<_>, _> =
        answers().into_iter().map(|(answer, reply)| row(&login, answer, reply)).collect();
    Ok(table(["answer", "outcome", "state", "reason"], rows?))
}

/// Answers that a reader tells apart: what they are called, and one example of each.
fn answers() -> Vec<(&'static str, Reply)> {
    let granted =
        json!({"access_token": "next", "refresh_token": "fifth", "expires_in": 60, "scope": "read"})
            .to_string();
    vec![
        ("no address, no connection, no TLS: nothing was sent", Reply::NotSent(NotSent::Dns)),
        ("2xx with an access token and a new refresh token", http(200, &granted)),
        (
            "2xx, `expires_in` a string, or absent (then the definition's default)",
            http(200, &granted.replace("60", "\"60\"")),
        ),
        ("2xx without a refresh token: the old one stays", http(200, r#"{"access_token":"next"}"#)),
        ("2xx with more scopes than asked", http(200, &granted.replace("\"read\"", "\"read more\""))),
        (
            "2xx with fewer scopes than asked: the refresh token is stored",
            http(200, &granted.replace("\"read\"", "\"openid\"")),
        ),
        (
            "2xx cut off or too large, the refresh token whole: it is saved",
            cut(&granted[..granted.len() - 1]),
        ),
        ("2xx cut off or too large, no whole refresh token", cut("{\"access_token\":\"next")),
        (
            "2xx with several refresh tokens: all are stored, the last one becomes the head",
            http(200, &granted.replace("\"expires_in\"", "\"refresh_token\":\"sixth\",\"expires_in\"")),
        ),
        (
            "2xx with another `token_type` than `Bearer`: the refresh token is stored",
            http(200, &granted.replace("\"scope\"", "\"token_type\":\"DPoP\",\"scope\"")),
        ),
        ("2xx with HTML", http(200, "<html>")),
        ("2xx without a body", http(200, "")),
        ("2xx without an access token", http(200, "{}")),
        (
            "200 with `ok: false`, `invalid_refresh_token` (Slack)",
            http(200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
        ),
        (
            "200 with `ok: false` and another error (Slack)",
            http(200, r#"{"ok":false,"error":"internal_error"}"#),
        ),
        ("2xx with an OAuth error (GitHub)", oauth(200, "bad_verification_code")),
        ("a redirect, except 303", http(301, "")),
        ("303: the request may have been carried out", http(303, "")),
        ("`invalid_grant`", oauth(400, "invalid_grant")),
        ("`invalid_client`", oauth(401, "invalid_client")),
        ("`invalid_request`", oauth(400, "invalid_request")),
        ("`invalid_scope`", oauth(400, "invalid_scope")),
        ("`unauthorized_client`", oauth(400, "unauthorized_client")),
        ("`unsupported_grant_type`", oauth(400, "unsupported_grant_type")),
        ("4xx with another OAuth error", oauth(400, "slow_down")),
        ("429, with `Retry-After` (seconds or date) or `ratelimit-reset`", http(429, "")),
        ("4xx without an OAuth error", http(404, "not found")),
        ("5xx", http(503, "")),
        ("no answer in time, after the request was sent", Reply::Lost(Cause::Timeout)),
        ("the connection broke after the request was sent", Reply::Lost(Cause::Reset)),
    ]
}

fn http(status: u16, body: &str) -> Reply {
    let body = body.as_bytes().to_vec();
    Reply::Http(HttpReply { status, body, complete: true, ..HttpReply::default() })
}

/// A success whose body ends too early.
fn cut(body: &str) -> Reply {
    Reply::Http(HttpReply { status: 200, body: body.as_bytes().to_vec(), ..HttpReply::default() })
}

fn oauth(status: u16, error: &str) -> Reply {
    http(status, &json!({ "error": error }).to_string())
}

fn row(login: &Login, name: &str, reply: Reply) -> anyhow::Result<[String; 4]> {
    let document = example::document(login)?;
    let (now, asked) = (example::now(), login.asked());
    let claim = document.claim.as_ref().context("the example has a claim")?;
    let heard = Heard::of(reply, &asked, &claim.parent_fp);
    let presentation = Presentation {
        claim,
        answer: &heard.answer,
        http: heard.http.as_ref(),
        asked: &asked,
        sent_at: now,
        now,
        random: 0.0,
        timing: Timing::PRODUCTION,
        safeguards: Safeguards::ON,
    };
    let (next, outcome) = record(&document, &presentation);
    let status =
        Status::of(&next.with_context(|| format!("nothing is recorded: {name}"))?, Some(login), None, now);
    Ok([name.to_owned(), code(outcome.as_str()), code(status.state.as_str()), code(status.reason.word)])
}
