//! The Event for a write that changed something for people: the state of a grant, or its login. The replica that makes the
//! write records it, so there is one Event per change, whatever the number of replicas.

use agent_creds_core::words::Word;
use jiff::Timestamp;

use super::document::Document;
use super::login::Login;
use super::reason::Outlook;
use super::status::State;
use super::status::Status;

/// A Kubernetes Event regarding the grant Secret (`events.k8s.io/v1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether its type is `Warning`.
    pub warning: bool,
    /// Its reason in `CamelCase`: the word of a [`Reason`](super::reason::Reason), `Ready`, or `NewLogin`.
    pub reason: String,
    /// Its action.
    pub action: &'static str,
    /// Its note: one sentence.
    pub note: String,
}

/// Returns the Event for a write of `after` over `before`; `None` where nothing changed for people.
pub fn event(before: &Document, after: &Document, login: Option<&Login>, now: Timestamp) -> Option<Event> {
    let seed = |document: &Document| document.seed.as_ref().map(|seed| (seed.seq, seed.token_fp.clone()));
    let adopted = seed(after).filter(|after| seed(before).as_ref() != Some(after));
    if adopted.is_some_and(|(_, fp)| login.is_some_and(|login| login.token_fp == fp)) {
        return Some(Event {
            warning: false,
            reason: "NewLogin".to_owned(),
            action: "Login",
            note: "the login in this Secret is new; the sidecar tries it now and keeps it if the provider accepts it"
                .to_owned(),
        });
    }
    let of = |document| Status::of(document, login, None, now);
    let (was, is) = (of(before), of(after));
    // An accepted login is reported even where the token of the login before was valid all the time.
    let proven = |document: &Document| document.seed.as_ref().is_some_and(|seed| seed.proven);
    if (was.state, was.reason) == (is.state, is.reason) && proven(before) == proven(after) {
        return None;
    }
    let ready = is.state == State::Ready && is.reason == Outlook::Ok.into();
    Some(Event {
        warning: !matches!(is.state, State::Ready | State::Pending),
        reason: camel_case(if ready { is.state.as_str() } else { is.reason.word }),
        action: "Refresh",
        note: if ready { State::Ready.sentence().to_owned() } else { is.message },
    })
}

fn camel_case(word: &str) -> String {
    let mut start = true;
    let letters = word.chars().filter_map(|letter| {
        let shown = if start { letter.to_ascii_uppercase() } else { letter };
        start = letter == '_';
        (!start).then_some(shown)
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Doubt, Seed, Verdict};
    use crate::fixtures::{at, claim, living, login};
    use crate::safeguards::Safeguards;
    use crate::seed::adopt;

    fn told(before: &Document, after: &Document, login: &Login) -> Option<(String, bool)> {
        event(before, after, Some(login), at(0)).map(|event| (event.reason, event.warning))
    }

    fn some(reason: &str, warning: bool) -> Option<(String, bool)> {
        Some((reason.to_owned(), warning))
    }

    #[test]
    fn a_change_of_state_becomes_an_event() {
        let login = login("r1");
        let sound = living(&login, "r4");
        let head = sound.refresh.clone().unwrap().fp;
        let doubtful =
            Document { doubt: Some(Doubt { parent_fp: head.clone(), ..Doubt::default() }), ..sound.clone() };
        assert_eq!(told(&sound, &doubtful, &login), some("InDoubt", true));
        assert_eq!(told(&doubtful, &sound, &login), some("Ready", false));
        let verdict = Verdict {
            fp: head,
            error: "invalid_grant".to_owned(),
            config_fp: login.config_fp.clone(),
            ..Verdict::default()
        };
        let dead = Document { verdict: Some(verdict), ..sound.clone() };
        assert_eq!(told(&sound, &dead, &login), some("InvalidGrant", true));
        assert_eq!(event(&sound, &dead, Some(&login), at(0)).unwrap().note, Outlook::InvalidGrant.sentence());
    }

    #[test]
    fn a_write_that_changes_nothing_for_people_becomes_none() {
        let login = login("r1");
        let sound = living(&login, "r4");
        let claimed = Document { claim: Some(claim("r4", 0)), ..sound.clone() };
        assert_eq!(told(&sound, &claimed, &login), None);
        assert_eq!(told(&claimed, &Document { r#gen: 9, ..sound }, &login), None, "a refresh as usual");
    }

    #[test]
    fn a_new_login_becomes_an_event_and_so_does_the_first() {
        let new = login("n1");
        for before in [Document::default(), living(&login("r1"), "r4")] {
            let after = adopt(&before, &new, at(0), Safeguards::ON);
            assert_eq!(told(&before, &after, &new), some("NewLogin", false));
            let seed = after.seed.clone().map(|seed| Seed { proven: true, ..seed });
            let taken = Document { seed, ..living(&new, "n2") };
            assert_eq!(told(&after, &taken, &new), some("Ready", false));
        }
    }

    #[test]
    fn every_reason_is_one_word() {
        assert_eq!(camel_case("new_seed_rejected"), "NewSeedRejected");
        for reason in <Outlook as strum::VariantArray>::VARIANTS {
            assert!(camel_case(reason.as_str()).chars().all(|c| c.is_ascii_alphanumeric()));
        }
    }
}
