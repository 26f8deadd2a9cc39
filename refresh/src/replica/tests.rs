use super::*;
use crate::condition::Condition;
use crate::document::Last;
use crate::fixtures::{at, living, login};
use crate::reason::{NotSent, Reason, Severity};
use crate::safeguards::Safeguards;
use crate::timing::Timing;

/// The reason of another layer: the store does not answer.
const OUTAGE: Reason = reason("store_unavailable", Severity::Outage);

const fn reason(word: &'static str, severity: Severity) -> Reason {
    Reason { word, sentence: "something is wrong", severity }
}

fn replica() -> Replica {
    replica_at(0)
}

fn replica_at(spread: u16) -> Replica {
    let settings = Settings {
        pod: "pod".to_owned(),
        process: "process".to_owned(),
        spread,
        keep_alive: false,
        timing: Timing::PRODUCTION,
        safeguards: Safeguards::ON,
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

fn seen(document: Document) -> Input {
    let found = Found { document: Ok(document), home: None, version: String::new() };
    Input::Read(Box::new(Seen { login: Ok(login("r1")), state: Ok(found) }))
}

#[test]
fn the_wait_for_a_claim_restarts_when_its_holder_restores_it() {
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
    let mut step = |event: Input, second: i64| replica.step(event, &moment(second));
    step(seen(claim(1)), 0);
    step(Input::Woke, 60);
    let Effect::Write(doubt) = step(seen(claim(1)), 60) else { panic!("silent for a term: a doubt") };
    assert!(doubt.doubt.is_some() && doubt.claim.is_none());
    step(Input::Written(Ok(())), 60);
    // Its holder waits for an answer and restores the claim.
    assert!(matches!(step(seen(claim(3)), 60), Effect::Wait(_)));
    step(Input::Woke, 119);
    assert!(matches!(step(seen(claim(3)), 119), Effect::Wait(_)));
    step(Input::Woke, 120);
    assert!(matches!(step(seen(claim(3)), 120), Effect::Write(_)));
}

#[test]
fn the_settle_delay_restarts_after_an_outage_of_the_store() {
    let mut replica = replica();
    let stored = living(&login("r1"), "r4");
    let mut step = |event: Input, second: i64| replica.step(event, &moment(second));
    let outage = || Condition { reason: OUTAGE, message: String::new() };
    let nothing = || Input::Read(Box::new(Seen { login: Err(outage()), state: Err(outage()) }));
    assert!(matches!(step(seen(stored.clone()), 3500), Effect::Wait(until) if until == at(3503)));
    step(Input::Woke, 3502);
    assert!(matches!(step(nothing(), 3502), Effect::Wait(_)));
    step(Input::Woke, 3504);
    assert!(matches!(step(seen(stored.clone()), 3504), Effect::Wait(until) if until == at(3507)));
    step(Input::Woke, 3507);
    assert!(matches!(step(seen(stored), 3507), Effect::Connect(_)));
}

/// The condition after a failed write, and after another replica has made the same change.
fn fails_and_is_overtaken(error: WriteError) -> [Option<Reason>; 2] {
    let (mut replica, stored) = (replica(), living(&login("r1"), "r4"));
    let reason = |replica: &Replica| replica.condition().map(|condition| condition.reason);
    let mut step = |event: Input, second: i64| {
        let effect = replica.step(event, &moment(second));
        (effect, reason(&replica))
    };
    step(seen(stored.clone()), 0);
    let (effect, _) = step(seen(Document::default()), 1);
    assert!(matches!(effect, Effect::Write(_)), "what was emptied is repaired: {effect:?}");
    let (_, blocked) = step(Input::Written(Err(error)), 1);
    let (effect, after) = step(seen(stored), 10);
    assert!(matches!(effect, Effect::Wait(_)), "{effect:?}");
    [blocked, after]
}

#[test]
fn an_unanswered_write_is_forgotten_once_the_state_is_repaired() {
    let failed = |reason| Condition { reason, message: String::new() };
    assert_eq!(fails_and_is_overtaken(WriteError::Unclear(failed(OUTAGE))), [Some(OUTAGE), None]);
    // So is a write without an API token: the store was read since, so there is a token now.
    let denied = reason("assume_missing", Severity::Denied);
    assert_eq!(fails_and_is_overtaken(WriteError::Refused(failed(denied))), [Some(denied), None]);
    // A missing right stays until a write has succeeded.
    let forbidden = reason("store_forbidden", Severity::Misconfigured);
    assert_eq!(fails_and_is_overtaken(WriteError::Refused(failed(forbidden))), [Some(forbidden); 2]);
}

/// Seconds that a replica late in the spread waits with a rejected token, where `by` redeemed last.
fn wait_after_rejection(by: &str) -> i64 {
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
fn the_replica_that_redeemed_last_replaces_a_rejected_token_first() {
    assert_eq!(wait_after_rejection("pod/process"), 0);
    assert_eq!(wait_after_rejection("other/process"), 3);
}

#[test]
fn after_an_outage_of_the_store_replicas_act_in_turn() {
    // The token ends meanwhile.
    let goes_on = |by: &str| {
        let last = Last { redeemed_at: at(0), by: by.to_owned(), ..Last::default() };
        let stored = Document { last: Some(last), ..living(&login("r1"), "r4") };
        let mut replica = replica_at(u16::MAX);
        replica.step(seen(stored.clone()), &moment(0));
        let gone = Condition { reason: OUTAGE, message: String::new() };
        let unread = Seen { login: Ok(login("r1")), state: Err(gone) };
        replica.step(Input::Read(Box::new(unread)), &moment(4000));
        replica.step(seen(stored), &moment(4001))
    };
    assert_eq!(goes_on("pod/process"), Effect::Wait(at(4004)), "settles");
    assert_eq!(goes_on("other/process"), Effect::Wait(at(4007)), "and in turn");
}

#[test]
fn a_replica_that_cannot_connect_lets_the_others_go_first() {
    let stored = living(&login("r1"), "r4");
    let mut replica = replica();
    replica.step(seen(stored.clone()), &moment(0));
    let connects = replica.step(seen(stored), &moment(3000));
    assert!(matches!(connects, Effect::Connect(_)), "{connects:?}");
    let Effect::Write(written) = replica.step(Input::Connected(Err(NotSent::Connect)), &moment(3000)) else {
        panic!("a shared backoff")
    };
    let not_before = written.retry.as_ref().unwrap().not_before;
    replica.step(Input::Written(Ok(())), &moment(3000));
    let waits = replica.step(seen(*written), &moment(3000));
    assert_eq!(
        waits,
        Effect::Wait(not_before + Timing::PRODUCTION.spread),
        "behind the replicas that have not tried"
    );
}
