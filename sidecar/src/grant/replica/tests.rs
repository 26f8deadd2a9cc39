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
