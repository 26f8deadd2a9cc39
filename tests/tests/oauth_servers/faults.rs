//! The ordered faults and their effect on tokens.

use std::pin::pin;

use super::*;

async fn attempt(server: &Standin, token: &str) -> Result<Answer, Failure> {
    server.https().post_form(PAGERDUTY, "/oauth/token", &pagerduty_form(token)).await
}

#[tokio::test]
async fn a_status_before_the_commit_does_not_use_the_token() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(2, &Fault::status(500));
    server.fail_next(1, &Fault::status(429).with_header("ratelimit-reset", "7"));
    server.fail_next(1, &Fault::status(503).with_header("retry-after", "11"));
    for (status, header) in
        [(500, None), (500, None), (429, Some("ratelimit-reset")), (503, Some("retry-after"))]
    {
        let answer = attempt(&server, &token).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), status);
        assert!(header.is_none_or(|name| answer.headers.contains_key(name)), "{:?}", answer.headers);
        let seen = last(&server.log());
        assert_eq!(seen.fault, Some(format!("status_{status}")));
        assert_eq!(seen.outcome, "unprocessed");
        assert_eq!(seen.token_sha256, Some(fingerprint(&token)));
    }
    tokens(&attempt(&server, &token).await.expect("an answer"));
}

#[tokio::test]
async fn a_fault_after_the_commit_uses_the_token() {
    let server = standin().await;
    for fault in [Fault::status(503), Fault::new(How::Html), Fault::new(How::Close)] {
        let token = server.seed(Provider::PagerDuty, "app");
        server.fail_next(1, &fault.after_commit());
        if let Ok(answer) = attempt(&server, &token).await {
            assert!(!answer.body.windows(5).any(|part| part == b"pdus+"), "{:?}", answer.body);
        }
        assert_eq!(last(&server.log()).outcome, "granted");
        assert!(last(&server.log()).child_sha256.is_some());
        let again = attempt(&server, &token).await.expect("an answer");
        assert_eq!(refused(&again), (400, "invalid_grant".to_owned()));
    }
}

#[tokio::test]
async fn a_valid_request_can_be_answered_with_an_oauth_error() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::oauth_error(400, "invalid_grant"));
    let answer = attempt(&server, &token).await.expect("an answer");
    assert_eq!(refused(&answer), (400, "invalid_grant".to_owned()));
    assert_eq!(answer.headers["content-type"], "application/json");
    tokens(&attempt(&server, &token).await.expect("an answer"));
}

#[tokio::test]
async fn a_web_page_is_served_with_status_200() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::new(How::Html));
    let answer = attempt(&server, &token).await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/html");
    tokens(&attempt(&server, &token).await.expect("an answer"));
}

#[tokio::test]
async fn a_body_can_be_truncated_before_or_after_the_refresh_token() {
    let server = standin().await;
    for framed in [false, true] {
        for (at, saved) in
            [(Cut::InRefreshToken, false), (Cut::AfterRefreshToken, true), (Cut::Bytes(20), false)]
        {
            let token = server.seed(Provider::PagerDuty, "app");
            server.fail_next(1, &Fault::new(How::Cut { at, framed }));
            let received = match attempt(&server, &token).await {
                Ok(answer) if framed => answer.body,
                Err(Failure::CutOff { received, .. }) if !framed => received,
                other => panic!("{at:?} {framed}: {other:?}"),
            };
            let text = String::from_utf8_lossy(&received).into_owned();
            serde_json::from_str::<Value>(&text).expect_err("half a document");
            assert!(text.starts_with(r#"{"token_type":"beare"#), "{text}");
            let kept = text.split(r#""refresh_token":""#).nth(1).and_then(|rest| rest.split_once('"'));
            assert_eq!(kept.is_some(), saved, "{text}");
            if let Some((child, _)) = kept {
                assert_eq!(last(&server.log()).child_sha256, Some(fingerprint(child)));
                tokens(&attempt(&server, child).await.expect("an answer"));
            }
        }
    }
}

#[tokio::test]
async fn a_hanging_answer_is_logged_and_a_closed_one_is_an_error() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::new(How::Hang).after_commit());
    let waiting = attempt(&server, &token);
    let arrived = server.log_when(|log| presentations(log).count() == 1);
    tokio::select! {
        biased;
        answer = waiting => panic!("{answer:?}"),
        log = arrived => assert_eq!(last(&log).fault.as_deref(), Some("hang")),
    }

    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::new(How::Close));
    assert!(matches!(attempt(&server, &token).await, Err(Failure::Unanswered(_))));
    assert_eq!(last(&server.log()).fault.as_deref(), Some("close"));
    tokens(&attempt(&server, &token).await.expect("an answer"));
}

#[tokio::test]
async fn a_held_answer_is_sent_when_it_is_released() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::new(How::Held));
    let mut waiting = pin!(attempt(&server, &token));
    let arrived = server.log_when(|log| presentations(log).count() == 1);
    let held = tokio::select! {
        biased;
        answer = &mut waiting => panic!("{answer:?}"),
        log = arrived => last(&log),
    };
    assert_eq!((held.fault.as_deref(), held.outcome.as_str()), (Some("held"), "granted"));
    assert_eq!(held.peer, Some(server.addr().ip()), "from this machine");
    server.release();
    let (_, child) = tokens(&waiting.await.expect("an answer"));
    assert_eq!(held.child_sha256, Some(fingerprint(&child)));
}

#[tokio::test]
async fn fields_can_be_missing_or_of_another_type() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::new(How::NoRefreshToken));
    let answer = attempt(&server, &token).await.expect("an answer");
    assert_eq!(answer.json().get("refresh_token"), None);
    assert!(server.is_active(&answer.text("access_token").expect("an access token")));

    server.fail_next(1, &Fault::new(How::NoExpiresIn));
    let answer = attempt(&server, &token).await.expect("the old token still works");
    assert_eq!(answer.json().get("expires_in"), None);

    server.fail_next(1, &Fault::new(How::ExpiresInText));
    let answer = attempt(&server, &tokens(&answer).1).await.expect("an answer");
    assert_eq!(answer.json()["expires_in"], "86400");

    server.fail_next(1, &Fault::new(How::Scope("openid".to_owned())));
    let answer = attempt(&server, &tokens(&answer).1).await.expect("an answer");
    assert_eq!(answer.text("scope").as_deref(), Some("openid"));

    let token = tokens(&answer).1;
    server.fail_next(1, &Fault::new(How::NoRefreshToken).after_commit());
    let answer = attempt(&server, &token).await.expect("an answer");
    assert_eq!(answer.json().get("refresh_token"), None);
    let again = attempt(&server, &token).await.expect("an answer");
    assert_eq!(refused(&again), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn a_fault_can_be_limited_to_one_client_or_cleared() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    server.fail_next(1, &Fault::status(500).of_client("other-app"));
    let (_, token) = tokens(&attempt(&server, &token).await.expect("an answer"));
    server.fail_next(3, &Fault::status(500));
    server.stop_failing();
    tokens(&attempt(&server, &token).await.expect("an answer"));
}
