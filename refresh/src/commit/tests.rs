mod end_of_login;

use super::*;
use crate::decision::{Step, next};
use crate::fixtures::{at, claim, living, login, login_with, missing, view};
use crate::login::{Asked, Login};
use crate::reply::{HttpReply, Reply};
use crate::safeguards::Safeguards;
use crate::seed::adopt;
use crate::timing::Timing;
use crate::view::View;

fn granted(refresh: Option<&str>, scope: Option<&str>) -> Answer {
    let scope = scope.map(|scope| format!(",\"scope\":\"{scope}\"")).unwrap_or_default();
    let refresh = refresh.map(|token| format!(",\"refresh_token\":\"{token}\"")).unwrap_or_default();
    http(200, &format!(r#"{{"access_token":"a2","expires_in":600{refresh}{scope}}}"#))
}

fn http(status: u16, body: &str) -> Answer {
    let reply = HttpReply { status, body: body.into(), complete: true, ..HttpReply::default() };
    Answer::of(Reply::Http(reply), &login("r1").asked())
}

/// Records `answer` to a presentation of the head of `document` under `claim`.
fn after(document: &Document, claim: &Claim, login: &Login, answer: &Answer) -> (Option<Document>, Outcome) {
    recorded(document, claim, login, answer, (at(100), at(101), 0.5))
}

fn recorded(
    document: &Document,
    claim: &Claim,
    login: &Login,
    answer: &Answer,
    (sent_at, now, random): (Timestamp, Timestamp, f64),
) -> (Option<Document>, Outcome) {
    let (timing, safeguards) = (Timing::PRODUCTION, Safeguards::ON);
    let (asked, http) = (&login.asked(), None);
    record(document, &Presentation { claim, asked, answer, http, sent_at, now, random, timing, safeguards })
}

fn presented(login: &Login) -> (Document, Claim) {
    let mut document = living(login, "r4");
    let claim = claim(&document.refresh.as_ref().unwrap().fp, 99);
    document.claim = Some(claim.clone());
    (document, claim)
}

fn head(document: &Document) -> &str {
    document.refresh.as_ref().map_or("", |head| head.token.expose())
}

#[test]
fn a_child_replaces_its_parent() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let (next, outcome) = after(&document, &claim, &login, &granted(Some("r5"), None));
    let next = next.unwrap();
    assert_eq!((outcome, head(&next), next.r#gen), (Outcome::Success, "r5", 4));
    assert_eq!(next.spent.last(), Some(&claim.parent_fp));
    let access = next.access.as_ref().unwrap();
    assert_eq!(access.token.expose(), "a2");
    assert_eq!((access.issued_at, access.expires_at), (at(100), at(700)), "from before sending");
    assert!(next.claim.is_none() && next.doubt.is_none() && next.retry.is_none());
    assert_eq!(next.last.unwrap().by, "other");
}

#[test]
fn recording_the_same_answer_again_changes_nothing() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let answer = granted(Some("r5"), None);
    let once = after(&document, &claim, &login, &answer).0.unwrap();
    assert!(
        after(&once, &claim, &login, &answer).0.is_none(),
        "the write of which no answer came took place"
    );

    // Others have gone on: the child was presented, in doubt, or replaced. Nothing of that is undone.
    let child = once.refresh.as_ref().unwrap().fp.clone();
    let mut moved_on = once.clone();
    moved_on.spent.push(child);
    moved_on.refresh = living(&login, "r6").refresh;
    assert!(after(&moved_on, &claim, &login, &answer).0.is_none());
}

#[test]
fn lineage_decides_and_not_the_claim() {
    let login = login("r1");
    let (mut document, mine) = presented(&login);
    document.claim = Some(Claim { id: "another".to_owned(), ..mine.clone() });
    let next = after(&document, &mine, &login, &granted(Some("r5"), None)).0.unwrap();
    assert_eq!(head(&next), "r5");
    assert_eq!(next.claim.unwrap().id, "another", "a foreign claim stands");

    let (mut document, mine) = presented(&login);
    document.refresh = living(&login, "of-another-replica").refresh;
    document.claim = None;
    let next = after(&document, &mine, &login, &granted(Some("r5"), None)).0.unwrap();
    assert_eq!(head(&next), "of-another-replica");
    assert_eq!(next.spare[0].token.expose(), "r5", "kept: it may be the living one");
    assert_eq!(next.access.unwrap().token.expose(), "access");
}

#[test]
fn without_a_new_refresh_token_the_old_one_stays() {
    let login = login("r1");
    let (mut document, claim) = presented(&login);
    let next = after(&document, &claim, &login, &granted(None, None)).0.unwrap();
    assert_eq!((head(&next), next.r#gen), ("r4", 3));
    assert_eq!(next.access.as_ref().unwrap().token.expose(), "a2");
    assert!(next.retry.is_none());

    missing(&mut document, &claim, 0);
    let next = after(&document, &claim, &login, &granted(None, None)).0.unwrap();
    assert_eq!(next.retry.unwrap().reason, "rotation_lost", "the child was in the answer that was lost");
}

#[test]
fn a_downgraded_token_is_not_served_but_its_refresh_token_is_kept() {
    let file = "token_url: https://id.example.com/token\nscopes: [incidents.read]";
    let login = login_with("r1", file);
    let (document, claim) = presented(&login);
    let (next, outcome) = after(&document, &claim, &login, &granted(Some("r5"), Some("openid")));
    let next = next.unwrap();
    assert_eq!((outcome, head(&next)), (Outcome::ScopeDenied, "r5"));
    assert_eq!(next.access.as_ref().unwrap().token.expose(), "access", "the old one goes on");
    assert_eq!(next.retry.as_ref().unwrap().not_before, at(101 + 3600), "no loop");
    let (next, outcome) = after(&document, &claim, &login, &granted(Some("r5"), Some("incidents.read more")));
    assert_eq!(outcome, Outcome::Success);
    assert_eq!(next.unwrap().access.unwrap().scopes, ["incidents.read", "more"]);
}

#[test]
fn a_refusal_backs_off_for_all_replicas() {
    let login = login("r1");
    let (mut document, claim) = presented(&login);
    let busy = |retry_after_s| {
        let reply = HttpReply { status: 429, retry_after_s, complete: true, ..HttpReply::default() };
        Answer::of(Reply::Http(reply), &login.asked())
    };
    for (attempts, expected) in [(1, 7.5), (2, 12.5), (3, 22.5)] {
        let (next, outcome) = after(&document, &claim, &login, &busy(None));
        let retry = next.as_ref().unwrap().retry.clone().unwrap();
        assert_eq!(
            (outcome, retry.attempts, retry.reason.as_str()),
            (Outcome::NotCommitted, attempts, "rate_limited")
        );
        assert_eq!(retry.not_before.duration_since(at(101)).as_secs_f64(), expected);
        document = Document { claim: Some(claim.clone()), ..next.unwrap() };
    }
    let wait = |retry_after_s| {
        after(&document, &claim, &login, &busy(retry_after_s)).0.unwrap().retry.unwrap().not_before
    };
    assert_eq!(wait(Some(900)), at(101 + 900));
    assert_eq!(wait(Some(1_000_000)), at(101 + 3600), "capped");
    document.claim = None;
    assert!(after(&document, &claim, &login, &busy(None)).0.is_none(), "another replica closed the claim");
}

#[test]
fn a_missing_answer_is_doubt_where_tokens_rotate() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let lost = Answer::of(Reply::Lost(Cause::Timeout), &login.asked());
    let (next, outcome) = after(&document, &claim, &login, &lost);
    let next = next.unwrap();
    assert_eq!(outcome, Outcome::InDoubt);
    assert_eq!(next.doubt.as_ref().map(|d| (d.cause.as_str(), d.first_sent_at)), Some(("timeout", at(100))));
    assert_eq!(head(&next), "r4");

    let plain = login_with("", "token_url: https://id.example.com/token\nflow: client_credentials");
    let Step::Claim(attempt) = next_step(&plain) else { panic!("claim") };
    let (document, claim) = attempt.claimed("c1", "other", at(0), &Timing::PRODUCTION);
    let document = after(&document, &claim, &plain, &lost).0.unwrap();
    assert!(document.doubt.is_none() && document.retry.is_some(), "a repeat is harmless there");
    let unanswered = Answer::missing(Cause::Timeout, &plain.asked());
    let (document, outcome) = after(&document, &claim, &plain, &unanswered);
    assert!(document.is_none(), "another replica has closed the claim");
    assert_eq!(outcome, Outcome::NotCommitted);
}

fn next_step(login: &Login) -> Step {
    next(&view(login, &Document::default()))
}

#[test]
fn a_refresh_token_in_a_broken_answer_is_committed() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let next = after(&document, &claim, &login, &http(200, r#"{"refresh_token":"r5"}"#)).0.unwrap();
    assert_eq!((head(&next), next.r#gen), ("r5", 4));
    assert!(next.doubt.is_none() && next.retry.is_some());
}

#[test]
fn an_answer_that_cannot_be_read_is_followed_by_the_wait_of_a_doubt() {
    let login = login("r1");
    let unread = http(200, r#"{"refresh_token":"r5"}"#);
    let (document, claim) = presented(&login);
    let next = after(&document, &claim, &login, &unread).0.unwrap();
    let retry = next.retry.unwrap();
    assert_eq!((retry.reason.as_str(), retry.not_before), ("unreadable_answer", at(3420)), "the last moment");

    // Without an access token there is no such moment, and each attempt may rotate the token once more.
    let mut document = Document { access: None, ..document };
    for pause in [120, 240, 480, 960, 1920, 3840, 3840] {
        let next = after(&document, &claim, &login, &unread).0.unwrap();
        assert_eq!(next.retry.as_ref().unwrap().not_before, at(101 + pause));
        let refresh = document.refresh.clone();
        document = Document { claim: Some(claim.clone()), refresh, spent: vec![], ..next };
    }
}

#[test]
fn a_success_binds_the_login_and_its_client_secret() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let moved = login_with("r1", "token_url: https://other.example.com/token");
    // The settings changed while the answer was on its way.
    let mut elsewhere = Document { clients: Vec::new(), ..document };
    elsewhere.seed.as_mut().unwrap().binding.clone_from(&moved.binding);
    for answer in [granted(Some("r5"), None), granted(None, None), http(200, r#"{"refresh_token":"r5"}"#)] {
        let next = after(&elsewhere, &claim, &login, &answer).0.unwrap();
        assert_eq!(next.seed.as_ref().unwrap().binding, login.binding);
        assert_eq!(next.clients, living(&login, "r4").clients);
    }
    let refused = after(&elsewhere, &claim, &login, &http(400, r#"{"error":"invalid_grant"}"#)).0.unwrap();
    assert!(refused.clients.is_empty());
}

#[test]
fn the_head_before_an_unproven_login_is_not_pushed_out_by_spares() {
    let (old, new) = (login("r1"), login("n1"));
    let mut document = adopt(&living(&old, "r4"), &new, at(60), Safeguards::ON);
    for n in 0..6 {
        let fp = n.to_string();
        keep_spare(&mut document, Spare { fp, ..Spare::default() });
    }
    let lineage: Vec<_> = document.spare.iter().filter(|spare| spare.seed.is_some()).collect();
    assert_eq!((lineage.len(), document.spare.len()), (1, 4));
    assert_eq!(lineage[0].token.expose(), "r4");
}

#[test]
fn both_refresh_tokens_of_an_ambiguous_answer_are_kept() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let two = http(200, r#"{"access_token":"a2","refresh_token":"r5","refresh_token":"r6"}"#);
    let (next, outcome) = after(&document, &claim, &login, &two);
    let next = next.unwrap();
    assert_eq!((outcome, head(&next)), (Outcome::Success, "r6"));
    assert_eq!(next.spare.iter().map(|spare| spare.token.expose()).collect::<Vec<_>>(), ["r5"]);
    // The provider knows the other one.
    let head_fp = next.head_fp().unwrap().to_owned();
    let claim = Claim { parent_fp: head_fp, ..claim };
    let claimed = Document { claim: Some(claim.clone()), ..next };
    let dead = http(400, r#"{"error":"invalid_grant"}"#);
    let next = after(&claimed, &claim, &login, &dead).0.unwrap();
    assert_eq!((head(&next), next.verdict.is_none()), ("r5", true));
}

#[test]
fn a_token_of_another_type_is_not_served_but_its_refresh_token_is_kept() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let bound = http(200, r#"{"access_token":"a2","refresh_token":"r5","token_type":"DPoP"}"#);
    let (next, outcome) = after(&document, &claim, &login, &bound);
    let next = next.unwrap();
    assert_eq!((outcome, head(&next)), (Outcome::UnsupportedTokenType, "r5"));
    assert_eq!(next.access.as_ref().unwrap().token.expose(), "access", "the old one goes on");
    let retry = next.retry.unwrap();
    assert_eq!((retry.reason.as_str(), retry.not_before), ("unsupported_token_type", at(101 + 3600)));
}

#[test]
fn a_doubt_waits_as_long_as_the_provider_asks() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let document = Document { access: None, ..document };
    let busy = |retry_after_s| {
        let reply = HttpReply { status: 503, retry_after_s, complete: true, ..HttpReply::default() };
        let answer = Answer::of(Reply::Http(reply), &login.asked());
        after(&document, &claim, &login, &answer).0.unwrap().doubt.unwrap().replay_not_before
    };
    assert_eq!(busy(None), at(99 + 60));
    assert_eq!(busy(Some(600)), at(101 + 600));
    assert_eq!(busy(Some(1_000_000)), at(101 + 3600), "capped");
}

#[test]
fn invalid_grant_counts_against_the_presented_token_only() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let dead = http(400, r#"{"error":"invalid_grant"}"#);
    let next = after(&document, &claim, &login, &dead).0.unwrap();
    let verdict = next.verdict.as_ref().unwrap();
    assert_eq!((&verdict.fp, verdict.next_probe), (&claim.parent_fp, at(101 + 60)));
    assert_eq!(head(&next), "r4", "nothing is deleted");

    let mut moved_on = document.clone();
    moved_on.refresh = living(&login, "r5").refresh;
    assert!(after(&moved_on, &claim, &login, &dead).0.unwrap().verdict.is_none());
}

#[test]
fn a_rejected_new_login_brings_the_old_lineage_back() {
    let (old, new) = (login("r1"), login("n1"));
    let before = living(&old, "r4");
    let Step::Claim(attempt) = next(&View { now: at(60), ..view(&new, &before) }) else { panic!("claim") };
    let (document, claim) = attempt.claimed("c1", "me", at(99), &Timing::PRODUCTION);
    let back = after(&document, &claim, &new, &http(400, r#"{"error":"invalid_grant"}"#)).0.unwrap();
    assert_eq!(head(&back), "r4");
    assert_eq!(
        back.seed.as_ref().map(|seed| (seed.seq, &seed.token_fp)),
        Some((3, &old.token_fp)),
        "it never counts back"
    );
    assert!(back.verdict.is_none());
    assert!(back.seeds_seen.iter().any(|seen| seen.fp == new.token_fp && seen.verdict == "rejected"));

    // The old head was in doubt before: it is in doubt again.
    let mut living = before.clone();
    living.refresh.as_mut().unwrap().presented = Presented::InDoubt;
    let Step::Claim(attempt) = next(&View { now: at(60), ..view(&new, &living) }) else { panic!("claim") };
    let (doubtful, _) = attempt.claimed("c1", "me", at(99), &Timing::PRODUCTION);
    let back = after(&doubtful, &claim, &new, &http(400, r#"{"error":"invalid_grant"}"#)).0.unwrap();
    assert_eq!(back.doubt.map(|doubt| doubt.replay_not_before), Some(at(3420)), "not before the last moment");

    let proven = after(&document, &claim, &new, &granted(Some("n2"), None)).0.unwrap();
    assert_eq!(head(&proven), "n2");
    assert!(proven.spare.is_empty() && proven.seed.unwrap().proven);
}

#[test]
fn a_verdict_is_probed_more_and_more_rarely() {
    let login = login("r1");
    let (document, claim) = presented(&login);
    let dead = http(400, r#"{"error":"invalid_grant"}"#);
    let probe = |document: &Document, now: i64| {
        let document = Document { claim: Some(claim.clone()), ..document.clone() };
        recorded(&document, &claim, &login, &dead, (at(now), at(now), 0.0)).0.unwrap()
    };
    let mut document = document;
    for (now, wait) in [(0, 60), (60, 3600), (3700, 86_400), (90_000, 86_400)] {
        document = probe(&document, now);
        assert_eq!(document.verdict.as_ref().unwrap().next_probe, at(now + wait));
    }
}
