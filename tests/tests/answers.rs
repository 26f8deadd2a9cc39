//! The README's table of what an answer of a token endpoint means is what the code does with it: each row is an
//! answer that is read, recorded and judged here.

use std::fmt::Write as _;

use agent_creds_core::grant::Grant;
use agent_creds_sidecar::grant::answer::{Answer, Reply};
use agent_creds_sidecar::grant::commit::{Presentation, record};
use agent_creds_sidecar::grant::document::Document;
use agent_creds_sidecar::grant::login::Login;
use agent_creds_sidecar::grant::rules::{Rules, Timing};
use agent_creds_sidecar::grant::status::Status;
use agent_creds_sidecar::outcome::{Cause, Reason};
use agent_creds_tests::cluster::root;
use jiff::Timestamp;
use serde_json::json;

const NOW: i64 = 1_800_000_000;

fn login() -> Login {
    let data = [
        ("client_id", "id"),
        ("client_secret", "hush"),
        ("refresh_token", "r1"),
        ("grant.yaml", "token_url: https://id.example.com/token\nscopes: [read]"),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into();
    Login::new(Grant::read(Some("oauth2"), &data).expect("a grant"))
}

/// In the middle of its life, with a claim on the head.
fn living(login: &Login) -> Document {
    let at = |seconds: i64| Timestamp::from_second(NOW + seconds).expect("a time").to_string();
    let document = json!({
        "v": 1,
        "seed": {"seq": 1, "token_fp": login.token_fp, "binding": login.binding, "adopted_at": at(-7200), "proven": true},
        "gen": 3,
        "refresh": {"token": "r4", "fp": "fp-of-r4", "obtained_at": at(-3000), "presented": "never"},
        "access": {
            "token": "a", "fp": "fp-of-a", "issued_at": at(-3000), "expires_at": at(600), "lifetime_s": 3600,
            "scopes": ["read"], "config_fp": login.config_fp,
        },
        "claim": {
            "id": "c", "holder": "p/1", "parent_fp": "fp-of-r4", "purpose": "refresh", "claimed_at": at(-1), "term_s": 60,
        },
    });
    Document::parse(Some(document.to_string().as_bytes())).expect("a document")
}

fn http(status: u16, body: &str) -> Reply {
    Reply::Http { status, retry_after_s: None, body: body.as_bytes().to_vec(), complete: true }
}

fn cut(body: &str) -> Reply {
    Reply::Http { status: 200, retry_after_s: None, body: body.as_bytes().to_vec(), complete: false }
}

fn rows() -> Vec<(&'static str, Reply)> {
    let oauth = |status, error: &str| http(status, &json!({ "error": error }).to_string());
    let granted =
        json!({"access_token": "b", "refresh_token": "r5", "expires_in": 60, "scope": "read"}).to_string();
    vec![
        ("no address, no connection, no TLS: nothing was sent", Reply::NotSent(Reason::Dns)),
        ("2xx with an access token and a new refresh token", http(200, &granted)),
        (
            "2xx, `expires_in` a string, or absent (then the definition's default)",
            http(200, &granted.replace("60", "\"60\"")),
        ),
        ("2xx without a refresh token: the old one stays", http(200, r#"{"access_token":"b"}"#)),
        ("2xx with more scopes than asked", http(200, &granted.replace("\"read\"", "\"read more\""))),
        (
            "2xx with fewer scopes than asked: the refresh token is stored",
            http(200, &granted.replace("\"read\"", "\"openid\"")),
        ),
        (
            "2xx cut off or too large, the refresh token whole: it is saved",
            cut(&granted[..granted.len() - 1]),
        ),
        ("2xx cut off or too large, no whole refresh token", cut("{\"access_token\":\"b")),
        ("2xx with HTML", http(200, "<html>")),
        ("2xx without an access token", http(200, "{}")),
        (
            "200 with `ok: false`, `invalid_refresh_token` (Slack)",
            http(200, r#"{"ok":false,"error":"invalid_refresh_token"}"#),
        ),
        (
            "200 with `ok: false` and another error (Slack)",
            http(200, r#"{"ok":false,"error":"internal_error"}"#),
        ),
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

#[test]
fn the_readme_says_what_every_answer_means() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let (mut table, mut whole) = (String::new(), true);
    let login = login();
    for (title, reply) in rows() {
        let document = living(&login);
        let claim = document.claim.clone().expect("a claim");
        let asked = login.asked();
        let answer = Answer::of(reply, &asked);
        let now = Timestamp::from_second(NOW).expect("a time");
        let (timing, rules) = (Timing::PRODUCTION, Rules::PRODUCTION);
        let (claim, asked, answer) = (&claim, &asked, &answer);
        let presentation =
            Presentation { claim, asked, answer, sent_at: now, now, random: 0.0, timing, rules };
        let (next, outcome) = record(&document, &presentation);
        let status = Status::of(&next.expect("a record"), Some(&login), None, now);
        let (outcome, state, reason) = (outcome.as_str(), status.state.as_str(), status.reason.as_str());
        let row = format!("| {title} | `{outcome}` | `{state}` | `{reason}` |");
        whole &= readme.lines().any(|line| line == row);
        let _ = writeln!(table, "{row}");
    }
    assert!(whole, "the README should have these rows:\n{table}");
}
