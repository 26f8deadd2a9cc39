//! The metrics: names, labels and exact values.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

/// Returns the samples of one family, without histogram buckets.
fn family(metrics: &BTreeMap<String, f64>, name: &str) -> Vec<(String, f64)> {
    let prefix = format!("agent_creds_{name}{{");
    let of = metrics.iter().filter(|(series, _)| series.starts_with(&prefix));
    of.map(|(series, value)| (series[prefix.len()..series.len() - 1].to_owned(), *value)).collect()
}

fn rows(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
    expected.iter().map(|(labels, value)| ((*labels).to_owned(), *value)).collect()
}

#[tokio::test]
async fn refreshes_and_requests_are_counted_exactly() {
    let world = World::with(&["one"]).await;
    let setup = Setup::new(&world.secrets).trust(world.standin.ca_pem());
    world.standin.fail_next(1, &Fault::status(429).with_header("retry-after", "600"));
    // The agent's name for the grant does not appear in the metrics.
    let sidecar = setup.argument("--grant=local=one").start().await;
    sidecar.becomes("local", "pending", "rate_limited").await;
    assert_eq!(sidecar.token("local").await.status, 503);
    assert_eq!(sidecar.token("local").await.status, 503);
    world.secrets.hurry("one");
    sidecar.becomes("local", "ready", "ok").await;
    for _ in 0..3 {
        assert_eq!(sidecar.token("local").await.status, 200);
    }
    // Refused requests are not counted.
    sidecar.token("other").await;
    sidecar.get_on_socket("/v1/token/local").await;

    world.standin.fail_next(1, &Fault::oauth_error(401, "invalid_client"));
    world.secrets.age("one");
    sidecar.becomes("local", "misconfigured", "invalid_client").await;
    world.secrets.hurry("one");
    sidecar.becomes("local", "ready", "ok").await;
    world.standin.fail_next(1, &Fault::status(503));
    world.secrets.age("one");
    sidecar.becomes("local", "degraded", "in_doubt").await;

    let metrics = sidecar.metrics().await;
    let of = |rest: &str| format!("grant=\"one\",provider=\"oauth2\",{rest}");
    assert_eq!(
        family(&metrics, "refresh_total"),
        rows(&[
            (&of("outcome=\"in_doubt\""), 1.0),
            (&of("outcome=\"not_committed\""), 2.0),
            (&of("outcome=\"success\""), 2.0),
        ])
    );
    assert_eq!(
        family(&metrics, "refresh_failures_total"),
        rows(&[
            (&of("reason=\"in_doubt\""), 1.0),
            (&of("reason=\"invalid_client\""), 1.0),
            (&of("reason=\"rate_limited\""), 1.0),
        ])
    );
    assert_eq!(
        family(&metrics, "grant_state"),
        rows(&[
            (&of("state=\"degraded\""), 1.0),
            (&of("state=\"misconfigured\""), 0.0),
            (&of("state=\"pending\""), 0.0),
            (&of("state=\"ready\""), 0.0),
        ])
    );
    assert_eq!(
        family(&metrics, "token_requests_total"),
        rows(&[("grant=\"one\",outcome=\"served\"", 4.0), ("grant=\"one\",outcome=\"unavailable\"", 2.0)])
    );
    assert_eq!(family(&metrics, "unpersisted_refresh_token"), rows(&[("grant=\"one\"", 0.0)]));
    let end = sidecar.token("local").await.json()["expires_at"].as_f64().expect("a time");
    assert_eq!(family(&metrics, "token_expiry_timestamp_seconds"), rows(&[("grant=\"one\"", end)]));
    assert_eq!(metrics["agent_creds_refresh_duration_seconds_count"], 5.0);
    assert_eq!(metrics["agent_creds_refresh_duration_seconds_bucket{le=\"+Inf\"}"], 5.0);
    assert_eq!(family(&metrics, "reauth_timestamp_seconds"), [], "this provider has no known limit");
}

#[tokio::test]
async fn every_family_has_a_help_text_and_only_known_labels() {
    let world = World::with(&["one"]).await;
    world.standin.fail_next(1, &Fault::status(429));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "pending", "rate_limited").await;
    world.secrets.hurry("one");
    sidecar.becomes("one", "ready", "ok").await;
    let text = sidecar.exposition().await;
    assert!(text.ends_with("# EOF\n"));
    for name in [
        "refresh",
        "refresh_failures",
        "refresh_duration_seconds",
        "grant_state",
        "token_expiry_timestamp_seconds",
        "token_requests",
        "forced_refresh_suppressed",
        "unpersisted_refresh_token",
    ] {
        assert_eq!(text.matches(&format!("# HELP agent_creds_{name} ")).count(), 1, "{name}");
        assert_eq!(text.matches(&format!("# TYPE agent_creds_{name} ")).count(), 1, "{name}");
    }
    let allowed = ["grant", "provider", "outcome", "reason", "state", "le"];
    for series in sidecar.metrics().await.keys() {
        assert!(series.starts_with("agent_creds_"), "{series}");
        let labels = series.trim_end_matches('}').split_once('{').map_or("", |(_, labels)| labels);
        for label in labels.split(',').filter_map(|pair| pair.split_once('=').map(|(name, _)| name)) {
            assert!(allowed.contains(&label), "{series}");
        }
    }
}

#[tokio::test]
async fn metrics_are_served_on_ipv6_too() {
    let here = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    if !here.lines().any(|line| line.ends_with(" lo")) {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    let address = (std::net::Ipv6Addr::LOCALHOST, sidecar.metrics_address().port());
    tokio::net::TcpStream::connect(address).await.expect("metrics listen on all addresses");
}

#[tokio::test]
async fn the_provider_label_is_set_once_the_provider_is_known() {
    let world = World::with(&["one"]).await;
    let sound = world.secrets.bytes("one");
    world.secrets.remove("one");
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "misconfigured", "grant_missing").await;
    world.secrets.write("one", &sound);
    sidecar.becomes("one", "ready", "ok").await;
    let metrics = sidecar.metrics().await;
    let states = family(&metrics, "grant_state");
    assert_eq!(states.iter().map(|(_, value)| value).sum::<f64>(), 1.0, "{states:?}");
    assert!(states.iter().all(|(labels, _)| labels.contains("provider=\"oauth2\"")), "{states:?}");
}

#[tokio::test]
async fn only_get_metrics_is_answered() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    for path in ["/", "/v1/grants", "/v1/token/one", "/debug/pprof", "/metrics/"] {
        let answer = asked(&sidecar, "GET", path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let answer = asked(&sidecar, "POST", "/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

async fn asked(sidecar: &Sidecar, method: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(sidecar.metrics_address()).await.expect("a connection");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.expect("an answer");
    heard
}

#[tokio::test]
#[ignore = "needs promtool: make test runs it where it is installed"]
async fn promtool_can_read_them() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let text = sidecar.exposition().await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("promtool reads");
    let said = promtool.wait_with_output().expect("promtool ends");
    // Exit code 3 is a remark on style: promtool expects the help of counters under their names before OpenMetrics.
    assert!(matches!(said.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&said.stderr));
}
