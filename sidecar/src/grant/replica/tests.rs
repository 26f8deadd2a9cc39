use super::*;
use crate::grant::document::Last;
use crate::grant::fixtures::{at, living, login};
use crate::grant::rules::{Rules, Timing};
use crate::grant::status::Trouble;
use crate::outcome::Reason;

fn replica() -> Replica {
    replica_at(0)
}

fn replica_at(spread: u16) -> Replica {
    let settings = Settings {
        pod: "pod".to_owned(),
        process: "process".to_owned(),
        spread,
        rarely: false,
        timing: Timing::PRODUCTION,
        rules: Rules::PRODUCTION,
    };
    Replica::new(settings, None)
}

fn moment(second: i64) -> Moment {
    let elapsed = Duration::from_secs(second.unsigned_abs());
    Moment {
        now: at(second),
        monotonic: elapsed,
        boot: elapsed,
        wall: at(second),
        random: 0,
        draining: false,
    }
}

fn seen(document: Document) -> Event {
    let found = Found { document: Ok(document), home: None, version: String::new() };
    Event::Read(Box::new(Seen { login: Ok(login("r1")), state: Ok(found) }))
}

#[test]
fn a_claim_that_its_holder_put_back_is_waited_for_anew() {
    let mut replica = replica();
    let claim = |rev| {
        let claim = Claim {
            id: "c".to_owned(),
            holder: "other/1".to_owned(),
            parent_fp: "r4".to_owned(),
            ..Claim::default()
        };
        Document { claim: Some(claim), rev, ..living(&login("r1"), "r4") }
    };
    let mut step = |event: Event, second: i64| replica.step(event, &moment(second));
    step(seen(claim(1)), 0);
    step(Event::Woke, 60);
    let Effect::Write(doubt) = step(seen(claim(1)), 60) else { panic!("silent for a term: a doubt") };
    assert!(doubt.doubt.is_some() && doubt.claim.is_none());
    step(Event::Written(Ok(())), 60);
    // Its holder waits for an answer, and says so.
    assert!(matches!(step(seen(claim(3)), 60), Effect::Wait(_)));
    step(Event::Woke, 119);
    assert!(matches!(step(seen(claim(3)), 119), Effect::Wait(_)));
    step(Event::Woke, 120);
    assert!(matches!(step(seen(claim(3)), 120), Effect::Write(_)));
}

#[test]
fn nothing_is_claimed_before_whoever_comes_back_from_an_outage_too_was_heard() {
    let mut replica = replica();
    let stored = living(&login("r1"), "r4");
    let mut step = |event: Event, second: i64| replica.step(event, &moment(second));
    let outage = || Trouble { reason: Reason::StoreUnavailable, message: String::new() };
    let nothing = || Event::Read(Box::new(Seen { login: Err(outage()), state: Err(outage()) }));
    assert!(matches!(step(seen(stored.clone()), 3500), Effect::Wait(until) if until == at(3503)));
    step(Event::Woke, 3502);
    assert!(matches!(step(nothing(), 3502), Effect::Wait(_)));
    step(Event::Woke, 3504);
    assert!(matches!(step(seen(stored.clone()), 3504), Effect::Wait(until) if until == at(3507)));
    step(Event::Woke, 3507);
    assert!(matches!(step(seen(stored), 3507), Effect::Connect(_)));
}

/// A write that fails; afterwards somebody else has done what it was to do. What stands in the way before and after.
fn fails_and_is_overtaken(error: WriteError) -> [Option<Reason>; 2] {
    let (mut replica, stored) = (replica(), living(&login("r1"), "r4"));
    let reason = |replica: &Replica| replica.trouble().map(|trouble| trouble.reason);
    let mut step = |event: Event, second: i64| {
        let effect = replica.step(event, &moment(second));
        (effect, reason(&replica))
    };
    step(seen(stored.clone()), 0);
    let (effect, _) = step(seen(Document::default()), 1);
    assert!(matches!(effect, Effect::Write(_)), "what was emptied is repaired: {effect:?}");
    let (_, blocked) = step(Event::Written(Err(error)), 1);
    let (effect, after) = step(seen(stored), 10);
    assert!(matches!(effect, Effect::Wait(_)), "{effect:?}");
    [blocked, after]
}

#[test]
fn a_write_without_an_answer_is_no_trouble_once_others_have_gone_on() {
    let trouble = |reason| Trouble { reason, message: String::new() };
    let outage = Reason::StoreUnavailable;
    assert_eq!(fails_and_is_overtaken(WriteError::Unclear(trouble(outage))), [Some(outage), None]);
    // Nor is one that had no identity: the store was read since, so it has one now.
    for reason in [Reason::IdentityUnavailable, Reason::AssumeMissing, Reason::IdentityRefused] {
        assert_eq!(fails_and_is_overtaken(WriteError::Refused(trouble(reason))), [Some(reason), None]);
    }
    // A missing right is one until a write has shown otherwise.
    let right = Reason::StoreForbidden;
    assert_eq!(fails_and_is_overtaken(WriteError::Refused(trouble(right))), [Some(right); 2]);
}

/// How many seconds a replica that is late in the spread waits with a refused token, where `by` redeemed last.
fn waits_when_refused(by: &str) -> i64 {
    let last = Last { redeemed_at: at(0), by: by.to_owned(), ..Last::default() };
    let stored = Document { last: Some(last), ..living(&login("r1"), "r4") };
    let mut replica = replica_at(u16::MAX);
    assert!(matches!(replica.step(seen(stored.clone()), &moment(0)), Effect::Wait(_)));
    replica.reject(stored.access.as_ref().unwrap().fp.clone(), &moment(1000));
    match replica.step(seen(stored), &moment(1000)) {
        Effect::Connect(_) => 0,
        Effect::Wait(until) => until.duration_since(at(1000)).as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_redeemed_last_replaces_a_refused_token_at_once_and_the_others_in_turn() {
    assert_eq!(waits_when_refused("pod/process"), 0);
    assert_eq!(waits_when_refused("other/process"), 3);
}

#[test]
fn after_an_outage_of_the_store_not_all_come_at_once() {
    // The token ends meanwhile.
    let goes_on = |by: &str| {
        let last = Last { redeemed_at: at(0), by: by.to_owned(), ..Last::default() };
        let stored = Document { last: Some(last), ..living(&login("r1"), "r4") };
        let mut replica = replica_at(u16::MAX);
        replica.step(seen(stored.clone()), &moment(0));
        let gone = Trouble { reason: Reason::StoreUnavailable, message: String::new() };
        let unread = Seen { login: Ok(login("r1")), state: Err(gone) };
        replica.step(Event::Read(Box::new(unread)), &moment(4000));
        replica.step(seen(stored), &moment(4001))
    };
    assert_eq!(goes_on("pod/process"), Effect::Wait(at(4004)), "settles");
    assert_eq!(goes_on("other/process"), Effect::Wait(at(4007)), "and in turn");
}

#[test]
fn who_cannot_connect_lets_the_others_go_first() {
    let stored = living(&login("r1"), "r4");
    let mut replica = replica();
    replica.step(seen(stored.clone()), &moment(0));
    let connects = replica.step(seen(stored), &moment(3000));
    assert!(matches!(connects, Effect::Connect(_)), "{connects:?}");
    let Effect::Write(written) = replica.step(Event::Connected(Err(Reason::Connect)), &moment(3000)) else {
        panic!("a shared backoff")
    };
    let not_before = written.retry.as_ref().unwrap().not_before;
    replica.step(Event::Written(Ok(())), &moment(3000));
    let waits = replica.step(seen(*written), &moment(3000));
    assert_eq!(waits, Effect::Wait(not_before + Timing::PRODUCTION.spread), "behind all who have not tried");
}
