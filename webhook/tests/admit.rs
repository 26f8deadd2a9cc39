//! The role `admit` over real TLS: what an API server sees, and what any other client sees.

mod client;
mod flood;

use std::fs;
use std::time::Duration;

use agent_creds_runtime::server::Limits;
use agent_creds_webhook::roles::admit::Timing;
use client::{Authority, Running, review, within};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Limits that a test can wait for, and others that it never meets.
fn timing() -> Timing {
    let far = Duration::from_secs(60);
    let limits = Limits {
        handshake: far,
        first_head: far,
        idle: far,
        request: Some(far),
        connections: 64,
        per_source: 64,
        drain: far,
        ..Limits::default()
    };
    Timing { limits, body: far, reload: far, linger: Duration::ZERO }
}

fn soon() -> Duration {
    Duration::from_millis(50)
}

#[tokio::test]
async fn answers_the_api_server_and_counts() {
    let running = Running::start(timing()).await;
    assert_eq!(running.probe("/healthz").await, (200, "ok\n".to_owned()));
    running.until_ready().await;
    let (status, answer) =
        running.post("application/json", review("u1").to_string()).await.expect("an answer");
    assert_eq!(
        (status, &answer["response"]["uid"], &answer["response"]["allowed"]),
        (200, &json!("u1"), &json!(true))
    );
    assert!(answer["response"]["patch"].is_string());
    let (status, _) = running.post("application/json", "{".to_owned()).await.expect("an answer");
    assert_eq!(status, 400);
    let (status, page) = running.probe("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "agent_creds_admission_total{operation=\"create\",outcome=\"injected\",reason=\"new_pod\"} 1",
        "agent_creds_admission_total{operation=\"unknown\",outcome=\"invalid\",reason=\"review_invalid\"} 1",
        "agent_creds_admission_duration_seconds_count 2",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    assert!(
        page.contains(&format!("agent_creds_certificate_expiry_timestamp_seconds {}", Authority::ENDS)),
        "{page}"
    );
    for (method, path, expected) in [("GET", "/mutate", 405), ("POST", "/", 404), ("GET", "/metrics", 404)] {
        assert_eq!(
            running.request(method, path, "application/json", String::new()).await.expect("an answer").0,
            expected
        );
    }
    running.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let running = Running::start(Timing { reload: Duration::from_millis(1), ..timing() }).await;
    let before = running.certificate().await;
    running.renew();
    within(async { while running.certificate().await == before {} }).await;
    running.stop().await;
}

#[tokio::test]
async fn a_silent_client_is_disconnected() {
    // Long enough for an honest client on a busy machine.
    let limit = Duration::from_secs(1);
    let limits = Limits { handshake: limit, first_head: limit, connections: 1, ..timing().limits };
    let running = Running::start(Timing { limits, ..timing() }).await;
    // No handshake at all.
    let mut silent = TcpStream::connect(running.address).await.expect("a connection");
    assert_eq!(within(silent.read(&mut [0])).await.expect("closed"), 0);
    // Half a head.
    let mut slow = running.connect().await;
    slow.write_all(b"POST /mutate HTTP/1.1\r\nHost: a\r\nX: ").await.expect("sent");
    let mut rest = Vec::new();
    let closed = within(slow.read_to_end(&mut rest)).await;
    assert!(closed.is_err() || rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    let (status, _) = running.post("application/json", review("u").to_string()).await.expect("an answer");
    assert_eq!(status, 200);
    running.stop().await;
}

#[tokio::test]
async fn a_new_connection_displaces_a_silent_one_and_waits_for_an_open_request() {
    let limits = Limits { connections: 1, ..timing().limits };
    let running = Running::start(Timing { limits, ..timing() }).await;
    let mut silent = running.connect().await;
    let (mut open, rest) = open_request(&running).await;
    assert_eq!(within(silent.read(&mut [0])).await.unwrap_or(0), 0, "it made room");
    {
        let second = running.post("application/json", review("u").to_string());
        tokio::pin!(second);
        assert!(tokio::time::timeout(soon(), &mut second).await.is_err(), "there is no room");
        open.write_all(rest.as_bytes()).await.expect("sent");
        assert_eq!(second.await.expect("an answer").0, 200);
    }
    running.stop().await;
}

#[tokio::test]
async fn bodies_are_limited_in_time() {
    let running = Running::start(Timing { body: soon(), ..timing() }).await;
    let mut slow = running.connect().await;
    let head =
        b"POST /mutate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head).await.expect("sent");
    let mut answer = String::new();
    within(slow.read_to_string(&mut answer)).await.expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn bodies_are_limited_in_size_and_kind() {
    let running = Running::start(timing()).await;
    let huge = " ".repeat(8 * 1024 * 1024 + 1);
    let (status, _) = running.post("application/json", huge).await.expect("the answer, not a reset");
    assert_eq!(status, 413);
    let (status, _) = running.post("text/plain", review("u").to_string()).await.expect("an answer");
    assert_eq!(status, 415);
    let (_, page) = running.probe("/metrics").await;
    let line =
        "agent_creds_admission_total{operation=\"unknown\",outcome=\"invalid\",reason=\"body_refused\"} 2";
    assert!(page.lines().any(|found| found == line), "{page}");
    running.stop().await;
}

/// A request whose head the server has read and whose body is half sent.
async fn open_request(running: &Running) -> (client::Stream, String) {
    let body = review("late").to_string();
    let mut stream = running.connect().await;
    let head = format!(
        "POST /mutate HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(10);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut go_on = [0; 25];
    within(stream.read_exact(&mut go_on)).await.expect("the server asks for the body");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(first.as_bytes()).await.expect("sent");
    (stream, rest.to_owned())
}

#[tokio::test]
async fn open_requests_are_finished_before_the_end() {
    let mut running = Running::start(timing()).await;
    let (mut open, rest) = open_request(&running).await;
    let mut idle = running.connect().await;
    running.ask_to_stop();
    running.until_refused().await;
    assert_eq!(running.probe("/readyz").await.0, 503);
    assert_eq!(within(idle.read(&mut [0])).await.expect("closed"), 0, "an idle connection delays nothing");
    open.write_all(rest.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(open.read_to_string(&mut answer)).await.expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"uid\":\"late\""), "{answer}");
    running.ended().await;
}

#[tokio::test]
async fn a_second_signal_or_the_deadline_ends_what_is_open() {
    let mut running = Running::start(timing()).await;
    let (mut open, _) = open_request(&running).await;
    running.ask_to_stop();
    running.until_refused().await;
    running.ask_to_stop();
    running.ended().await;
    let mut answer = Vec::new();
    let _ = within(open.read_to_end(&mut answer)).await;
    assert!(answer.is_empty());

    let limits = Limits { drain: soon(), ..timing().limits };
    let mut running = Running::start(Timing { limits, ..timing() }).await;
    let _open = open_request(&running).await;
    running.ask_to_stop();
    running.ended().await;
}

#[tokio::test]
async fn requests_are_accepted_while_endpoints_are_updated() {
    let linger = Duration::from_secs(60);
    let mut running = Running::start(Timing { linger, ..timing() }).await;
    running.until_ready().await;
    running.ask_to_stop();
    within(async { while running.probe("/readyz").await.0 == 200 {} }).await;
    let (status, _) = running.post("application/json", review("u").to_string()).await.expect("an answer");
    assert_eq!(status, 200);
    running.ask_to_stop();
    running.ended().await;
}

#[tokio::test]
async fn a_missing_or_broken_file_fails_at_the_start() {
    for file in ["policy.yaml", "ca.crt", "tls.crt", "tls.key"] {
        let folder = Authority::new().folder();
        fs::write(folder.path().join(file), "nonsense: true").expect("written");
        let error = format!("{:#}", client::prepare(folder.path()).await.expect_err(file));
        assert!(error.contains(file), "{error}");
        fs::remove_file(folder.path().join(file)).expect("removed");
        let error = format!("{:#}", client::prepare(folder.path()).await.expect_err(file));
        assert!(error.contains(file), "{error}");
    }
}

#[tokio::test]
async fn the_binary_serves_logs_one_line_a_decision_and_ends_on_sigterm() {
    let mut process = client::Process::start(Authority::new()).await;
    let (status, _) = process.post("application/json", review("u9").to_string()).await.expect("an answer");
    assert_eq!(status, 200);
    let line: Value = process.next_line().await;
    for (key, value) in [
        ("namespace", json!("ops")),
        ("name", json!("agent-")),
        ("outcome", json!("injected")),
        ("reason", json!("new_pod")),
        ("uid", json!("u9")),
    ] {
        assert_eq!(line[key], value, "{line}");
    }
    assert!(!line.to_string().contains("agent:1"), "no part of the pod: {line}");
    process.terminate().await;
}
