use super::*;
use crate::document::{Doubt, Retry, Verdict};
use crate::fixtures::{at, living, login, seen};
use crate::reason::{NotSent, ReasonSet, Refused};

/// A condition of another layer.
fn outer(word: &'static str, severity: Severity) -> Reason {
    Reason { word, sentence: "something is wrong", severity }
}

fn state(document: &Document, condition: Option<Reason>, now: i64) -> (State, &'static str) {
    let condition = condition.map(|reason| Condition { reason, message: "Secret ops/x: wrong".to_owned() });
    let status = Status::of(document, Some(&login("r1")), condition.as_ref(), at(now));
    (status.state, status.reason.word)
}

fn retry(reason: &str) -> Option<Retry> {
    let config_fp = login("r1").config_fp;
    Some(Retry { attempts: 1, not_before: at(0), reason: reason.to_owned(), config_fp, ..Retry::default() })
}

#[test]
fn the_token_decides_between_pending_ready_and_expired() {
    let document = living(&login("r1"), "r4");
    assert_eq!(state(&Document::default(), None, 0), (State::Pending, "starting"));
    assert_eq!(state(&document, None, 0), (State::Ready, "ok"));
    assert_eq!(state(&document, None, 3569), (State::Ready, "ok"));
    assert_eq!(state(&document, None, 3570).0, State::Expired, "30 s before its end");
}

#[test]
fn serving_stops_before_the_end() {
    assert!(is_served(at(3600), 3600, at(3569)) && !is_served(at(3600), 3600, at(3570)));
    assert!(is_served(at(100), 100, at(94)) && !is_served(at(100), 100, at(95)), "5 % of a short life");
    assert!(is_served(at(4), 4, at(3)) && !is_served(at(4), 4, at(4)));
}

#[test]
fn a_failure_degrades_while_the_token_is_valid() {
    let mut document = living(&login("r1"), "r4");
    document.retry = retry("rate_limited");
    assert_eq!(state(&document, None, 0), (State::Degraded, "rate_limited"));
    assert_eq!(state(&document, None, 4000), (State::Expired, "rate_limited"));
    document.access = None;
    assert_eq!(state(&document, None, 0), (State::Pending, "rate_limited"));

    let mut document = living(&login("r1"), "r4");
    document.doubt = Some(Doubt {
        parent_fp: document.refresh.as_ref().unwrap().fp.clone(),
        first_sent_at: at(0),
        cause: "timeout".to_owned(),
        replay_not_before: at(0),
        replays: 0,
        ..Doubt::default()
    });
    assert_eq!(state(&document, None, 0), (State::Degraded, "in_doubt"));
    let outage = outer("store_unavailable", Severity::Outage);
    assert_eq!(state(&living(&login("r1"), "r4"), Some(outage), 0).0, State::Degraded);
    assert_eq!(state(&Document::default(), Some(outage), 0).0, State::Pending);
}

#[test]
fn a_message_about_an_answer_says_how_it_came() {
    let (login, before) = (login("r1"), login("r0"));
    let message = |document: &Document| Status::of(document, Some(&login), None, at(0)).message;
    let http = |status, media_type: Option<&str>| {
        Some(Http { status, media_type: media_type.map(str::to_owned), ..Http::default() })
    };
    let mut document = living(&login, "r4");
    document.retry = retry("invalid_client").map(|retry| Retry { http: http(401, None), ..retry });
    assert_eq!(message(&document), format!("{} (HTTP 401)", Refused::InvalidClient.sentence()));
    document.retry = None;
    let parent_fp = document.refresh.as_ref().unwrap().fp.clone();
    let doubt = |cause: &str, http| Doubt {
        parent_fp: parent_fp.clone(),
        cause: cause.to_owned(),
        http,
        ..Doubt::default()
    };
    document.doubt = Some(doubt("unexpected_status", http(403, Some("text/html"))));
    assert_eq!(
        message(&document),
        "the token endpoint sent something that is not an OAuth answer; the refresh token is not presented again before \
         the provider's rule allows it (HTTP 403 with text/html)"
    );
    document.doubt = Some(doubt("not_json", http(200, Some("text/html"))));
    let status = Status::of(&document, Some(&login), None, at(0));
    assert_eq!((status.state, status.reason.word), (State::Degraded, "unreadable_answer"));
    assert!(
        status.message.contains("kept in the spool") && status.message.ends_with("(HTTP 200 with text/html)")
    );
    document.doubt = Some(doubt("redirected", http(303, None)));
    assert_eq!(state(&document, None, 0), (State::Misconfigured, "redirected"));
    document.doubt = Some(doubt("of a newer version", None));
    assert_eq!(state(&document, None, 0), (State::Degraded, "in_doubt"));
    document.verdict = Some(Verdict {
        fp: parent_fp,
        error: "invalid_grant".to_owned(),
        config_fp: login.config_fp.clone(),
        http: http(400, None),
        ..Verdict::default()
    });
    assert_eq!(message(&document), format!("{} (HTTP 400)", Outlook::InvalidGrant.sentence()));
    let mut back = living(&before, "r0.4");
    seen(&mut back, &login, "rejected");
    back.seeds_seen[0].http = http(400, None);
    assert_eq!(message(&back), format!("{} (HTTP 400)", Outlook::NewSeedRejected.sentence()));
}

#[test]
fn a_reason_that_needs_a_person_wins() {
    let mut document = living(&login("r1"), "r4");
    document.retry = retry("invalid_client");
    assert_eq!(state(&document, None, 0), (State::Misconfigured, "invalid_client"));
    assert_eq!(
        state(&document, Some(outer("store_unavailable", Severity::Outage)), 0),
        (State::Misconfigured, "invalid_client"),
        "an outage hides nothing that a person has to correct"
    );
    for severity in [Severity::Misconfigured, Severity::Denied] {
        assert_eq!(state(&document, Some(outer("missing", severity)), 0), (State::Misconfigured, "missing"));
    }
    document.retry = retry("scope_downgraded");
    assert_eq!(state(&document, None, 0), (State::ScopeDenied, "scope_downgraded"));
    document.verdict = Some(Verdict {
        fp: document.refresh.as_ref().unwrap().fp.clone(),
        error: "invalid_grant".to_owned(),
        at: at(0),
        next_probe: at(60),
        config_fp: login("r1").config_fp,
        ..Verdict::default()
    });
    assert_eq!(state(&document, None, 0), (State::ReauthRequired, "invalid_grant"));
    document.verdict.as_mut().unwrap().fp = "of an older head".to_owned();
    assert_ne!(state(&document, None, 0).0, State::ReauthRequired);
}

#[test]
fn a_stale_login_is_told_without_an_alarm() {
    let mut document = living(&login("n1"), "n4");
    seen(&mut document, &login("r1"), "replaced");
    assert_eq!(state(&document, None, 0), (State::Ready, "stale_seed"));
    seen(&mut document, &login("r1"), "rejected");
    assert_eq!(state(&document, None, 0), (State::Degraded, "new_seed_rejected"));
}

#[test]
fn every_reason_has_a_sentence_and_a_word_of_another_version_a_state() {
    fn sentences<T: ReasonSet>() -> impl Iterator<Item = Reason> {
        T::VARIANTS.iter().map(|reason| Reason::from(*reason))
    }
    let all = sentences::<NotSent>().chain(sentences::<Refused>()).chain(sentences::<Outlook>());
    for reason in all.filter(|reason| reason.word != "ok") {
        assert!(reason.sentence.len() > 20, "{reason:?}");
    }
    let mut document = living(&login("r1"), "r4");
    document.retry = retry("a_word_of_tomorrow");
    assert_eq!(state(&document, None, 0), (State::Degraded, "oauth_error"));
}

#[test]
fn an_unknown_key_of_the_grant_secret_is_in_the_message_and_changes_no_state() {
    let mut login = login("r1");
    let message = |login: &Login, document: &Document| {
        let status = Status::of(document, Some(login), None, at(0));
        (status.state, status.message)
    };
    let mut document = living(&login, "r4");
    assert_eq!(message(&login, &document), (State::Ready, String::new()));
    let warning = "key client-id: no such key; did you mean client_id?";
    std::sync::Arc::make_mut(&mut login.grant).warnings.push(warning.to_owned());
    assert_eq!(message(&login, &document), (State::Ready, warning.to_owned()));
    document.retry = retry("rate_limited");
    let sentence = Refused::RateLimited.sentence();
    assert_eq!(message(&login, &document), (State::Degraded, format!("{sentence}; {warning}")));
}
