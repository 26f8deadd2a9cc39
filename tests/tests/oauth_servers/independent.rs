//! Checks that the independent server detects what the tests rely on.

use super::*;

pub(super) async fn oidc() -> Oidc {
    let clients = vec![
        oidc::Client::confidential("post", "p%st +", ClientAuth::Post),
        oidc::Client::confidential("basic", "b:s%c +", ClientAuth::Basic),
        oidc::Client::public("public"),
    ];
    let scopes = ["read", "write"].map(str::to_owned).to_vec();
    Oidc::start(oidc::Config { clients, scopes, ..oidc::Config::default() })
        .await
        .expect("starting the server")
}

async fn refresh(server: &Oidc, token: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", "public"), ("refresh_token", token)];
    server.https().post_form(&server.addr().to_string(), "/token", &form).await.expect("an answer")
}

async fn active(server: &Oidc, token: &str) -> bool {
    server.introspect(token).await.expect("an introspection")["active"] == true
}

#[tokio::test]
async fn rotates_detects_reuse_and_keeps_a_log() {
    let server = oidc().await;
    assert!(server.issuer().starts_with("https://127.0.0.1:"));
    let first = server.seed("public", "offline_access read").await.expect("a token");
    let answer = refresh(&server, &first).await;
    assert_eq!(answer.text("scope").as_deref(), Some("offline_access read"));
    let (access, second) = tokens(&answer);
    assert!(active(&server, &access).await);
    let (newest, third) = tokens(&refresh(&server, &second).await);

    assert_eq!(refused(&refresh(&server, &first).await), (400, "invalid_grant".to_owned()));
    assert!(!active(&server, &access).await && !active(&server, &newest).await);
    assert_eq!(refused(&refresh(&server, &third).await), (400, "invalid_grant".to_owned()));

    let log = server.log().await.expect("a log");
    let seen: Vec<_> = presentations(&log).collect();
    let outcomes: Vec<_> = seen.iter().map(|seen| seen.outcome.as_str()).collect();
    assert_eq!(outcomes, ["granted", "granted", "invalid_grant", "invalid_grant"]);
    assert_eq!(seen[2].reason.as_deref(), Some("refresh token already used"));
    assert_eq!(seen[1].token_sha256, Some(fingerprint(&second)));
    assert_eq!(seen[1].child_sha256, Some(fingerprint(&third)));
    assert!(seen[0].family.is_some() && seen.iter().all(|one| one.family == seen[0].family));
    assert_eq!(revoked(&log).map(Some).collect::<Vec<_>>(), [seen[0].family.as_deref()]);
}

#[tokio::test]
async fn five_simultaneous_presentations_revoke_the_family() {
    let server = oidc().await;
    let token = server.seed("public", "offline_access read").await.expect("a token");
    let [a, b, c, d, e] = std::array::from_fn(|_| refresh(&server, &token));
    let answers = tokio::join!(a, b, c, d, e);
    let answers = [answers.0, answers.1, answers.2, answers.3, answers.4];
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    assert!(!active(&server, &tokens(won[0]).0).await);
}

#[tokio::test]
async fn detects_reuse_after_a_thousand_rotations() {
    let server = oidc().await;
    let first = server.seed("public", "offline_access read").await.expect("a token");
    let mut connection = server.https().connect("127.0.0.1").await.expect("a connection");
    let host = server.addr().to_string();
    let mut token = first.clone();
    // Each rotation makes two entries; the server's default store keeps some 2,000.
    for _ in 0..1_020 {
        let body = https::encode(&[
            ("grant_type", "refresh_token"),
            ("client_id", "public"),
            ("refresh_token", &token),
        ]);
        let request = http::Request::post("/token").header(FORM.0, FORM.1).body(body).expect("a request");
        token = tokens(&connection.send(&host, request).await.expect("an answer")).1;
    }
    assert_eq!(refused(&refresh(&server, &first).await), (400, "invalid_grant".to_owned()));
    assert_eq!(refused(&refresh(&server, &token).await), (400, "invalid_grant".to_owned()));
    assert_eq!(revoked(&server.log().await.expect("a log")).count(), 1);
}

#[tokio::test]
async fn exits_when_its_stdin_closes() {
    let server = oidc().await;
    let https = server.https();
    assert!(server.stop().await.expect("its end").success());
    assert!(matches!(https.get("localhost", "/test/log").await, Err(Failure::Connect(_))));
}
