use super::*;
use crate::grant::document::{Doubt, Retry, Verdict};
use crate::grant::fixtures::{at, living, login};
use crate::grant::seed::remember;

fn state(document: &Document, trouble: Option<Reason>, now: i64) -> (State, Reason) {
    let trouble = trouble.map(|reason| Trouble { reason, message: "Secret ops/x: wrong".to_owned() });
    let status = Status::of(document, Some(&login("r1")), trouble.as_ref(), at(now));
    (status.state, status.reason)
}

fn retry(reason: &str) -> Option<Retry> {
    let config_fp = login("r1").config_fp;
    Some(Retry { attempts: 1, not_before: at(0), reason: reason.to_owned(), config_fp, ..Retry::default() })
}

#[test]
fn the_token_decides_between_pending_ready_and_expired() {
    let document = living(&login("r1"), "r4");
    assert_eq!(state(&Document::default(), None, 0), (State::Pending, Reason::Starting));
    assert_eq!(state(&document, None, 0), (State::Ready, Reason::Ok));
    assert_eq!(state(&document, None, 3569), (State::Ready, Reason::Ok));
    assert_eq!(state(&document, None, 3570).0, State::Expired, "30 s before its end");
}

#[test]
fn serving_stops_before_the_end() {
    assert!(is_served(at(3600), 3600, at(3569)) && !is_served(at(3600), 3600, at(3570)));
    assert!(is_served(at(100), 100, at(94)) && !is_served(at(100), 100, at(95)), "5 % of a short life");
    assert!(is_served(at(4), 4, at(3)) && !is_served(at(4), 4, at(4)));
}

#[test]
fn trouble_degrades_while_the_token_lives() {
    let mut document = living(&login("r1"), "r4");
    document.retry = retry("rate_limited");
    assert_eq!(state(&document, None, 0), (State::Degraded, Reason::RateLimited));
    assert_eq!(state(&document, None, 4000), (State::Expired, Reason::RateLimited));
    document.access = None;
    assert_eq!(state(&document, None, 0), (State::Pending, Reason::RateLimited));

    let mut document = living(&login("r1"), "r4");
    document.doubt = Some(Doubt {
        parent_fp: document.refresh.as_ref().unwrap().fp.clone(),
        first_sent_at: at(0),
        cause: "timeout".to_owned(),
        replay_not_before: at(0),
        replays: 0,
        ..Doubt::default()
    });
    assert_eq!(state(&document, None, 0), (State::Degraded, Reason::InDoubt));
    for outage in [Reason::StoreUnavailable, Reason::IdentityUnavailable] {
        assert_eq!(state(&living(&login("r1"), "r4"), Some(outage), 0).0, State::Degraded);
        assert_eq!(state(&Document::default(), Some(outage), 0).0, State::Pending);
    }
}

#[test]
fn what_a_person_must_mend_wins() {
    let mut document = living(&login("r1"), "r4");
    document.retry = retry("invalid_client");
    assert_eq!(state(&document, None, 0), (State::Misconfigured, Reason::InvalidClient));
    assert_eq!(
        state(&document, Some(Reason::StoreUnavailable), 0),
        (State::Misconfigured, Reason::InvalidClient),
        "an outage hides nothing that a person must mend"
    );
    for missing in [
        Reason::GrantMissing,
        Reason::IdentityRefused,
        Reason::AssumeMissing,
        Reason::AccountMissing,
        Reason::MintMissing,
    ] {
        assert_eq!(state(&document, Some(missing), 0), (State::Misconfigured, missing));
    }
    document.retry = retry("scope_downgraded");
    assert_eq!(state(&document, None, 0), (State::ScopeDenied, Reason::ScopeDowngraded));
    document.verdict = Some(Verdict {
        fp: document.refresh.as_ref().unwrap().fp.clone(),
        error: "invalid_grant".to_owned(),
        at: at(0),
        next_probe: at(60),
        config_fp: login("r1").config_fp,
        ..Verdict::default()
    });
    assert_eq!(state(&document, None, 0), (State::ReauthRequired, Reason::InvalidGrant));
    document.verdict.as_mut().unwrap().fp = "of an older head".to_owned();
    assert_ne!(state(&document, None, 0).0, State::ReauthRequired);
}

#[test]
fn a_stale_login_is_told_without_an_alarm() {
    let mut document = living(&login("n1"), "n4");
    remember(&mut document, &login("r1").token_fp, "replaced");
    assert_eq!(state(&document, None, 0), (State::Ready, Reason::StaleSeed));
    remember(&mut document, &login("r1").token_fp, "rejected");
    assert_eq!(state(&document, None, 0), (State::Degraded, Reason::NewSeedRejected));
}

#[test]
fn every_trouble_has_a_sentence_and_a_word_of_another_version_a_state() {
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::Ok) {
        assert!(reason.sentence().len() > 20, "{reason:?}");
    }
    let mut document = living(&login("r1"), "r4");
    document.retry = retry("a_word_of_tomorrow");
    assert_eq!(state(&document, None, 0), (State::Degraded, Reason::OauthError));
}
