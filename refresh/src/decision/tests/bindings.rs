//! Logins and client secrets, and the servers that they are bound to.

use super::*;

/// A login with another client secret.
fn with_secret(token: &str, file: &str, secret: &str) -> Login {
    let mut grant = (*login_with(token, file).grant).clone();
    grant.client_secret = Some(secret.to_owned().into());
    Login::new(grant)
}

#[test]
fn a_live_token_never_goes_to_another_server_or_client() {
    let mine = login("r1");
    let document = Document { access: None, ..living(&mine, "r4") };
    let steered = login_with("r1", "token_url: https://evil.example.com/token");
    assert!(matches!(next(&view(&steered, &document)), Step::Refuse(Outlook::BindingChanged)));

    let mut replaced = living(&mine, "r4");
    seen(&mut replaced, &login("r0"), "replaced");
    let stale = login_with("r0", "token_url: https://evil.example.com/token");
    assert!(
        matches!(next(&view(&stale, &replaced)), Step::Refuse(Outlook::BindingChanged)),
        "not by way of an old login either"
    );
    let fresh = with_secret("n1", "token_url: https://other.example.com/token", "another");
    assert_eq!(claimed(next(&view(&fresh, &document))).token.expose(), "n1", "a new login may move");
}

#[test]
fn a_client_secret_that_was_accepted_goes_to_no_other_server() {
    let mine = login("r1");
    let document = Document { access: None, ..living(&mine, "r4") };
    for file in ["token_url: https://evil.example.com/token", "token_url: https://id.example.com/token/"] {
        let steered = login_with("n1", file);
        assert!(matches!(next(&view(&steered, &document)), Step::Refuse(Outlook::SecretBound)), "{file}");
    }
    // Nothing was adopted, so the login before goes on when the grant Secret is as it was.
    assert_eq!(claimed(next(&view(&mine, &document))).token.expose(), "r4");
    let confirmed = Document { clients: Vec::new(), ..document.clone() };
    let moved = login_with("n1", "token_url: https://new.example.com/token");
    assert_eq!(claimed(next(&view(&moved, &confirmed))).token.expose(), "n1", "a person removed the entry");
    // An application has no login but its client.
    let file = |host: &str| format!("token_url: https://{host}/token\nflow: client_credentials");
    let app = login_with("", &file("id.example.com"));
    let document = Document { access: None, ..living(&app, "") };
    let mut steered = (*login_with("", &file("evil.example.com")).grant).clone();
    steered.client_id = "another".to_owned();
    let steered = Login::new(steered);
    assert!(matches!(next(&view(&steered, &document)), Step::Refuse(Outlook::SecretBound)));
}

#[test]
fn a_document_of_the_version_before_gets_its_client_secret_recorded_soon_and_by_one_replica() {
    let login = login("r1");
    let document = Document { clients: Vec::new(), ..living(&login, "r4") };
    assert_eq!(waits(next(&view(&login, &document))), Some(at(3)), "spread");
    let now = at(3);
    let Step::Write(written) = next(&View { now, ..view(&login, &document) }) else { panic!("a record") };
    assert_eq!(*written, living(&login, "r4"));
    assert_eq!(waits(next(&View { now, ..view(&login, &written) })), Some(at(2880)));
    let claimed = Document { claim: Some(claim("r4", 0)), ..document.clone() };
    assert_eq!(
        waits(next(&View { now, ..view(&login, &claimed) })),
        None,
        "not while another replica holds a claim"
    );
    assert_eq!(waits(next(&View { now, draining: true, ..view(&login, &document) })), None);
}

#[test]
fn a_login_that_no_server_accepted_is_bound_to_none() {
    let wrong = login_with("r1", "token_url: https://id.example.com/tokn");
    let right = login("r1");
    let tried = claimed(next(&view(&wrong, &Document::default()))).document;
    let claim = claim(&wrong.token_fp, -100);
    let config_fp = wrong.config_fp.clone();
    let retry = Retry { attempts: 3, not_before: at(300), config_fp: config_fp.clone(), ..Retry::default() };
    let fp = wrong.token_fp.clone();
    let verdict = Verdict { fp, next_probe: at(3000), config_fp, ..Verdict::default() };
    let with_doubt = |cause: Cause| {
        let mut document = tried.clone();
        let sent_at = at(-100);
        let missing = Missing {
            claim: &claim,
            cause,
            http: None,
            sent_at,
            replay: Replay::Unknown,
            not_before: at(900),
        };
        doubt(&mut document, &missing, sent_at, &Timing::PRODUCTION);
        document
    };
    for (what, document) in [
        ("refused", Document { retry: Some(retry), ..tried.clone() }),
        ("invalid_grant", Document { verdict: Some(verdict), ..tried.clone() }),
        ("a page that says 404", with_doubt(Cause::UnexpectedStatus)),
    ] {
        let attempt = claimed(next(&view(&right, &document)));
        assert_eq!((attempt.token.expose(), attempt.purpose), ("r1", Purpose::Refresh), "{what}");
        let seed = attempt.document.seed.as_ref().unwrap();
        assert_eq!((seed.seq, &seed.binding), (1, &right.binding), "{what}");
        assert!(attempt.document.retry.is_none() && attempt.document.verdict.is_none(), "{what}");
    }
    // What may have been an acceptance binds.
    let mut both = with_doubt(Cause::Timeout);
    let missing = Missing {
        claim: &claim,
        cause: Cause::UnexpectedStatus,
        http: None,
        sent_at: at(-50),
        replay: Replay::Unknown,
        not_before: at(-50),
    };
    doubt(&mut both, &missing, at(-50), &Timing::PRODUCTION);
    let saved = Document { refresh: living(&wrong, "r2").refresh, ..tried.clone() };
    let proven =
        Document { seed: tried.seed.clone().map(|seed| Seed { proven: true, ..seed }), ..tried.clone() };
    for (what, document) in [
        ("a missing answer", with_doubt(Cause::Timeout)),
        ("a failing server", with_doubt(Cause::ServerError)),
        ("an answer that cannot be read", with_doubt(Cause::NotJson)),
        ("a missing answer, and then a page", both),
        ("a refresh token that was saved", saved),
        ("a success", proven),
    ] {
        assert!(matches!(next(&view(&right, &document)), Step::Refuse(Outlook::BindingChanged)), "{what}");
    }
}

#[test]
fn a_login_that_was_rejected_with_wrong_settings_is_tried_with_other_ones() {
    let old = login("r1");
    let wrong = with_secret("n1", "token_url: https://id.example.com/tokn", "new");
    let right = with_secret("n1", "token_url: https://id.example.com/token", "new");
    let mut document = Document { access: None, ..living(&old, "r4") };
    seen(&mut document, &wrong, "rejected");
    assert!(is_stale(&document, &wrong));
    let attempt = claimed(next(&view(&right, &document)));
    assert_eq!(attempt.token.expose(), "n1");
    assert!(attempt.document.seeds_seen.iter().all(|seen| seen.fp != right.token_fp), "adopted");
    assert_eq!(attempt.document.spare[0].token.expose(), "r4", "the login before waits");
    seen(&mut document, &wrong, "replaced");
    assert!(is_stale(&document, &right), "a login that was replaced stays replaced");
}
