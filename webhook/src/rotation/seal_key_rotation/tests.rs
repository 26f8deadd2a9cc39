use std::collections::BTreeMap;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn ring(keys: &[(&str, &[u8])], annotations: &[(&str, &str)]) -> KeyRing {
    KeyRing {
        data: keys.iter().map(|(name, key)| ((*name).to_owned(), key.to_vec())).collect(),
        annotations: annotations
            .iter()
            .map(|(name, says)| ((*name).to_owned(), (*says).to_owned()))
            .collect(),
    }
}

fn keys(ring: &KeyRing) -> BTreeMap<&str, u8> {
    ring.data.iter().map(|(name, key)| (name.as_str(), key[0])).collect()
}

#[test]
fn an_empty_secret_gets_one_key_and_then_rests() {
    let timing = Timing::default();
    for empty in [ring(&[], &[]), ring(&[("current", b"")], &[])] {
        assert_eq!(empty.next(Duration::ZERO, &timing), Step::Make);
        let made = empty.after(Step::Make, &[7; LENGTH]);
        assert_eq!(keys(&made), [("current", 7)].into());
        assert_eq!(made.next(DAY, &timing), Step::Rest);
        assert!(made.annotations.is_empty());
    }
}

#[test]
fn a_rotation_is_known_for_two_minutes_before_it_seals() {
    let timing = Timing::default();
    let asked =
        ring(&[("current", &[1; LENGTH]), ("previous", &[0; LENGTH])], &[(ASK, "a"), (DONE, "before")]);
    assert_eq!(asked.next(Duration::ZERO, &timing), Step::Announce);
    let known = asked.after(Step::Announce, &[2; LENGTH]);
    assert_eq!(keys(&known), [("current", 1), ("previous", 2)].into(), "the old one still seals");
    assert_eq!(known.next(Duration::from_secs(119), &timing), Step::Rest);
    assert_eq!(known.next(Duration::from_secs(120), &timing), Step::Swap);
    let done = known.after(Step::Swap, &[9; LENGTH]);
    assert_eq!(keys(&done), [("current", 2), ("previous", 1)].into(), "both verify");
    assert_eq!(done.annotations, ring(&[], &[(ASK, "a"), (DONE, "a")]).annotations);
    assert_eq!(done.next(DAY, &timing), Step::Rest, "once");
}

#[test]
fn whoever_asks_again_meanwhile_gets_the_rotation_that_is_under_way() {
    let timing = Timing::default();
    let mut known = ring(&[("current", &[1; LENGTH])], &[(ASK, "a")]).after(Step::Announce, &[2; LENGTH]);
    known.annotations.insert(ASK.to_owned(), "b".to_owned());
    assert_eq!(known.next(Duration::from_secs(120), &timing), Step::Swap);
    let done = known.after(Step::Swap, &[9; LENGTH]);
    assert_eq!(
        done.next(DAY, &timing),
        Step::Rest,
        "a second one would drop the key that living pods are sealed with"
    );
}

#[test]
fn a_key_that_was_taken_out_stays_out() {
    let timing = Timing::default();
    let without_previous = ring(&[("current", &[1; LENGTH])], &[(ASK, "a"), (DONE, "a")]);
    assert_eq!(without_previous.next(DAY, &timing), Step::Rest);
    let without_current = ring(&[("previous", &[1; LENGTH])], &[]);
    assert_eq!(without_current.next(DAY, &timing), Step::Make);
    assert_eq!(
        keys(&without_current.after(Step::Make, &[3; LENGTH])),
        [("current", 3), ("previous", 1)].into()
    );
    // In the midst of a rotation: what was announced is another key then.
    let mut known = ring(&[("current", &[1; LENGTH])], &[(ASK, "a")]).after(Step::Announce, &[2; LENGTH]);
    known.data.remove("previous");
    assert_eq!(known.next(DAY, &timing), Step::Announce);
    let mut known = known.after(Step::Announce, &[4; LENGTH]);
    known.data.remove("current");
    assert_eq!(known.next(DAY, &timing), Step::Make);
    let made = known.after(Step::Make, &[5; LENGTH]);
    assert_eq!(keys(&made), [("current", 5), ("previous", 4)].into());
    assert_eq!(made.next(DAY, &timing), Step::Rest, "a new key is what was asked for");
}

#[test]
fn a_request_that_is_withdrawn_changes_nothing() {
    let timing = Timing::default();
    let mut known = ring(&[("current", &[1; LENGTH])], &[(ASK, "a")]).after(Step::Announce, &[2; LENGTH]);
    known.annotations.remove(ASK);
    assert_eq!(known.next(DAY, &timing), Step::Rest);
}

#[test]
fn what_is_no_key_is_left_alone() {
    let timing = Timing::default();
    for (wrong, name) in [
        (ring(&[("current", b"short")], &[(ASK, "a")]), "current"),
        (ring(&[("previous", &[0; 33])], &[]), "previous"),
    ] {
        let step = wrong.next(DAY, &timing);
        assert_eq!(step, Step::Refuse(name));
        assert!(wrong.after(step, &[1; LENGTH]) == wrong);
    }
}
