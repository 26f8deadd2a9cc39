mod forms;

use super::*;
use crate::fixtures::{login, login_with};
use crate::reply::{MAX_BODY, MediaType};
use agent_creds_core::grant::MAX_TOKEN;

fn reply(status: u16, body: impl Into<Vec<u8>>) -> HttpReply {
    HttpReply { status, body: body.into(), complete: true, ..HttpReply::default() }
}

fn heard(reply: HttpReply) -> Heard {
    Heard::of(Reply::Http(reply), &login("r1").asked(), "")
}

fn http(status: u16, body: &str) -> Answer {
    heard(reply(status, body)).answer
}

fn cut(body: &str) -> Answer {
    heard(HttpReply { complete: false, ..reply(200, body) }).answer
}

/// The answer to a grant whose tokens do not rotate.
fn fixed(reply: Reply) -> Answer {
    let file = "token_url: https://id.example.com/token\nflow: client_credentials";
    Answer::of(reply, &login_with("", file).asked())
}

#[track_caller]
fn granted(answer: Answer) -> Tokens {
    match answer {
        Answer::Granted(tokens) => tokens,
        other => panic!("expected tokens, got {other:?}"),
    }
}

/// The access token and the refresh token.
#[track_caller]
fn pair(answer: Answer) -> (String, Option<String>) {
    let tokens = granted(answer);
    (tokens.access.expose().to_owned(), tokens.refresh.map(|token| token.expose().to_owned()))
}

fn both() -> (String, Option<String>) {
    ("a".to_owned(), Some("r".to_owned()))
}

#[track_caller]
fn doubt(answer: Answer) -> (Cause, Option<String>) {
    match answer {
        Answer::InDoubt { cause, salvaged, .. } => (cause, salvaged.map(|token| token.expose().to_owned())),
        other => panic!("expected a doubt, got {other:?}"),
    }
}

#[track_caller]
fn refused(answer: Answer) -> Refused {
    match answer {
        Answer::Refused { reason, .. } => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn only_what_says_that_the_refresh_token_is_dead_condemns_it() {
    for error in ["invalid_grant", "bad_refresh_token", "invalid_refresh_token"] {
        for status in [200, 400, 401] {
            let body = format!(r#"{{"error":"{error}","error_description":"no"}}"#);
            assert_eq!(http(status, &body), Answer::InvalidGrant, "{status} {error}");
        }
    }
    for (status, error, expected) in [
        (401, "invalid_client", Refused::InvalidClient),
        (400, "invalid_request", Refused::InvalidRequest),
        (400, "invalid_scope", Refused::InvalidScope),
        (400, "something", Refused::OauthError),
        (200, "invalid_client", Refused::InvalidClient),
        (200, "incorrect_client_credentials", Refused::InvalidClient),
        (200, "something", Refused::OauthError),
    ] {
        assert_eq!(refused(http(status, &format!(r#"{{"error":"{error}"}}"#))), expected, "{status} {error}");
    }
    assert_eq!(http(500, r#"{"error":"invalid_grant"}"#), http(500, ""), "nothing that fails condemns it");
}

#[test]
fn an_error_is_found_where_vendors_put_it() {
    for body in [
        r#"{"ok":false,"error":"invalid_refresh_token"}"#,
        r#"{"ok":"false","error":"invalid_refresh_token"}"#,
        r#"{"error":{"code":"invalid_grant","message":"no"}}"#,
        r#"{"error":{"type":"invalid_grant"}}"#,
        r#"{"errors":[{"code":"invalid_grant"}]}"#,
        "error=bad_refresh_token&error_description=The+refresh+token",
    ] {
        assert_eq!(http(200, body), Answer::InvalidGrant, "{body}");
        assert_eq!(http(400, body), Answer::InvalidGrant, "{body}");
    }
    for body in [r#"{"error":{"code":17}}"#, r#"{"error":true}"#, r#"{"ok":false,"error":"x"}"#] {
        assert_eq!(refused(http(200, body)), Refused::OauthError, "{body}");
    }
    let body = r#"{"access_token":"a","refresh_token":"r","error":null,"errors":[],"ok":true}"#;
    assert_eq!(pair(http(200, body)), both(), "no error");
    let body = r#"{"access_token":"a","refresh_token":"r","error":"a warning"}"#;
    assert_eq!(pair(http(200, body)), both(), "tokens came with it");
}

#[test]
fn an_answer_that_is_neither_a_grant_nor_an_oauth_error_is_a_doubt() {
    for (status, body, expected) in [
        (200, "<html>welcome</html>", Cause::NotJson),
        (200, "", Cause::Empty),
        (204, "", Cause::Empty),
        (200, "{}", Cause::NoAccessToken),
        (200, r#"{"access_token":"a\nb"}"#, Cause::NoAccessToken),
        (200, r#"{"access_token":null}"#, Cause::NoAccessToken),
        (200, r#"{"access_token":true}"#, Cause::NoAccessToken),
        (200, r#"{"access_token":"a","access_token":"b"}"#, Cause::NoAccessToken),
        (303, "", Cause::Redirected),
        (304, "", Cause::UnexpectedStatus),
        (404, "<html>", Cause::UnexpectedStatus),
        (400, "invalid_grant", Cause::UnexpectedStatus),
        (403, r#"{"message":"Forbidden"}"#, Cause::UnexpectedStatus),
        (500, r#"{"error":"invalid_grant"}"#, Cause::ServerError),
        (503, "", Cause::ServerError),
    ] {
        assert_eq!(doubt(http(status, body)), (expected, None), "{status} {body}");
    }
    let lost = Answer::of(Reply::Lost(Cause::Timeout), &login("r1").asked());
    assert_eq!(doubt(lost), (Cause::Timeout, None));
}

#[test]
fn where_nothing_rotates_there_is_no_doubt() {
    for (status, body, expected) in [
        (200, "<html>", Refused::UnexpectedAnswer),
        (204, "", Refused::UnexpectedAnswer),
        (303, "", Refused::Redirected),
        (403, "<html>", Refused::UnexpectedAnswer),
        (404, "", Refused::UnexpectedAnswer),
        (502, "<html>", Refused::ServerError),
        (503, "", Refused::ServerError),
    ] {
        let again = HttpReply { retry_after_s: Some(7), ..reply(status, body) };
        let Answer::Refused { reason, retry_after_s: Some(7) } = fixed(Reply::Http(again)) else {
            panic!("{status} {body}")
        };
        assert_eq!(reason, expected, "{status} {body}");
    }
    for cause in [Cause::Timeout, Cause::Reset] {
        assert_eq!(refused(fixed(Reply::Lost(cause))), Refused::NoAnswer);
    }
}

#[test]
fn a_redirect_is_a_refusal_that_says_where_to() {
    for status in [301, 302, 307, 308] {
        let location = Some("id.example.com/o/token/".to_owned());
        let heard = heard(HttpReply { location, ..reply(status, "") });
        assert_eq!(refused(heard.answer), Refused::Redirected);
        let said = heard.http.unwrap().to_string();
        assert_eq!(said, format!("HTTP {status} to id.example.com/o/token/"));
    }
}

#[test]
fn an_unexpected_answer_is_told_by_status_and_media_type() {
    let page = |status| HttpReply { media_type: Some(MediaType::Html), ..reply(status, "<html>") };
    assert_eq!(heard(page(403)).http.unwrap().to_string(), "HTTP 403 with text/html");
    assert_eq!(heard(page(200)).http.unwrap().to_string(), "HTTP 200 with text/html");
    let refused =
        HttpReply { media_type: Some(MediaType::Json), ..reply(400, r#"{"error":"invalid_grant"}"#) };
    assert_eq!(heard(refused).http.unwrap().to_string(), "HTTP 400");
    let lost = Heard::of(Reply::Lost(Cause::Timeout), &login("r1").asked(), "");
    assert!(lost.http.is_none());
}

#[test]
fn a_whole_refresh_token_in_a_broken_body_is_saved() {
    let saved = |body| doubt(cut(body));
    let saves = |token: &str| (Cause::Truncated, Some(token.to_owned()));
    assert_eq!(saved(r#"{"refresh_token" : "r+1", "access_tok"#), saves("r+1"));
    assert_eq!(saved("refresh_token=r%2B1&access_tok"), saves("r+1"));
    for body in [
        r#"{"refresh_token":"r+1"#,
        r#"{"refresh_token":"r\u002b","#,
        r#"{"access_token":"a"#,
        "access_token=a&refresh_token=r%2B1",
    ] {
        assert_eq!(
            saved(body),
            (Cause::Truncated, None),
            "cut off or escaped, so nothing is guessed: {body}"
        );
    }
    let (cause, token) = doubt(http(200, r#"{"refresh_token":"r"}"#));
    assert_eq!((cause, token.as_deref()), (Cause::NoAccessToken, Some("r")));
    let (cause, token) = doubt(http(200, r#"["x","refresh_token","refresh_token":"r"] "#));
    assert_eq!((cause, token.as_deref()), (Cause::NotJson, Some("r")));
}

#[test]
fn a_whole_object_is_read_also_where_the_body_ends_too_early() {
    assert_eq!(pair(cut(r#"{"access_token":"a","refresh_token":"r"} "#)), both());
    let padded = format!("{{\"access_token\":\"a\",\"refresh_token\":\"r\"}}{}", " ".repeat(MAX_BODY));
    assert_eq!(pair(cut(&padded)), both());
}

#[test]
fn a_refresh_token_that_cannot_be_kept_is_doubt_and_never_taken_for_none() {
    let huge = "x".repeat(MAX_TOKEN + 1);
    for value in [
        r#""x\u00e9y""#.to_owned(),
        format!("\"{huge}\""),
        "true".to_owned(),
        "1.5".to_owned(),
        "1e9".to_owned(),
        "[\"r\"]".to_owned(),
        "{\"value\":\"r\"}".to_owned(),
    ] {
        let heard = heard(reply(200, format!(r#"{{"access_token":"a","refresh_token":{value}}}"#)));
        assert_eq!(doubt(heard.answer), (Cause::BadRefreshToken, None));
        assert!(heard.unread.is_some(), "it is kept as it came");
    }
    let tokens = granted(http(200, r#"{"access_token":"a","refresh_token":"x y"}"#));
    assert_eq!(tokens.refresh.unwrap().expose(), "x y", "RFC 6749 appendix A.17 has the space");
}

#[test]
fn an_unknown_coding_is_kept_for_a_later_version() {
    let encoded = HttpReply {
        media_type: Some(MediaType::Json),
        content_encoding: "br".to_owned(),
        ..reply(200, [0x8b, 0x1f, 0x80, 0x00, 0x03])
    };
    let heard = heard(encoded);
    assert_eq!(doubt(heard.answer), (Cause::Encoded, None));
    let unread = heard.unread.unwrap();
    assert_eq!((unread.body.len(), unread.content_encoding.as_str()), (5, "br"));
    assert_eq!(format!("{unread:?}"), "200 application/json [5 bytes]");
}

#[test]
fn only_an_answer_that_may_hold_a_token_is_kept() {
    let kept = |status, body: &str| heard(reply(status, body)).unread.is_some();
    assert!(kept(200, "<html>") && kept(202, "{}"));
    assert!(
        !kept(204, "") && !kept(200, r#"{"refresh_token":"r"}"#) && !kept(200, r#"{"access_token":"a"}"#)
    );
    assert!(!kept(200, r#"{"error":"x"}"#) && !kept(403, "<html>") && !kept(500, "<html>"));
    let cut_off = heard(HttpReply { complete: false, ..reply(200, r#"{"refresh_token":"r"#) });
    assert!(cut_off.unread.is_some(), "a person may see more in it");
}

#[test]
fn a_429_and_what_was_never_sent_are_tried_again() {
    let busy = heard(HttpReply { retry_after_s: Some(7), ..reply(429, "") });
    let Answer::Refused { reason: Refused::RateLimited, retry_after_s: Some(7) } = busy.answer else {
        panic!("rate limited")
    };
    let unsent = Answer::of(Reply::NotSent(NotSent::Dns), &login("r1").asked());
    assert_eq!(unsent, Answer::NotSent(NotSent::Dns));
}

#[test]
fn the_spool_of_the_version_before_is_read() {
    let doubt = r#"{"in_doubt":{"cause":"timeout","salvaged":null}}"#;
    assert!(matches!(serde_json::from_str(doubt), Ok(Answer::InDoubt { cause: Cause::Timeout, .. })));
    let granted = r#"{"granted":{"access":"a","refresh":"r","expires_in":60,"scopes":null}}"#;
    assert!(matches!(serde_json::from_str(granted), Ok(Answer::Granted(_))));
}

#[test]
fn a_request_that_is_repeated_in_a_page_is_no_refresh_token() {
    let presented = of_token(&"r1".to_owned().into());
    let echo = r#"<html>{"refresh_token":"r1"}</html>"#;
    let heard = Heard::of(Reply::Http(reply(200, echo)), &login("r1").asked(), &presented);
    assert_eq!(doubt(heard.answer), (Cause::NoAccessToken, None));
    assert!(heard.unread.is_some());
}
