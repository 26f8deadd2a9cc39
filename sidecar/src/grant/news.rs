//! What a write changed for people: a grant's state, or its login. Who makes the write tells it, so each change is told
//! once, however many replicas there are.

use jiff::Timestamp;

use super::document::Document;
use super::login::Login;
use super::status::Status;
use crate::outcome::{Reason, State};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// In `CamelCase`: a [`Reason`], `Ready`, or `NewLogin`.
    pub reason: String,
    /// What was being done.
    pub action: &'static str,
    /// Our sentence.
    pub note: String,
}

/// What a write of `after` over `before` changed, if anything.
pub fn news(before: &Document, after: &Document, login: Option<&Login>, now: Timestamp) -> Option<News> {
    let seed = |document: &Document| document.seed.as_ref().map(|seed| (seed.seq, seed.token_fp.clone()));
    let adopted = seed(after).filter(|after| seed(before).as_ref() != Some(after));
    if adopted.is_some_and(|(_, fp)| login.is_some_and(|login| login.token_fp == fp)) {
        return Some(News {
            warning: false,
            reason: "NewLogin".to_owned(),
            action: "Login",
            note: "the login in this Secret is new: it is tried now, and kept if the provider takes it"
                .to_owned(),
        });
    }
    let of = |document| Status::of(document, login, None, now);
    let (was, is) = (of(before), of(after));
    // A login that the provider took is news too where the token of the one before was valid all the time.
    let proven = |document: &Document| document.seed.as_ref().is_some_and(|seed| seed.proven);
    if (was.state, was.reason) == (is.state, is.reason) && proven(before) == proven(after) {
        return None;
    }
    let ready = is.state == State::Ready && is.reason == Reason::Ok;
    Some(News {
        warning: !matches!(is.state, State::Ready | State::Pending),
        reason: camel_case(if ready { is.state.as_str() } else { is.reason.as_str() }),
        action: "Refresh",
        note: if ready { "the token is valid and will be renewed".to_owned() } else { is.message },
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
    use crate::grant::document::{Doubt, Seed, Verdict};
    use crate::grant::fixtures::{at, claim, living, login};
    use crate::grant::rules::Rules;
    use crate::grant::seed::adopt;

    fn told(before: &Document, after: &Document, login: &Login) -> Option<(String, bool)> {
        news(before, after, Some(login), at(0)).map(|news| (news.reason, news.warning))
    }

    fn some(reason: &str, warning: bool) -> Option<(String, bool)> {
        Some((reason.to_owned(), warning))
    }

    #[test]
    fn a_change_of_state_is_told_with_our_words() {
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
        assert_eq!(news(&sound, &dead, Some(&login), at(0)).unwrap().note, Reason::InvalidGrant.sentence());
    }

    #[test]
    fn what_changes_nothing_for_people_is_not_told() {
        let login = login("r1");
        let sound = living(&login, "r4");
        let claimed = Document { claim: Some(claim("r4", 0)), ..sound.clone() };
        assert_eq!(told(&sound, &claimed, &login), None);
        assert_eq!(told(&claimed, &Document { r#gen: 9, ..sound }, &login), None, "a refresh as usual");
    }

    #[test]
    fn a_new_login_is_told_and_the_first_too() {
        let new = login("n1");
        for before in [Document::default(), living(&login("r1"), "r4")] {
            let after = adopt(&before, &new, at(0), &Rules::PRODUCTION);
            assert_eq!(told(&before, &after, &new), some("NewLogin", false));
            let seed = after.seed.clone().map(|seed| Seed { proven: true, ..seed });
            let taken = Document { seed, ..living(&new, "n2") };
            assert_eq!(told(&after, &taken, &new), some("Ready", false));
        }
    }

    #[test]
    fn every_reason_is_one_word() {
        assert_eq!(camel_case("new_seed_rejected"), "NewSeedRejected");
        for reason in Reason::ALL {
            assert!(camel_case(reason.as_str()).chars().all(|c| c.is_ascii_alphanumeric()));
        }
    }
}
