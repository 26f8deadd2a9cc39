//! The local API with callers other than the agent, and with malformed requests.

use std::os::unix::fs::PermissionsExt as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

/// Starts a sidecar whose one grant is ready.
async fn ready() -> (World, Sidecar) {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    (world, sidecar)
}

/// Sends this request line with these headers.
async fn answer(sidecar: &Sidecar, line: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{line}\r\n{headers}connection: close\r\n\r\n");
    sidecar.say(request.as_bytes()).await.expect("an answer")
}

const TOKEN: &str = "GET /v1/token/one HTTP/1.1";

#[tokio::test]
async fn only_one_bearer_header_with_the_caller_key_is_accepted() {
    let (_world, sidecar) = ready().await;
    let key = sidecar.key().to_owned();
    let good = format!("Bearer {key}");
    assert_eq!(answer(&sidecar, TOKEN, &[("host", "localhost"), ("authorization", &good)]).await.status, 200);
    let zeros = "0".repeat(64);
    let wrong = [
        vec![],
        vec![""],
        vec!["Bearer"],
        vec!["Bearer "],
        vec![&*key],
        vec![&good[..good.len() - 1]],
        vec![&good, &good],
        vec![&good, "Bearer x"],
        vec!["Basic eDp5", &good],
    ];
    let made = [
        format!("Bearer {zeros}"),
        format!("Bearer {}", key.to_uppercase()),
        format!("Bearer  {key}"),
        format!("Bearer {key}0"),
        format!("Bearer {key},{key}"),
        format!("Bearer \"{key}\""),
        format!("Basic {key}"),
        format!("Token token={key}"),
        format!("Bearer {key}, Bearer {key}"),
    ];
    let wrong = wrong.into_iter().chain(made.iter().map(|value| vec![value.as_str()]));
    for values in wrong {
        for path in ["/v1/token/one", "/v1/grants", "/", "/v1/token/other"] {
            let mut headers = vec![("host", "localhost")];
            headers.extend(values.iter().map(|value| ("authorization", *value)));
            let (status, error, text) =
                refusal(&answer(&sidecar, &format!("GET {path} HTTP/1.1"), &headers).await);
            assert_eq!((status, &*error), (401, "invalid_client"), "{values:?}");
            assert!(text.contains("AGENT_CREDS_KEY_FILE"), "{text}");
        }
    }
}

#[tokio::test]
async fn only_a_loopback_host_is_accepted_and_it_is_checked_before_the_key() {
    let (_world, sidecar) = ready().await;
    let key = format!("Bearer {}", sidecar.key());
    let port = sidecar.api().port();
    for host in ["localhost", "LocalHost", "127.0.0.1", "[::1]", &format!("localhost:{port}"), "127.0.0.1:1"]
    {
        let got = answer(&sidecar, TOKEN, &[("host", host), ("authorization", &key)]).await;
        assert_eq!(got.status, 200, "{host}");
    }
    let foreign = [
        "evil.example.com",
        "localhost.evil.example.com",
        "evil.example.com:9911",
        "127.0.0.1.evil.example.com",
        "agent-creds",
        "10.0.0.1",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "localhost@evil.example.com",
        "localhost, evil.example.com",
        "localhost:evil",
        "",
    ];
    for host in foreign {
        for authorization in [&*key, "Bearer wrong"] {
            let got = answer(&sidecar, TOKEN, &[("host", host), ("authorization", authorization)]).await;
            let (status, error, _) = refusal(&got);
            assert_eq!((status, &*error), (421, "bad_host"), "{host}");
        }
    }
    let twice = [("host", "localhost"), ("host", "evil.example.com"), ("authorization", &*key)];
    assert_eq!(answer(&sidecar, TOKEN, &twice).await.status, 421);
    let none = [("authorization", &*key)];
    assert_eq!(answer(&sidecar, "GET /v1/token/one HTTP/1.0", &none).await.status, 421);
}

#[tokio::test]
async fn an_absolute_uri_must_name_loopback_too() {
    let (_world, sidecar) = ready().await;
    let key = format!("Bearer {}", sidecar.key());
    let headers = [("host", "localhost"), ("authorization", &*key)];
    for (line, status) in [
        ("GET http://localhost/v1/token/one HTTP/1.1", 200),
        ("GET http://evil.example.com/v1/token/one HTTP/1.1", 421),
        ("GET https://identity.pagerduty.com/v1/token/one HTTP/1.1", 421),
        ("GET http://localhost@evil.example.com/v1/token/one HTTP/1.1", 421),
        ("CONNECT identity.pagerduty.com:443 HTTP/1.1", 421),
        ("CONNECT localhost:443 HTTP/1.1", 404),
    ] {
        assert_eq!(answer(&sidecar, line, &headers).await.status, status, "{line}");
    }
}

#[tokio::test]
async fn unknown_paths_and_grants_are_refused_without_an_echo() {
    let (_world, sidecar) = ready().await;
    for path in [
        "/",
        "/v1",
        "/v1/token",
        "/v1/token/",
        "/v1/token/one/",
        "/v1/grants/",
        "/metrics",
        "/v1/token/one/x",
    ] {
        let (status, error, _) = refusal(&sidecar.get(path).await);
        assert_eq!((status, &*error), (404, "not_found"), "{path}");
    }
    let strange = ["two", "ONE", "one%2f", "..%2fone", "%3Cscript%3E", "one%20", "%00", "one-state"];
    for name in strange {
        let answer = sidecar.get(&format!("/v1/token/{name}")).await;
        let (status, error, text) = refusal(&answer);
        assert_eq!((status, &*error), (404, "unknown_grant"), "{name}");
        assert!(text.contains("it has one"), "the message lists the grants: {text}");
        assert!(!text.contains(['<', '%', '\0']), "{text}");
    }
    let on_socket = refusal(&sidecar.get_on_socket("/v1/token/two").await);
    assert_eq!((on_socket.0, &*on_socket.1), (404, "unknown_grant"));
}

#[tokio::test]
async fn a_wrong_method_is_refused_in_the_same_form() {
    let (_world, sidecar) = ready().await;
    let key = format!("Bearer {}", sidecar.key());
    let headers = [("host", "localhost"), ("authorization", &*key)];
    for line in ["POST /v1/grants HTTP/1.1", "DELETE /v1/token/one HTTP/1.1", "PUT /v1/token/one HTTP/1.1"] {
        let got = answer(&sidecar, line, &headers).await;
        assert_eq!(
            (got.status.as_u16(), got.body.len() > 1),
            (405, true),
            "{line}: no body: {:?}",
            got.headers
        );
        refusal(&got);
    }
}

#[tokio::test]
async fn a_path_that_is_not_text_is_refused_in_the_same_form() {
    let (_world, sidecar) = ready().await;
    let got = sidecar.get("/v1/token/%ff").await;
    assert!(got.status.is_client_error());
    assert_eq!(got.headers["content-type"], "application/json", "{:?}", got.body);
    refusal(&got);
}

#[tokio::test]
async fn a_503_has_retry_after_and_the_grants_message() {
    let world = World::with(&["one"]).await;
    world.standin.fail_next(1, &Fault::status(429).with_header("retry-after", "600"));
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "pending", "rate_limited").await;
    for answer in [sidecar.token("one").await, sidecar.get_on_socket("/v1/token/one").await] {
        let (status, error, text) = refusal(&answer);
        assert_eq!((status, &*error), (503, "temporarily_unavailable"));
        assert_eq!(listed["message"], text);
        let body = answer.json();
        assert_eq!((&body["grant"], &body["state"]), (&json!("one"), &json!("pending")));
        let wait: u64 =
            answer.headers["retry-after"].to_str().ok().and_then(|text| text.parse().ok()).expect("seconds");
        assert!(wait > 0);
    }
}

#[tokio::test]
async fn an_oversized_head_is_refused_and_the_sidecar_keeps_serving() {
    let (_world, mut sidecar) = ready().await;
    let key = sidecar.key().to_owned();
    let padding = "x".repeat(1024 * 1024);
    let long_header =
        format!("{TOKEN}\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nx: {padding}\r\n\r\n");
    let long_path = format!("GET /{padding} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let many: String = (0..5000).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("{TOKEN}\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n{many}\r\n");
    for request in [long_header, long_path, many] {
        let got = sidecar.say(request.as_bytes()).await;
        assert!(got.is_none_or(|answer| answer.status.is_client_error()));
    }
    for garbage in
        [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"\x16\x03\x01\x02\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let got = sidecar.say(&[garbage, &[b'\n'; 64]].concat()).await;
        assert!(got.is_none_or(|answer| answer.status.is_client_error()));
    }
    assert!(sidecar.runs());
    assert_eq!(sidecar.token("one").await.status, 200);
}

#[tokio::test]
async fn idle_connections_are_closed_and_do_not_lock_the_agent_out() {
    let (_world, sidecar) = ready().await;
    // As many connections as the listener allows: the agent's connection waits until some are closed.
    let mut silent = Vec::new();
    for number in 0..256 {
        let mut stream = TcpStream::connect(sidecar.api()).await.expect("the kernel takes connections");
        if number % 2 == 0 {
            stream.write_all(b"GET /v1/gra").await.expect("a few bytes");
        }
        silent.push(stream);
    }
    assert_eq!(sidecar.token("one").await.status, 200);
    for mut stream in silent {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open");
    }
}

#[tokio::test]
async fn each_port_has_one_purpose_and_files_have_their_modes() {
    let (_world, sidecar) = ready().await;
    let key = format!("Bearer {}", sidecar.key());
    let mut stream = TcpStream::connect(sidecar.metrics_address()).await.expect("the metrics' port");
    let request = format!("{TOKEN}\r\nhost: localhost\r\nauthorization: {key}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.expect("an answer");
    assert!(heard.starts_with("HTTP/1.1 404"), "{heard}");

    assert!(sidecar.api().ip().is_loopback());
    let mode =
        |path: std::path::PathBuf| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(sidecar.shared("caller-key")), 0o444);
    assert_eq!(mode(sidecar.shared("agent.sock")), 0o666);
    assert_eq!(mode(sidecar.volumes().path().join("spool/probe.sock")), 0o600);
    assert!(sidecar.key().len() == 64 && sidecar.key().bytes().all(|byte| byte.is_ascii_hexdigit()));
}
