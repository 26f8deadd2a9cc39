//! Logins, documents and views for the tests of the protocol.

use std::collections::BTreeMap;

use agent_creds_core::grant::Grant;
use agent_creds_core::provider::Replay;
use jiff::{SignedDuration, Timestamp};

use super::cause::Cause;
use super::clients;
use super::document::{Access, Claim, Document, Last, Presented, Purpose, Refresh, Seed, SeenSeed, Token};
use super::doubt::{Missing, doubt};
use super::fingerprint;
use super::login::Login;
use super::safeguards::Safeguards;
use super::seed::remember;
use super::timing::Timing;
use super::view::View;

pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

pub(crate) fn login_with(token: &str, file: &str) -> Login {
    let mut data = BTreeMap::from([
        ("client_id".to_owned(), b"id".to_vec()),
        ("client_secret".to_owned(), b"hush".to_vec()),
        ("grant.yaml".to_owned(), file.as_bytes().to_vec()),
    ]);
    if !token.is_empty() {
        data.insert("refresh_token".to_owned(), token.as_bytes().to_vec());
    }
    Login::new(Grant::read(Some("oauth2"), &data).unwrap())
}

pub(crate) fn login(token: &str) -> Login {
    login_with(token, "token_url: https://id.example.com/token")
}

pub(crate) fn view<'a>(login: &'a Login, document: &'a Document) -> View<'a> {
    View {
        login,
        document,
        home: None,
        now: at(0),
        silent_claim: None,
        settled_at: at(0),
        informed_at: at(0),
        turn: SignedDuration::ZERO,
        rejected: None,
        keep_alive: None,
        spread: 0.5,
        yields: false,
        draining: false,
        timing: Timing::PRODUCTION,
        safeguards: Safeguards::ON,
    }
}

/// A document in the middle of its life: login `seed`, head `head`, an access token of an hour issued at `NOW`.
pub(crate) fn living(login: &Login, head: &str) -> Document {
    let head = Token::from(head.to_owned());
    let mut accepted = Vec::new();
    clients::accept(&mut accepted, &login.asked());
    Document {
        clients: accepted,
        seed: Some(Seed {
            seq: 1,
            token_fp: login.token_fp.clone(),
            binding: login.binding.clone(),
            adopted_at: at(-7200),
            proven: true,
            ..Seed::default()
        }),
        r#gen: 3,
        refresh: Some(Refresh {
            fp: fingerprint::of_token(&head),
            token: head,
            obtained_at: at(0),
            presented: Presented::Never,
            ..Refresh::default()
        }),
        spent: vec![login.token_fp.clone()],
        access: Some(Access {
            token: Token::from("access".to_owned()),
            fp: "access-fp".to_owned(),
            issued_at: at(0),
            expires_at: at(3600),
            lifetime_s: 3600,
            scopes: Vec::new(),
            config_fp: login.config_fp.clone(),
            ..Access::default()
        }),
        last: Some(Last { redeemed_at: at(0), outcome: "success".to_owned(), ..Last::default() }),
        ..Document::default()
    }
}

/// Records that a login was replaced or rejected.
pub(crate) fn seen(document: &mut Document, login: &Login, verdict: &str) {
    let binding = (verdict == "rejected").then(|| login.binding.clone());
    let (fp, verdict) = (login.token_fp.clone(), verdict.to_owned());
    remember(document, SeenSeed { fp, verdict, binding, ..SeenSeed::default() });
}

pub(crate) fn claim(parent: &str, seconds: i64) -> Claim {
    Claim {
        id: "c1".to_owned(),
        holder: "other".to_owned(),
        parent_fp: parent.to_owned(),
        purpose: Purpose::Refresh,
        claimed_at: at(seconds),
        term_s: 60,
        ..Claim::default()
    }
}

/// An answer went missing.
pub(crate) fn missing(document: &mut Document, claim: &Claim, seconds: i64) {
    let (cause, sent_at) = (Cause::Timeout, at(seconds));
    let missing = Missing { claim, cause, http: None, sent_at, replay: Replay::Unknown, not_before: sent_at };
    doubt(document, &missing, at(seconds), &Timing::PRODUCTION);
}
