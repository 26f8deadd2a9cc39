use super::*;
use crate::grant::machine::tests::{at, living, login};

fn replica() -> Replica {
    let settings = Settings {
        pod: "pod".to_owned(),
        process: "process".to_owned(),
        spread: 0,
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

#[test]
fn a_write_without_an_answer_is_no_trouble_once_others_have_gone_on() {
    let (mut replica, stored) = (replica(), living(&login("r1"), "r4"));
    let reason = |replica: &Replica| replica.trouble().map(|trouble| trouble.reason);
    let mut step = |event: Event, second: i64| {
        let effect = replica.step(event, &moment(second));
        (effect, reason(&replica))
    };
    step(seen(stored.clone()), 0);
    let (effect, _) = step(seen(Document::default()), 1);
    assert!(matches!(effect, Effect::Write(_)), "what was emptied is repaired: {effect:?}");
    let trouble = Trouble { reason: Reason::StoreUnavailable, message: String::new() };
    let (_, blocked) = step(Event::Written(Err(WriteError::Unclear(trouble))), 1);
    assert_eq!(blocked, Some(Reason::StoreUnavailable));
    // Somebody else has repaired it.
    let (effect, blocked) = step(seen(stored), 10);
    assert!(matches!(effect, Effect::Wait(_)), "{effect:?}");
    assert_eq!(blocked, None);
}
