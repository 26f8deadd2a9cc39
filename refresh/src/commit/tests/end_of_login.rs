//! When a login ends, as far as the provider's limits are known.

use super::*;

/// What a first redemption now says about the end of a login, at a provider that ends grants after 30 idle days and 365
/// in all: days from now, and what that is counted from.
fn end_of(issued: Option<i64>, created: Option<i64>, before: &Document) -> (i64, String) {
    let day = |days: i64| at(days * 86_400);
    let mut login = login("n1");
    (login.issued_at, login.created_at) = (issued.map(day), created.map(day));
    let document = adopt(before, &login, at(0), Safeguards::ON);
    redeemed(document, &login)
}

fn redeemed(mut document: Document, login: &Login) -> (i64, String) {
    let claim = claim(&document.refresh.as_ref().unwrap().fp, 0);
    document.claim = Some(claim.clone());
    let asked = Asked { idle_days: Some(30), hard_days: Some(365), ..login.asked() };
    let (answer, timing, safeguards) = (granted(Some("n2"), None), Timing::PRODUCTION, Safeguards::ON);
    let presentation = Presentation {
        claim: &claim,
        asked: &asked,
        answer: &answer,
        http: None,
        sent_at: at(0),
        now: at(1),
        random: 0.5,
        timing,
        safeguards,
    };
    let end = record(&document, &presentation).0.unwrap().reauth_at.unwrap();
    (end.at.duration_since(at(0)).as_hours() / 24, end.basis)
}

#[test]
fn the_end_of_a_login_counts_from_when_a_person_logged_in_as_far_as_is_known() {
    let (none, known) = (Document::default(), |days, basis: &str| (days, basis.to_owned()));
    assert_eq!(end_of(Some(-350), Some(-5), &none), known(15, "issued_at"), "the annotation");
    assert_eq!(
        end_of(None, Some(-360), &none),
        known(5, "issued_at"),
        "the first login is as old as its Secret"
    );
    assert_eq!(end_of(None, None, &none), known(30, "adopted_at"), "idle, before anything else");
    let later = living(&login("r1"), "r4");
    assert_eq!(
        end_of(None, Some(-360), &later),
        known(30, "adopted_at"),
        "a later one is younger than its Secret"
    );
}

#[test]
fn when_a_person_logged_in_may_be_said_later() {
    let mut login = login("r1");
    let document = living(&login, "r4");
    login.issued_at = Some(at(-360 * 86_400));
    let said = adopt(&document, &login, at(0), Safeguards::ON);
    assert_eq!((said.progress(), redeemed(said, &login).0), (document.progress(), 5));
    login.issued_at = None;
    assert_eq!(adopt(&document, &login, at(0), Safeguards::ON), document);
}
