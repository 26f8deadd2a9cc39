//! Rotation and reuse in the stand-in.

use super::*;

#[tokio::test]
async fn reuse_revokes_the_family_with_its_access_tokens_and_no_other() {
    let server = standin().await;
    let first = server.seed(Provider::PagerDuty, "app");
    let bystander = server.seed(Provider::PagerDuty, "app");
    let (access, second) = tokens(&pagerduty(&server, &pagerduty_form(&first)).await);
    let (newest, third) = tokens(&pagerduty(&server, &pagerduty_form(&second)).await);
    assert!(server.is_active(&access) && server.is_active(&newest));
    assert_eq!(revoked(&server.log()).count(), 0);

    let again = pagerduty(&server, &pagerduty_form(&first)).await;
    assert_eq!(refused(&again), (400, "invalid_grant".to_owned()));
    assert!(!server.is_active(&access) && !server.is_active(&newest));
    let newest = pagerduty(&server, &pagerduty_form(&third)).await;
    assert_eq!(newest.body, again.body, "the answers do not show the reason");

    let log = server.log();
    let family = presentations(&log).next().and_then(|seen| seen.family.clone()).expect("a family");
    assert_eq!(revoked(&log).collect::<Vec<_>>(), [family.as_str()]);
    let outcomes: Vec<_> = presentations(&log).map(|seen| seen.outcome.as_str()).collect();
    assert_eq!(outcomes, ["granted", "granted", "invalid_grant", "invalid_grant"]);
    assert!(presentations(&log).all(|seen| seen.family.as_ref() == Some(&family)));
    tokens(&pagerduty(&server, &pagerduty_form(&bystander)).await);
}

#[tokio::test]
async fn five_simultaneous_presentations_revoke_the_family() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    let form = pagerduty_form(&token);
    let [a, b, c, d, e] = std::array::from_fn(|_| pagerduty(&server, &form));
    let answers = tokio::join!(a, b, c, d, e);
    let answers = [answers.0, answers.1, answers.2, answers.3, answers.4];
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(!server.is_active(&tokens(won[0]).0));
}

#[tokio::test]
async fn a_token_of_another_client_is_refused_and_stays_valid() {
    let server = standin().await;
    let token = server.seed(Provider::PagerDuty, "app");
    let stolen = [
        ("grant_type", "refresh_token"),
        ("client_id", "other-app"),
        ("client_secret", "other"),
        ("refresh_token", token.as_str()),
    ];
    assert_eq!(refused(&pagerduty(&server, &stolen).await), (400, "invalid_grant".to_owned()));
    assert!(reason(&server).contains("another client's"));
    tokens(&pagerduty(&server, &pagerduty_form(&token)).await);
}

#[tokio::test]
async fn tokens_end_by_revocation_and_by_expiry() {
    let server = standin().await;
    let first = server.seed(Provider::PagerDuty, "app");
    server.set_token_life(Some(120));
    let answer = pagerduty(&server, &pagerduty_form(&first)).await;
    assert_eq!(answer.json()["expires_in"], 120);
    let (access, second) = tokens(&answer);
    server.advance(Duration::from_secs(60));
    assert!(server.is_active(&access));
    server.advance(Duration::from_secs(61));
    assert!(!server.is_active(&access));

    let (access, third) = tokens(&pagerduty(&server, &pagerduty_form(&second)).await);
    assert!(server.is_active(&access));
    assert!(server.revoke(&second), "any token of the family identifies it");
    assert!(!server.revoke(&second));
    assert!(!server.is_active(&access));
    assert_eq!(
        refused(&pagerduty(&server, &pagerduty_form(&third)).await),
        (400, "invalid_grant".to_owned())
    );
}
