//! Datadog's token endpoint: a public client, and separate sites.

use super::*;

async fn post(server: &Standin, site: &str, form: &[(&str, &str)]) -> Answer {
    let host = format!("api.{site}");
    server.https().post_form(&host, "/oauth2/v1/token", form).await.expect("an answer")
}

#[tokio::test]
async fn a_public_client_refreshes_with_exactly_three_parameters() {
    let server = standin().await;
    let first = server.seed(datadog("datadoghq.com"), "pup");
    let form = [("grant_type", "refresh_token"), ("client_id", "pup"), ("refresh_token", first.as_str())];
    for extra in [("client_secret", "x"), ("scope", "monitors_read"), ("redirect_uri", "http://127.0.0.1/cb")]
    {
        let answer = post(&server, "datadoghq.com", &[form[0], form[1], form[2], extra]).await;
        assert_eq!(refused(&answer), (400, "invalid_request".to_owned()), "{extra:?}");
    }
    let basic = format!("Basic {}", STANDARD.encode("pup:"));
    let headers = [FORM, ("authorization", basic.as_str())];
    let https = server.https();
    let answer = https.post("api.datadoghq.com", "/oauth2/v1/token", &headers, https::encode(&form)).await;
    assert_eq!(refused(&answer.expect("an answer")), (400, "invalid_request".to_owned()));
    let unknown = [form[0], ("client_id", "unknown"), form[2]];
    assert_eq!(refused(&post(&server, "datadoghq.com", &unknown).await), (400, "invalid_client".to_owned()));

    let answer = post(&server, "datadoghq.com", &form).await;
    let (access, second) = tokens(&answer);
    assert_eq!(
        answer.json(),
        json!({"access_token": access, "token_type": "Bearer", "expires_in": 3600, "refresh_token": second,
               "scope": "monitors_read dashboards_read"})
    );
    assert_ne!(first, second);
    assert_eq!(refused(&post(&server, "datadoghq.com", &form).await), (400, "invalid_grant".to_owned()));
    assert!(!server.is_active(&access));
}

#[tokio::test]
async fn sites_share_no_clients_and_tokens() {
    let server = standin().await;
    let token = server.seed(datadog("datadoghq.eu"), "pup");
    let form = [("grant_type", "refresh_token"), ("client_id", "pup"), ("refresh_token", token.as_str())];
    assert_eq!(refused(&post(&server, "datadoghq.com", &form).await), (400, "invalid_grant".to_owned()));
    assert_eq!(refused(&post(&server, "us3.datadoghq.com", &form).await), (400, "invalid_client".to_owned()));
    tokens(&post(&server, "datadoghq.eu", &form).await);
}
