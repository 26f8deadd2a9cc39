mod bindings;

use jiff::SignedDuration;

use super::*;
use crate::document::{Last, Presented, Retry, Seed, Verdict};
use crate::fixtures::{NOW, at, claim, living, login, login_with, missing, seen, view};
use crate::login::Login;
use crate::seed::is_stale;

fn claimed(step: Step) -> Attempt {
    match step {
        Step::Claim(attempt) => *attempt,
        other => panic!("expected a claim, got {other:?}"),
    }
}

fn waits(step: Step) -> Option<Timestamp> {
    match step {
        Step::Wait(until) => until,
        other => panic!("expected a wait, got {other:?}"),
    }
}

#[test]
fn an_empty_state_adopts_the_login_and_claims() {
    let login = login("r1");
    let attempt = claimed(next(&view(&login, &Document::default())));
    assert_eq!(attempt.token.expose(), "r1");
    assert_eq!(attempt.parent_fp, login.token_fp);
    let seed = attempt.document.seed.as_ref().unwrap();
    assert_eq!((seed.seq, seed.proven, &seed.binding), (1, false, &login.binding));

    let written = attempt.claimed("c9", "me", at(0), &Timing::PRODUCTION);
    assert_eq!(written.0.claim.as_ref(), Some(&written.1));
    let claim = written.1;
    assert_eq!((claim.id.as_str(), claim.holder.as_str(), claim.term_s), ("c9", "me", 60));
    assert_eq!(claim.parent_fp, login.token_fp);
}

#[test]
fn waits_until_a_spread_eighty_percent_of_life() {
    let login = login("r1");
    let document = living(&login, "r4");
    for (spread, expected) in [(0.0, 2700), (0.5, 2880), (1.0, 3060)] {
        let until = waits(next(&View { spread, ..view(&login, &document) }));
        assert_eq!(until, Some(at(expected)));
    }
    let attempt = claimed(next(&View { now: at(2880), ..view(&login, &document) }));
    assert_eq!(attempt.token.expose(), "r4", "the head, not the login");
    assert_eq!(attempt.purpose, Purpose::Refresh);
}

#[test]
fn refreshes_five_minutes_before_the_end_where_life_allows() {
    let login = login("r1");
    let due = |life: i64| {
        let mut document = living(&login, "r4");
        let access = document.access.as_mut().unwrap();
        (access.lifetime_s, access.expires_at) = (life, at(life));
        waits(next(&view(&login, &document))).unwrap().as_second() - NOW
    };
    assert_eq!(due(1000), 675, "five minutes before, and spread");
    assert_eq!(due(86_400), 69_120);
    assert_eq!(due(300), 240, "no room for five minutes: 80 %");
    assert_eq!(due(10), 8);
}

#[test]
fn a_late_place_in_the_spread_means_a_late_refresh_for_every_lifetime() {
    let login = login("r1");
    for life in [10, 300, 900, 1000, 1300, 1500, 3600, 86_400] {
        let mut document = living(&login, "r4");
        let access = document.access.as_mut().unwrap();
        (access.lifetime_s, access.expires_at) = (life, at(life));
        let due = |spread: f64| waits(next(&View { spread, ..view(&login, &document) })).unwrap();
        assert!(due(0.0) < due(0.5) && due(0.5) < due(1.0), "{life}: {} {}", due(0.0), due(1.0));
    }
}

#[test]
fn replicas_act_in_turn_on_an_event_that_all_of_them_see() {
    let login = login("r1");
    let document = living(&login, "r4");
    let fp = document.access.as_ref().unwrap().fp.clone();
    let turn = SignedDuration::from_secs(2);
    let (rejected, now, informed_at) = (Some(&*fp), at(100), at(100));
    let refused = View { rejected, now, informed_at, turn, ..view(&login, &document) };
    assert_eq!(waits(next(&refused)), Some(at(102)));
    assert_eq!(claimed(next(&View { now: at(102), ..refused })).purpose, Purpose::Forced);
    assert_eq!(waits(next(&View { settled_at: at(103), ..refused })), Some(at(105)), "after the settling");
    let soon = View { now: at(10), informed_at: at(10), ..refused };
    assert_eq!(waits(next(&soon)), Some(at(62)), "all may again at the same time");
}

#[test]
fn a_foreign_claim_is_waited_for_until_it_was_silent_for_its_term() {
    let login = login("r1");
    let mut document = living(&login, "r4");
    let head = document.refresh.as_ref().unwrap().fp.clone();
    document.claim = Some(claim(&head, -600));
    let now = at(3500);
    assert_eq!(waits(next(&View { now, ..view(&login, &document) })), None, "its age alone says nothing");
    assert_eq!(waits(next(&View { now, silent_claim: Some("c0"), ..view(&login, &document) })), None);

    let Step::Write(written) = next(&View { now, silent_claim: Some("c1"), ..view(&login, &document) })
    else {
        panic!("a doubt")
    };
    let doubt = written.doubt.as_ref().unwrap();
    assert!(written.claim.is_none());
    assert_eq!((doubt.cause.as_str(), doubt.replays, &doubt.parent_fp), ("silent", 0, &head));
    assert_eq!(doubt.replay_not_before, at(3600 - 180), "the last responsible moment");
    assert_eq!(written.refresh.as_ref().unwrap().presented, Presented::InDoubt);

    assert_eq!(
        waits(next(&view(&login, &written))),
        Some(at(3423)),
        "not presented again before, and spread"
    );
    assert_eq!(claimed(next(&View { now: at(3423), ..view(&login, &written) })).purpose, Purpose::Replay);
}

#[test]
fn a_silent_claim_on_what_cannot_rotate_is_no_doubt() {
    let login = login_with("", "token_url: https://id.example.com/token\nflow: client_credentials");
    let mut document = claimed(next(&view(&login, &Document::default()))).document;
    document.claim = Some(claim(&login.token_fp, 0));
    let Step::Write(written) = next(&View { silent_claim: Some("c1"), ..view(&login, &document) }) else {
        panic!("cleared")
    };
    assert!(written.claim.is_none() && written.doubt.is_none());
    claimed(next(&view(&login, &written)));
}

#[test]
fn a_second_doubt_waits_longer() {
    let login = login("r1");
    let mut document = living(&login, "r4");
    let head = document.refresh.as_ref().unwrap().fp.clone();
    for (replays, backoff) in [(0, 60), (1, 120), (2, 240)] {
        missing(&mut document, &claim(&head, 4000), 4000);
        let noted = document.doubt.as_ref().unwrap();
        assert_eq!((noted.replays, noted.first_sent_at), (replays, at(4000)));
        assert_eq!(noted.replay_not_before, at(4000 + backoff));
    }
}

#[test]
fn shared_backoff_holds_all_replicas_until_the_settings_change() {
    let login = login("r1");
    let mut document = living(&login, "r4");
    document.access = None;
    document.retry = Some(Retry {
        attempts: 3,
        not_before: at(100),
        reason: "rate_limited".to_owned(),
        config_fp: login.config_fp.clone(),
        ..Retry::default()
    });
    assert_eq!(waits(next(&view(&login, &document))), Some(at(103)), "spread");
    let behind = View { yields: true, spread: 0.0, ..view(&login, &document) };
    assert_eq!(
        waits(next(&behind)),
        Some(at(106)),
        "a replica that could not connect waits behind the others"
    );
    let other = login_with("r1", "token_url: https://id.example.com/token\nscopes: [x]");
    claimed(next(&view(&other, &document)));
}

#[test]
fn a_verdict_is_probed_at_its_time_and_falls_with_new_settings() {
    let login = login("r1");
    let mut document = living(&login, "r4");
    let fp = document.refresh.as_ref().unwrap().fp.clone();
    let verdict = |fp: String| Verdict {
        fp,
        error: "invalid_grant".to_owned(),
        at: at(0),
        next_probe: at(60),
        config_fp: login.config_fp.clone(),
        ..Verdict::default()
    };
    document.access = None;
    document.verdict = Some(verdict(fp));
    assert_eq!(waits(next(&view(&login, &document))), Some(at(63)));
    assert_eq!(claimed(next(&View { now: at(63), ..view(&login, &document) })).purpose, Purpose::Probe);
    document.verdict = Some(verdict("about another token".to_owned()));
    claimed(next(&view(&login, &document)));
}

#[test]
fn a_new_login_keeps_the_old_head_aside_and_goes_first() {
    let (old, new) = (login("r1"), login("n1"));
    let document = living(&old, "r4");
    assert_eq!(waits(next(&view(&new, &document))), Some(at(60)), "redemptions keep their distance");
    let attempt = claimed(next(&View { now: at(60), ..view(&new, &document) }));
    assert_eq!(attempt.token.expose(), "n1");
    let after = &attempt.document;
    assert_eq!(after.seed.as_ref().map(|seed| (seed.seq, seed.proven)), Some((2, false)));
    assert_eq!(after.spare[0].token.expose(), "r4");
    assert_eq!(after.seeds_seen[0].fp, old.token_fp);
    assert!(after.access.is_some(), "served to its end");
}

#[test]
fn an_old_login_that_is_put_back_changes_nothing() {
    let (old, new) = (login("r1"), login("n1"));
    let mut document = living(&new, "n4");
    seen(&mut document, &old, "replaced");
    assert!(is_stale(&document, &old));
    assert_eq!(waits(next(&view(&old, &document))), Some(at(2880)));
    let spent = login("n4-before");
    document.spent.push(spent.token_fp.clone());
    assert!(is_stale(&document, &spent), "a token that was replaced is no new login");
    assert!(!is_stale(&document, &new));
}

#[test]
fn changed_settings_ask_for_a_new_token_but_not_at_every_keystroke() {
    let login = login("r1");
    let document = living(&login, "r4");
    let other = login_with("r1", "token_url: https://id.example.com/token\nscopes: [x]");
    assert_eq!(waits(next(&view(&other, &document))), Some(at(300)));
    claimed(next(&View { now: at(300), ..view(&other, &document) }));
}

#[test]
fn redemptions_keep_their_distance() {
    let login = login("r1");
    let mut document = living(&login, "r4");
    document.seed.as_mut().unwrap().proven = false;
    assert_eq!(waits(next(&view(&login, &document))), Some(at(60)));
    document.access.as_mut().unwrap().lifetime_s = 100;
    assert_eq!(waits(next(&view(&login, &document))), Some(at(10)));
}

#[test]
fn a_draining_or_outdated_replica_claims_nothing() {
    let login = login("r1");
    let document = Document { access: None, ..living(&login, "r4") };
    assert_eq!(waits(next(&View { draining: true, ..view(&login, &document) })), None);
    let newer = Document { min_writer: 2, ..document };
    assert!(matches!(next(&view(&login, &newer)), Step::Refuse(Outlook::StateNewer)));
}

#[test]
fn a_probe_under_a_verdict_waits_for_backoff_and_doubt_like_everything_else() {
    let login = login("r1");
    let mut document = Document { access: None, ..living(&login, "r4") };
    let fp = document.refresh.as_ref().unwrap().fp.clone();
    document.verdict = Some(Verdict {
        fp: fp.clone(),
        error: "invalid_grant".to_owned(),
        at: at(-600),
        next_probe: at(-10),
        config_fp: login.config_fp.clone(),
        ..Verdict::default()
    });
    let config_fp = login.config_fp.clone();
    document.retry = Some(Retry {
        attempts: 1,
        not_before: at(30),
        reason: "dns".to_owned(),
        config_fp,
        ..Retry::default()
    });
    assert_eq!(waits(next(&view(&login, &document))), Some(at(33)));
    document.retry = None;
    missing(&mut document, &claim(&fp, 0), 0);
    assert_eq!(waits(next(&view(&login, &document))), Some(at(63)));
}

#[test]
fn a_login_that_never_worked_does_not_push_the_living_one_out() {
    let old = login("r1");
    let mut document = living(&old, "r4");
    for n in 0..6 {
        let typo = login(&format!("typo{n}"));
        document = claimed(next(&View { now: at(100), ..view(&typo, &document) })).document;
    }
    let kept: Vec<_> = document.spare.iter().map(|spare| spare.token.expose()).collect();
    assert_eq!(kept, ["r4"]);
}

#[test]
fn a_backoff_written_with_a_fast_clock_is_capped() {
    let login = login("r1");
    let mut document = Document { access: None, ..living(&login, "r4") };
    let config_fp = login.config_fp.clone();
    document.retry = Some(Retry {
        attempts: 1,
        not_before: at(86_400),
        reason: "dns".to_owned(),
        config_fp,
        ..Retry::default()
    });
    document.last.as_mut().unwrap().redeemed_at = at(86_400);
    assert_eq!(waits(next(&view(&login, &document))), Some(at(3603)));
}

#[test]
fn corrected_settings_are_tried_at_once_where_there_is_nothing_to_serve() {
    let login = login("r1");
    let document = living(&login, "r4");
    let other = login_with("r1", "token_url: https://id.example.com/token\nclient_auth: post");
    assert_ne!(other.config_fp, login.config_fp, "client authentication is a setting");
    let document =
        Document { last: Some(Last { redeemed_at: at(3590), ..document.last.clone().unwrap() }), ..document };
    claimed(next(&View { now: at(3700), ..view(&other, &document) }));
}
