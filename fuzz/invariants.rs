//! Invariants for every reply of a token endpoint and for every state document, whatever bytes it consists of. The fuzz
//! targets and the property tests in `refresh/tests/properties.rs` share this file.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_creds_core::grant::{Grant, MAX_TOKEN};
use agent_creds_refresh::answer::{Answer, Heard};
use agent_creds_refresh::commit::{Presentation, record};
use agent_creds_refresh::document::{Claim, Document, DocumentError, MAX_DOCUMENT, Token};
use agent_creds_refresh::fingerprint::of_token;
use agent_creds_refresh::login::Login;
use agent_creds_refresh::replica::{Effect, Found, Input, Moment, Replica, Seen, Settings};
use agent_creds_refresh::reply::{HttpReply, MAX_BODY, MediaType, Reply};
use agent_creds_refresh::safeguards::Safeguards;
use agent_creds_refresh::status::Status;
use agent_creds_refresh::timing::Timing;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// Number of effects for which `follow` drives a replica.
const STEPS: u8 = 60;

/// A grant whose refresh token is `r1`.
fn login() -> Login {
    let data = BTreeMap::from(
        [
            ("client_id", "id"),
            ("client_secret", "hush"),
            ("refresh_token", "r1"),
            ("grant.yaml", "token_url: https://id.example.com/token"),
        ]
        .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())),
    );
    Login::new(Grant::read(Some("oauth2"), &data).expect("a grant"))
}

/// Returns 2027-01-15T08:00:00Z plus `seconds`.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time in this century")
}

/// Any reply: it is read without a panic, what comes out is bounded and printable, survives the spool, and a refresh
/// token that came is in the document afterwards. `header`: bits that choose media type and content coding.
pub(crate) fn reply(status: u16, header: u8, body: &[u8], complete: bool) {
    let login = login();
    let media_type =
        [None, Some(MediaType::Json), Some(MediaType::Form), Some(MediaType::Html)][usize::from(header & 3)];
    let content_encoding =
        ["", "gzip", "deflate", "br", "deflate, gzip"][usize::from(header >> 2) % 5].to_owned();
    let length = body.len().min(MAX_BODY);
    let body = body[..length].to_vec();
    let reply = HttpReply {
        status,
        media_type,
        content_encoding,
        body: body.clone(),
        complete,
        ..HttpReply::default()
    };
    let Heard { answer, http, unread } =
        Heard::of(Reply::Http(reply), &login.asked(), &of_token(&Token::from("r1".to_owned())));
    assert_eq!(http.expect("an answer over HTTP").status, status);
    if let Some(unread) = unread {
        assert!(answer.child().is_none() && unread.body == body, "kept as it came");
    }
    let child = answer.child().cloned();
    let mut tokens: Vec<_> = child.iter().chain(answer.others()).collect();
    if let Answer::Granted(granted) = &answer {
        assert!((200..300).contains(&status), "granted by {status}");
        assert!(granted.expires_in.is_none_or(|life| life > 0));
        for scope in granted.scopes.iter().flatten() {
            assert!(scope.len() <= 512 && scope.chars().all(|letter| letter.is_ascii_graphic()));
        }
        tokens.push(&granted.access);
    }
    for token in tokens {
        let text = token.expose();
        assert!(!text.is_empty() && text.len() <= MAX_TOKEN, "{} bytes", text.len());
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "not printable");
    }
    let spooled = serde_json::to_vec(&answer).expect("an answer can be spooled");
    assert_eq!(serde_json::from_slice::<Answer>(&spooled).expect("and read back"), answer);
    is_recorded(&login, &answer, child.as_ref());
}

fn is_recorded(login: &Login, answer: &Answer, child: Option<&Token>) {
    let parent = Token::from("r1".to_owned());
    let claim =
        Claim { id: "c".to_owned(), parent_fp: of_token(&parent), claimed_at: at(0), ..Claim::default() };
    let adopted = agent_creds_refresh::seed::adopt(&Document::default(), login, at(0), Safeguards::ON);
    let claimed = Document { claim: Some(claim.clone()), ..adopted.clone() };
    // First with the claim, then without it, as if another process had removed it.
    for document in [claimed, adopted] {
        let presentation = Presentation {
            claim: &claim,
            asked: &login.asked(),
            answer,
            http: None,
            sent_at: at(1),
            now: at(2),
            random: 0.5,
            timing: Timing::PRODUCTION,
            safeguards: Safeguards::ON,
        };
        let Some(next) = record(&document, &presentation).0 else {
            assert!(child.is_none(), "a received refresh token was left out");
            continue;
        };
        assert!(next.to_json().len() <= MAX_DOCUMENT);
        for child in child.into_iter().chain(answer.others().iter().filter(|other| **other != parent)) {
            let fp = of_token(child);
            let there = next.head_fp() == Some(fp.as_str()) || next.spare.iter().any(|spare| spare.fp == fp);
            assert!(there, "a received refresh token was lost");
        }
    }
}

/// Checks one state document. It is refused, or a rewrite keeps every field that this version does not know, and a
/// replica that reads it continues without a panic.
pub(crate) fn state(bytes: &[u8]) {
    let document = match Document::parse(Some(bytes)) {
        Ok(document) => document,
        Err(DocumentError::TooLarge | DocumentError::Malformed | DocumentError::Newer) => return,
    };
    let found: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if is_exact(&found) {
        is_rewritten(bytes, &found, &document);
    }
    follow(&document);
    follow(&ours(document));
}

/// Returns whether reading keeps every number exactly. The last digit of a fraction, or of a number too large for an
/// integer, may change. The schema has no such numbers.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

fn is_rewritten(bytes: &[u8], found: &Value, document: &Document) {
    let written = document.to_json();
    let again = match Document::parse(Some(&written)) {
        Ok(again) => again,
        // Our writer escapes some characters that other writers do not, so the rewritten document can be larger.
        Err(DocumentError::TooLarge) if bytes.len() > MAX_DOCUMENT / 8 => return,
        Err(error) => panic!("a rewritten document is refused: {error}"),
    };
    assert_eq!(again.to_json(), written, "a second rewrite changes the document");
    assert_eq!(Document { v: document.v, ..again }, *document, "a rewrite changes the document");
    survives(found, &serde_json::from_slice(&written).expect("JSON"));
}

/// Changes the document's fingerprints to those of `login()`, so that the replica continues from it and does not adopt.
fn ours(mut document: Document) -> Document {
    let login = login();
    if let Some(seed) = &mut document.seed {
        (seed.token_fp, seed.binding) = (login.token_fp, login.binding);
    }
    let configured = [
        document.access.as_mut().map(|access| &mut access.config_fp),
        document.retry.as_mut().map(|retry| &mut retry.config_fp),
        document.verdict.as_mut().map(|verdict| &mut verdict.config_fp),
    ];
    for config_fp in configured.into_iter().flatten() {
        config_fp.clone_from(&login.config_fp);
    }
    document
}

/// Checks that `after` contains everything in `before`. Absent, null and empty count as equal.
fn survives(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
                match after.get(key) {
                    Some(after) if key != "v" => survives(value, after),
                    found => assert!(empty || found.is_some(), "a rewrite removes {key}"),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            assert_eq!(before.len(), after.len());
            before.iter().zip(after).for_each(|(before, after)| survives(before, after));
        }
        // The format of a time may change.
        (Value::String(_), Value::String(_)) | (Value::Null, _) => {}
        (before, after) => assert_eq!(before, after),
    }
}

/// Drives a replica that finds this document, while hours pass and each request gets a different reply.
fn follow(document: &Document) {
    let login = login();
    let settings = Settings {
        pod: "p".to_owned(),
        process: "x".to_owned(),
        spread: u16::MAX / 3,
        keep_alive: document.r#gen % 2 == 1,
        timing: Timing::PRODUCTION,
        safeguards: Safeguards::ON,
    };
    let mut replica = Replica::new(settings, None);
    let (mut stored, mut passed, mut sent, mut event) = (document.clone(), 0_u32, false, Input::Woke);
    for step in 0..STEPS {
        let since = Duration::from_secs(passed.into());
        let now = at(0) + SignedDuration::from_secs(passed.into());
        let random = u128::MAX / u128::from(step + 1);
        let moment = Moment { now, monotonic: since, boot: since, wall: now, random, draining: false };
        let effect = replica.step(event, &moment);
        let _ = Status::of(replica.known(), replica.login(), replica.condition(), now);
        event = match effect {
            // The reply arrives while the replica waits for it.
            Effect::Wait(_) if std::mem::take(&mut sent) => Input::Replied(answer(step)),
            Effect::Wait(_) => {
                passed += 1 << (step / 4).min(14);
                Input::Woke
            }
            Effect::Read => {
                let version = format!("{:?}", stored.progress());
                let found = Found { document: Ok(stored.clone()), version, home: None };
                Input::Read(Box::new(Seen { login: Ok(login.clone()), state: Ok(found) }))
            }
            Effect::Connect(_) => Input::Connected(Ok(())),
            Effect::Write(document) => {
                assert!(
                    Document::parse(Some(&document.to_json())).is_ok(),
                    "the replica wrote a document that it cannot read"
                );
                stored = *document;
                Input::Written(Ok(()))
            }
            Effect::Spool(_) => Input::Spooled(true),
            Effect::Send(..) => {
                sent = true;
                Input::Sent
            }
        };
    }
}

fn answer(step: u8) -> Reply {
    let (status, body) = match step % 4 {
        0 => (400, r#"{"error":"invalid_grant"}"#.to_owned()),
        1 => (503, String::new()),
        2 => (429, String::new()),
        _ => (200, format!(r#"{{"access_token":"a{step}","refresh_token":"r{step}","expires_in":600}}"#)),
    };
    Reply::Http(HttpReply { status, body: body.into_bytes(), complete: true, ..HttpReply::default() })
}
