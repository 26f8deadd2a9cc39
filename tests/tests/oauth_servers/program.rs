//! The stand-in as a separate program.

use super::*;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[tokio::test]
async fn the_stand_in_program_serves_and_exits_when_its_stdin_closes() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let client =
        r#"{"provider":"pagerduty","id":"app","secret":"s3cr+t","auth":"post","scopes":["incidents.read"]}"#;
    let mut child = Command::new(env!("CARGO_BIN_EXE_agent-creds-standin"))
        .arg("--ca")
        .arg(&ca)
        .args(["--client", client, "--token-life", "77"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting the stand-in");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("its stdout"));
    stdout.read_line(&mut line).expect("a line");
    let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(ready["ready"], true);
    let address: SocketAddr =
        ready["address"].as_str().and_then(|text| text.parse().ok()).expect("its address");
    let https = https::Client::new(address, &std::fs::read_to_string(&ca).expect("the CA file"));

    let host = address.to_string();
    let json = [("content-type", "application/json")];
    let control = async |path: &str, body: Value| {
        let answer = https.post(&host, path, &json, body.to_string()).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        answer.json()
    };
    let seed = control("/test/seed", json!({"provider": "pagerduty", "client_id": "app"})).await;
    let token = seed["refresh_token"].as_str().expect("a token");
    let fault = json!({"how": {"status": {"status": 503, "headers": [["retry-after", "3"]]}}});
    control("/test/fail", json!({"calls": 1, "fault": fault})).await;
    let post =
        async || https.post_form(PAGERDUTY, "/oauth/token", &pagerduty_form(token)).await.expect("an answer");
    assert_eq!(post().await.headers["retry-after"], "3");
    let answer = post().await;
    assert_eq!(answer.json()["expires_in"], 77);
    let (access, second) = tokens(&answer);
    assert_eq!(control("/test/active", json!({"access_token": access})).await, json!({"active": true}));
    control("/test/advance", json!({"seconds": 78})).await;
    assert_eq!(control("/test/active", json!({"access_token": access})).await, json!({"active": false}));
    assert_eq!(control("/test/revoke", json!({"refresh_token": second})).await, json!({"revoked": true}));
    let log = https.get(&host, "/test/log").await.expect("an answer");
    let log: Vec<Event> = serde_json::from_slice(&log.body).expect("a log");
    assert_eq!((presentations(&log).count(), revoked(&log).count()), (2, 1));

    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
}

#[tokio::test]
async fn a_client_with_an_impossible_configuration_is_refused_at_the_start() {
    let wrong = Client { auth: ClientAuth::Basic, ..Client::pagerduty("app", "s", &[]) };
    let config = Config { clients: vec![wrong], ..Config::default() };
    assert!(Standin::start(LOOPBACK, config).await.is_err());
}
