//! The forms in which a success comes.

use super::*;
use crate::answer::fields::MAX_SCOPES;

#[test]
fn a_success_is_read_leniently() {
    let tokens = granted(http(
        200,
        r#"{"access_token":"a","refresh_token":"r","expires_in":"3600","scope":"x y,z","extra":[1]}"#,
    ));
    assert_eq!(tokens.access.expose(), "a");
    assert_eq!(tokens.refresh.unwrap().expose(), "r");
    assert_eq!(tokens.expires_in, Some(3600));
    assert_eq!(tokens.scopes.unwrap(), ["x", "y", "z"]);

    let tokens = granted(http(201, r#"{"access_token":"a","refresh_token":"","expires_in":-1}"#));
    assert!(tokens.refresh.is_none(), "an empty refresh token is none: the old one stays");
    assert_eq!((tokens.expires_in, tokens.scopes), (None, None));
}

#[test]
fn a_lifetime_is_read_in_every_form_in_which_it_is_one() {
    let life = |value: &str| {
        granted(http(200, &format!(r#"{{"access_token":"a","expires_in":{value}}}"#))).expires_in
    };
    for (value, expected) in [
        ("3600", Some(3600)),
        ("3599.9", Some(3599)),
        ("\"3600\"", Some(3600)),
        ("\" 3600.5 \"", Some(3600)),
        ("1e3", Some(1000)),
        ("99999999999999999999", Some(10 * 365 * 86_400)),
        ("0", None),
        ("-1", None),
        ("\"soon\"", None),
        ("null", None),
        ("true", None),
        ("[3600]", None),
    ] {
        assert_eq!(life(value), expected, "{value}");
    }
}

#[test]
fn a_token_that_is_a_number_is_its_digits() {
    let digits = "123456789012345678901234567890";
    let (access, refresh) =
        pair(http(200, &format!(r#"{{"access_token":{digits},"refresh_token":12345678}}"#)));
    assert_eq!((access.as_str(), refresh.as_deref()), (digits, Some("12345678")));
}

#[test]
fn a_key_that_occurs_twice_with_one_value_is_that_value() {
    let body = r#"{"access_token":"a","access_token":"a","refresh_token":"r","refresh_token":"r",
        "token_type":"Bearer","token_type":"bearer","expires_in":60,"expires_in":3600}"#;
    let tokens = granted(http(200, body));
    assert_eq!((tokens.access.expose(), tokens.expires_in), ("a", Some(60)), "the shorter life");
    assert!(tokens.others.is_empty() && !tokens.is_of_another_type);
}

#[test]
fn of_two_refresh_tokens_the_last_is_the_head_and_the_other_is_kept() {
    let body = r#"{"access_token":"a","refresh_token":"r","refresh_token":"s"}"#;
    let shown = |answer: &Answer| {
        let others: Vec<_> = answer.others().iter().map(|token| token.expose().to_owned()).collect();
        (answer.child().map(|token| token.expose().to_owned()), others)
    };
    let answer = http(200, body);
    assert_eq!(shown(&answer), (Some("s".to_owned()), vec!["r".to_owned()]));
    let fp = |token: &str| of_token(&token.to_owned().into());
    assert_eq!(
        shown(&answer.clone().apart_from(&fp("s"))),
        (Some("r".to_owned()), vec![]),
        "the presented one"
    );
    assert_eq!(shown(&answer.apart_from(&fp("r"))), (Some("s".to_owned()), vec![]), "the presented one");
    let unread = http(200, r#"{"refresh_token":"r","refresh_token":"s"}"#);
    assert_eq!(shown(&unread), (Some("s".to_owned()), vec!["r".to_owned()]));
    let many: Vec<_> = (0..5).map(|n| format!("refresh_token=r{n}")).collect();
    let heard = heard(reply(200, format!("access_token=a&{}", many.join("&"))));
    assert_eq!(doubt(heard.answer), (Cause::BadRefreshToken, None));
    assert!(heard.unread.is_some(), "there is no room for so many");
    let alone = http(200, r#"{"access_token":"a","refresh_token":"r"}"#).apart_from(&fp("r"));
    assert_eq!(shown(&alone), (Some("r".to_owned()), vec![]), "it stays in use");
}

#[test]
fn tokens_are_found_within_a_wrapper_and_only_where_they_are_unambiguous() {
    for body in [
        r#"{"data":{"access_token":"a","refresh_token":"r"},"message":"success"}"#,
        r#"{"ok":true,"result":{"token":{"access_token":"a","refresh_token":"r"}}}"#,
        r#"[{"access_token":"a","refresh_token":"r"}]"#,
        r#"{"statusCode":200,"body":"{\"access_token\":\"a\",\"refresh_token\":\"r\"}"}"#,
        r#""{\"access_token\":\"a\",\"refresh_token\":\"r\"}""#,
        r#"{"access_token":"a","refresh_token":"r","user":{"access_token":"b","refresh_token":"s"}}"#,
    ] {
        assert_eq!(pair(http(200, body)), both(), "{body}");
    }
    let heard = heard(reply(200, r#"{"one":{"access_token":"a"},"two":{"access_token":"b"}}"#));
    assert_eq!(doubt(heard.answer), (Cause::NoAccessToken, None));
    assert!(heard.unread.is_some());
    let deep = format!("{}{{\"access_token\":\"a\"}}{}", "{\"x\":".repeat(100), "}".repeat(100));
    assert_eq!(doubt(http(200, &deep)).0, Cause::NoAccessToken);
}

#[test]
fn a_form_is_read_by_its_media_type_and_where_it_clearly_is_one() {
    let body = "access_token=a&expires_in=28800&refresh_token=r&scope=read+write&token_type=bearer";
    for media_type in [Some(MediaType::Form), Some(MediaType::Html), Some(MediaType::Plain), None] {
        let heard = heard(HttpReply { media_type, ..reply(200, body) });
        let tokens = granted(heard.answer);
        assert_eq!((tokens.access.expose(), tokens.expires_in), ("a", Some(28_800)));
        assert_eq!(tokens.scopes.unwrap(), ["read", "write"]);
    }
    let escaped = "access_token=a%2B%2f%3D&refresh_token=r%2B1&refresh_token=r%2B1";
    assert_eq!(pair(http(200, escaped)), ("a+/=".to_owned(), Some("r+1".to_owned())));
    let bare = "access_token=a+b&refresh_token=r+1";
    assert_eq!(
        pair(http(200, bare)),
        ("a+b".to_owned(), Some("r+1".to_owned())),
        "a plus that was not escaped"
    );
    let declared = HttpReply { media_type: Some(MediaType::Form), ..reply(200, r#"{"access_token":"a"}"#) };
    assert_eq!(pair(heard(declared).answer).0, "a", "JSON with the wrong media type");
    assert_eq!(doubt(http(200, "<a href='?access_token=a'>")).0, Cause::NotJson);
    assert_eq!(doubt(http(200, "state=1&code=2")).0, Cause::NotJson);
}

#[test]
fn text_around_the_object_and_its_encoding_do_not_matter() {
    let body = r#"{"access_token":"a","refresh_token":"r"}"#;
    let utf16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [
        [b"\xef\xbb\xbf", body.as_bytes()].concat(),
        utf16.clone(),
        [b"\xff\xfe".as_slice(), &utf16].concat(),
        format!("{body} <!-- proxy -->").into_bytes(),
        format!(")]}}',\n{body}").into_bytes(),
        body.replace("\"r\"", "\"r\", /* a note */").into_bytes(),
        b"{\"access_token\":\"a\",\"refresh_token\":\"r\",\"name\":\"\xfc\"}".to_vec(),
    ] {
        assert_eq!(pair(heard(reply(200, bytes.clone())).answer), both(), "{bytes:?}");
    }
}

#[test]
fn scopes_of_an_answer_are_bounded() {
    let many = "s ".repeat(50_000);
    let tokens = granted(http(200, &format!(r#"{{"access_token":"a","scope":"{many}"}}"#)));
    assert_eq!(tokens.scopes.unwrap().len(), MAX_SCOPES);
    let listed = granted(http(200, r#"{"access_token":"a","scope":["x y",7,"z"]}"#));
    assert_eq!(listed.scopes.unwrap(), ["x", "y", "z"]);
}

#[test]
fn a_token_of_another_type_is_told_apart() {
    let another = |token_type: &str| {
        let body = format!(r#"{{"access_token":"a","refresh_token":"r","token_type":{token_type}}}"#);
        granted(http(200, &body)).is_of_another_type
    };
    for bearer in ["\"Bearer\"", "\"bearer\"", "\"BEARER\"", "\"\"", "null", "\"bot\"", "\"user\""] {
        assert!(!another(bearer), "{bearer}");
    }
    for other in ["\"DPoP\"", "\"mac\"", "\"N_A\"", "\"pop\"", "7"] {
        assert!(another(other), "{other}");
    }
    assert!(!granted(http(200, r#"{"access_token":"a"}"#)).is_of_another_type);
}
