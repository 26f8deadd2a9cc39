//! Tests each rule of the oracle on the smallest record that it decides.

use jiff::Timestamp;

use super::*;
use crate::chaos::record::{Access, Document, Exchange, Fault, Fingerprint, Life, Uncommitted, Write};
use crate::chaos::schedule::Target;
use crate::event::Event;

const RULES: Rules = Rules {
    term_ms: 6_000,
    last_moment_ms: 12_000,
    budget_ms: 1_500,
    settle_ms: 300,
    blur_ms: 1_000,
    enough_ms: 3_000,
};
/// A sidecar that runs undisturbed, and the one that holds the first claim.
const STEADY: usize = 1;
const HOLDER: usize = 0;

fn new() -> Record {
    let lives = [HOLDER, STEADY].map(|sidecar| Life { sidecar, from_ms: 0, to_ms: 1_000_000 });
    Record { lives: lives.into(), ..Record::default() }
}

impl Record {
    fn claim(mut self, at_ms: u64, sidecar: usize, token: &str, purpose: &str) -> Self {
        let (id, parent_fp, purpose) = (format!("claim-{at_ms}"), token.to_owned(), purpose.to_owned());
        let refresh = Some(Fingerprint { fp: token.to_owned() });
        let claim = Some(Claim { id, parent_fp, purpose });
        let expires_at = Timestamp::from_millisecond(25_000).unwrap();
        let access = Some(Access { expires_at, lifetime_s: 20 });
        let document = Some(Document { claim, refresh, access, ..Document::default() });
        self.writes.push(Write { at_ms, sidecar: Some(sidecar), status: 200, spoilt: None, document });
        self
    }

    fn stored(mut self, at_ms: u64, token: &str) -> Self {
        let refresh = Some(Fingerprint { fp: token.to_owned() });
        let document = Some(Document { refresh, ..Document::default() });
        self.writes.push(Write { at_ms, sidecar: Some(HOLDER), status: 200, spoilt: None, document });
        self
    }

    fn presented(mut self, at_ms: u64, token: &str, outcome: &str, child: Option<&str>) -> Self {
        self.provider.push(Event::Presented(Box::new(Presentation {
            at_ms,
            token_sha256: Some(token.to_owned()),
            child_sha256: child.map(str::to_owned),
            family: Some("family-0".to_owned()),
            outcome: outcome.to_owned(),
            ..Presentation::default()
        })));
        self
    }

    fn spoilt(mut self, fault: &str) -> Self {
        if let Some(Event::Presented(presentation)) = self.provider.last_mut() {
            presentation.fault = Some(fault.to_owned());
        }
        self
    }

    fn answered(mut self, asked_ms: u64, answered_ms: u64) -> Self {
        let (to_provider_ms, to_sidecar_ms) =
            (vec![asked_ms - 50, asked_ms], vec![asked_ms - 20, answered_ms]);
        self.exchanges.push(Exchange { to_provider_ms, to_sidecar_ms });
        self
    }

    /// A second presentation of the token, which revokes its family.
    fn reused(self, claimed_ms: u64, token: &str) -> Self {
        let mut record = self.claim(claimed_ms, STEADY, token, "replay").presented(
            claimed_ms + 100,
            token,
            "invalid_grant",
            None,
        );
        record.provider.push(Event::Revoked { at_ms: claimed_ms + 100, family: "family-0".to_owned() });
        record
    }

    fn fault(mut self, from_ms: u64, to_ms: u64, action: Action, sidecar: Option<usize>) -> Self {
        self.faults.push(Fault { from_ms, to_ms, action, sidecar, spool: None });
        self
    }

    fn killed(mut self, at_ms: u64, spool: Uncommitted, spool_lost: bool) -> Self {
        let action = Action::Kill { target: Target::Sidecar(HOLDER), spool_lost, down_ms: 1_000 };
        self = self.fault(at_ms, at_ms + 1_000, action, Some(HOLDER));
        self.faults.last_mut().unwrap().spool = Some(spool);
        self.lives.retain(|life| life.sidecar != HOLDER);
        let lives = [(0, at_ms), (at_ms + 1_000, 1_000_000)];
        self.lives.extend(lives.map(|(from_ms, to_ms)| Life { sidecar: HOLDER, from_ms, to_ms }));
        self
    }

    fn objections(&self) -> Vec<String> {
        judge(self, &RULES).unlicensed.into_iter().map(|found| found.why).collect()
    }

    fn class(&self) -> Option<Class> {
        let judgement = judge(self, &RULES);
        assert_eq!(judgement.ends.len(), 1);
        judgement.ends[0].class
    }
}

/// A first presentation that the provider has carried out.
fn redeemed() -> Record {
    new().claim(1_000, HOLDER, "r1", "refresh").presented(1_200, "r1", "granted", Some("r2"))
}

fn frozen() -> Action {
    Action::Freeze { target: Target::Sidecar(HOLDER), for_ms: 0 }
}

fn cut() -> Action {
    Action::Cut { target: Target::Sidecar(HOLDER), stalls: false, for_ms: 0 }
}

#[test]
fn a_presentation_needs_a_claim_of_its_own() {
    assert_eq!(redeemed().objections(), Vec::<String>::new());
    let unclaimed = new().presented(1_200, "r1", "granted", Some("r2"));
    assert_eq!(unclaimed.objections(), ["no claim was written for it"]);
    let twice = redeemed().presented(1_300, "r1", "granted", None);
    assert_eq!(twice.objections(), ["no claim was written for it"], "a claim allows one presentation");
    let late = new().claim(1_000, HOLDER, "r1", "refresh").presented(4_500, "r1", "granted", None);
    assert_eq!(late.objections(), ["it came 3500 ms after its claim"]);
    let mut refused = new().claim(1_000, HOLDER, "r1", "refresh");
    refused.writes[0].status = 409;
    let refused = refused.presented(1_200, "r1", "granted", None);
    assert_eq!(refused.objections().len(), 1, "a refused claim does not count");
}

#[test]
fn a_second_presentation_has_to_be_licensed() {
    let again = |claimed_ms, purpose| {
        redeemed().claim(claimed_ms, STEADY, "r1", purpose).presented(
            claimed_ms + 100,
            "r1",
            "unprocessed",
            None,
        )
    };
    assert_eq!(again(14_000, "refresh").objections(), ["presented before at 1200, now as refresh"]);
    assert_eq!(again(14_000, "replay").objections(), Vec::<String>::new());
    // The access token ends at 25 s, so its last responsible moment is at 13 s.
    assert_eq!(
        again(10_000, "replay").objections(),
        ["a replay 3000 ms before its time; presented before at 1200"]
    );
    assert_eq!(again(14_000, "probe").objections().len(), 1, "a probe without a refusal before it");
}

#[test]
fn a_token_that_the_provider_did_not_process_may_be_presented_again() {
    let told = redeemed().spoilt("status_429");
    let told = told.claim(3_000, STEADY, "r1", "refresh").presented(3_100, "r1", "granted", None);
    assert_eq!(told.objections(), Vec::<String>::new());
    let refused = new().claim(1_000, HOLDER, "r1", "refresh").presented(1_100, "r1", "invalid_grant", None);
    let probed = refused.claim(9_000, STEADY, "r1", "probe").presented(9_100, "r1", "invalid_grant", None);
    assert_eq!(probed.objections(), Vec::<String>::new());
}

#[test]
fn a_rollback_excuses_a_second_presentation_only_if_no_sidecar_remembers() {
    let set_back = |record: Record| {
        record.fault(3_000, 3_100, Action::Wipe, None).claim(8_000, STEADY, "r1", "refresh").presented(
            8_100,
            "r1",
            "invalid_grant",
            None,
        )
    };
    assert_eq!(set_back(redeemed()).objections().len(), 1);
    let mut forgotten = set_back(redeemed());
    forgotten.lives = vec![Life { sidecar: STEADY, from_ms: 5_000, to_ms: 1_000_000 }];
    assert_eq!(forgotten.objections(), Vec::<String>::new());
}

#[test]
fn a_lost_answer_is_unsaveable() {
    assert_eq!(redeemed().spoilt("close").reused(14_000, "r1").class(), Some(Class::L1));
    assert_eq!(redeemed().reused(14_000, "r1").class(), Some(Class::L1), "the answer was not delivered");
    let slow = redeemed().answered(1_190, 2_900).reused(14_000, "r1");
    assert_eq!(slow.class(), Some(Class::L1), "the answer came too late");
    let saved = redeemed().answered(1_190, 1_300).reused(14_000, "r1");
    assert_eq!(saved.class(), None, "the holder could have stored it");
}

#[test]
fn an_answer_outside_the_spool_is_lost_with_the_process() {
    let answered = || redeemed().answered(1_190, 1_300);
    assert_eq!(
        answered().killed(1_250, Uncommitted::Sent, false).reused(14_000, "r1").class(),
        Some(Class::L2)
    );
    assert_eq!(
        answered().killed(1_400, Uncommitted::Answered, true).reused(14_000, "r1").class(),
        Some(Class::L3)
    );
    assert_eq!(answered().killed(1_400, Uncommitted::Answered, false).reused(14_000, "r1").class(), None);
    let idle = answered().killed(9_000, Uncommitted::Sent, false).reused(14_000, "r1");
    assert_eq!(idle.class(), None, "there was time to spool the answer");
}

#[test]
fn a_holder_that_is_away_until_the_last_moment_cannot_store() {
    let answered = || redeemed().answered(1_190, 1_300);
    let still = |action: Action, to_ms| {
        answered().fault(1_250, to_ms, action, Some(HOLDER)).reused(14_000, "r1").class()
    };
    assert_eq!(still(frozen(), 13_500), Some(Class::L4));
    assert_eq!(still(cut(), 13_500), Some(Class::L4));
    assert_eq!(still(cut(), 9_000), None, "five seconds were left");
    let other = answered().fault(1_250, 13_500, cut(), Some(STEADY)).reused(14_000, "r1");
    assert_eq!(other.class(), None, "another sidecar was cut off");
    let down = answered().fault(1_250, 13_500, Action::EtcdKill { down_ms: 0 }, None);
    assert_eq!(down.reused(14_000, "r1").class(), Some(Class::L4));
}

#[test]
fn a_rolled_back_answer_is_unsaveable_only_if_no_sidecar_remembers() {
    let set_back = || {
        let stored = redeemed().answered(1_190, 1_300).stored(1_400, "r2");
        stored.fault(5_000, 6_000, Action::Restore, None).reused(14_000, "r1")
    };
    assert_eq!(set_back().class(), None);
    let mut forgotten = set_back();
    forgotten.lives = vec![Life { sidecar: STEADY, from_ms: 7_000, to_ms: 1_000_000 }];
    assert_eq!(forgotten.class(), Some(Class::L6));
    let stored = redeemed().answered(1_190, 1_300).stored(1_400, "r2").reused(14_000, "r1");
    assert_eq!(stored.class(), None, "the state was not rolled back");
}

#[test]
fn finds_the_longest_gap() {
    let taken = [(10, 20), (15, 30), (50, 60)];
    assert_eq!(longest_gap(&taken, 0, 100), 40);
    assert_eq!(longest_gap(&taken, 12, 55), 20);
    assert_eq!(longest_gap(&[], 5, 9), 4);
    assert_eq!(longest_gap(&[(0, 100)], 5, 9), 0);
}
