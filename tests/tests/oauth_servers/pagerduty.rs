//! PagerDuty's token endpoint: its requirements and its answers.

use super::*;

#[tokio::test]
async fn a_refresh_rotates_and_answers_in_the_documented_format() {
    let server = standin().await;
    let first = server.seed(Provider::PagerDuty, "app");
    assert!(first.starts_with("pdus+_1"), "{first}");
    let answer = pagerduty(&server, &pagerduty_form(&first)).await;
    let (access, second) = tokens(&answer);
    assert!(access.starts_with("pdus+_0") && second.starts_with("pdus+_1"), "{access} {second}");
    assert_ne!(first, second);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(
        text,
        format!(
            r#"{{"token_type":"bearer","access_token":"{access}","refresh_token":"{second}","scope":"openid incidents.read schedules.read","expires_in":86400}}"#
        )
    );
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(server.is_active(&access));

    let seen = last(&server.log());
    assert_eq!(seen.host, PAGERDUTY);
    assert_eq!(seen.outcome, "granted");
    assert_eq!(seen.token_sha256, Some(fingerprint(&first)));
    assert_eq!(seen.child_sha256, Some(fingerprint(&second)));
    let log = serde_json::to_string(&server.log()).expect("a log is JSON");
    for secret in [&first, &second, &access, "s3cr+t"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn an_unencoded_plus_makes_the_token_unknown() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    let body = format!("grant_type=refresh_token&client_id=app&client_secret=s3cr%2Bt&refresh_token={token}");
    let answer = server.https().post(PAGERDUTY, "/oauth/token", &[FORM], body).await.expect("an answer");
    assert_eq!(refused(&answer), (400, "invalid_grant".to_owned()));
    assert!(reason(&server).contains("the + of the refresh token"), "{}", reason(&server));
    tokens(&pagerduty(&server, &pagerduty_form(&token)).await);
}

#[tokio::test]
async fn only_a_form_with_the_secret_is_accepted() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    let form = pagerduty_form(&token);
    let post = async |headers: &[(&str, &str)], body: String| {
        let answer = server.https().post(PAGERDUTY, "/oauth/token", headers, body).await;
        refused(&answer.expect("an answer"))
    };
    let invalid_request = (400, "invalid_request".to_owned());
    let invalid_client = (401, "invalid_client".to_owned());

    let json = json!(std::collections::BTreeMap::from(form)).to_string();
    assert_eq!(post(&[("content-type", "application/json")], json).await, invalid_request);
    assert_eq!(post(&[], https::encode(&form)).await, invalid_request);

    let basic = format!("Basic {}", STANDARD.encode("app:s3cr%2Bt"));
    let without = https::encode(&[form[0], form[3]]);
    assert_eq!(post(&[FORM, ("authorization", &basic)], without).await, invalid_client);
    assert_eq!(post(&[FORM, ("authorization", &basic)], https::encode(&form)).await, invalid_client);
    assert_eq!(post(&[FORM], https::encode(&[form[0], form[1], form[3]])).await, invalid_client);
    let wrong = [form[0], form[1], ("client_secret", "s3cr t"), form[3]];
    assert_eq!(post(&[FORM], https::encode(&wrong)).await, invalid_client);
    let narrowed = [form[0], form[1], form[2], form[3], ("scope", "incidents.read")];
    assert_eq!(post(&[FORM], https::encode(&narrowed)).await, invalid_request);

    tokens(&pagerduty(&server, &form).await);
}

#[tokio::test]
async fn a_scope_that_the_app_lacks_reduces_the_token_to_openid() {
    let server = standin().await;
    let token = server.seed_with_scope(Provider::PagerDuty, "app", "incidents.read services.write");
    let answer = pagerduty(&server, &pagerduty_form(&token)).await;
    tokens(&answer);
    assert_eq!(answer.text("scope").as_deref(), Some("openid"));
}

#[tokio::test]
async fn an_app_token_has_no_refresh_token() {
    let server = standin().await;
    let form = |scope| {
        [
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_secret", "s3cr+t"),
            ("scope", scope),
        ]
    };
    let good = "as_account-us.acme incidents.read";
    let answer = pagerduty(&server, &form(good)).await;
    let access = answer.text("access_token").expect("an access token");
    assert_eq!(
        answer.json(),
        json!({"access_token": access, "scope": good, "token_type": "bearer", "expires_in": 86400})
    );
    assert!(server.is_active(&access));

    for scope in
        ["incidents.read", "as_account-us.acme", "as_account-eu.acme incidents.read", "as_account-us.acme x"]
    {
        let answer = pagerduty(&server, &form(scope)).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json(), json!({"error": "invalid_request", "error_description": "Invalid scope"}));
    }
    assert_eq!(refused(&pagerduty(&server, &form(good)[..3]).await), (400, "invalid_request".to_owned()));
}
