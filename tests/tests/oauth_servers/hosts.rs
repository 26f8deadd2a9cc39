//! The hosts of the stand-in.

use super::*;
use http::Request;

#[tokio::test]
async fn the_certificate_covers_every_host_of_the_providers() {
    let server = standin().await;
    let https = server.https();
    let sites = DATADOG_SITES.iter().map(|site| (format!("api.{site}"), "/oauth2/v1/token"));
    let identity = [(PAGERDUTY.to_owned(), "/oauth/token"), ("localhost".to_owned(), "/oauth/token")];
    for (host, path) in sites.chain(identity) {
        let answer = https.get(&host, path).await.expect("a handshake");
        assert_eq!(refused(&answer), (405, "method_not_allowed".to_owned()), "{host}");
    }
    for (host, path) in [
        ("api.pagerduty.com", "/oauth/token"),
        ("api.eu.pagerduty.com", "/oauth/token"),
        (PAGERDUTY, "/oauth2/v1/token"),
        (PAGERDUTY, "/oauth/token/"),
        ("api.datadoghq.com", "/oauth/token"),
    ] {
        let answer = https.post_form(host, path, &[]).await.expect("a handshake");
        assert_eq!(refused(&answer), (404, "not_found".to_owned()), "{host}{path}");
    }
    assert!(matches!(https.get("example.com", "/").await, Err(Failure::Handshake(_))));
}

#[tokio::test]
async fn handshake_and_host_header_must_agree() {
    let server = standin().await;
    let ask = || Request::post("/oauth/token").body(String::new()).expect("a request");
    for sni in ["localhost", "127.0.0.1", "api.pagerduty.com"] {
        let answer = server.https().send(sni, PAGERDUTY, ask()).await.expect("an answer");
        assert_eq!(refused(&answer), (421, "misdirected".to_owned()), "{sni}");
    }
    let answer =
        server.https().send(PAGERDUTY, "identity.pagerduty.com:443", ask()).await.expect("an answer");
    assert_eq!(refused(&answer), (400, "invalid_request".to_owned()));
}

#[tokio::test]
async fn dropping_a_server_closes_its_port_and_its_connections() {
    let server = standin().await;
    let https = server.https();
    let ask = || Request::get("/test/log").body(String::new()).expect("a request");
    let mut open = https.connect("localhost").await.expect("a connection");
    assert_eq!(open.send("localhost", ask()).await.expect("an answer").status, 200);
    drop(server);
    https.get("localhost", "/test/log").await.expect_err("the port is closed");
    open.send("localhost", ask()).await.expect_err("the connection is closed");
}
