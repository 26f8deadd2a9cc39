//! The role `identity` over real TLS, before an API server that does as it is told: floods, silence and nonsense. What it makes
//! of a real API server is in `tests/tests/identity.rs`.

mod stage;

use std::time::Duration;

use serde_json::json;
use stage::{Api, Stage, bounds, forged};

#[tokio::test]
async fn a_pod_that_proves_itself_gets_a_token() {
    let stage = Stage::start(Api::default(), bounds()).await;
    let answer = stage.show(1, &forged()).await;
    assert_eq!(
        (answer.status, &answer.body),
        (200, &json!({"token": "a.b.c", "expirationTimestamp": "2026-01-01T00:00:00Z"}))
    );
    assert_eq!(stage.counted("issued").await, 1);
}

#[tokio::test]
async fn what_is_no_request_is_refused_before_anybody_is_asked() {
    let mut bounds = bounds();
    bounds.body = Duration::from_millis(50);
    let stage = Stage::start(Api::Silent, bounds).await;
    let large = json!({"token": "a".repeat(17 * 1024)}).to_string();
    for (media_type, body, status) in [
        ("text/plain", json!({"token": forged()}).to_string(), 415),
        ("application/json", large, 413),
        ("application/json", "{".to_owned(), 400),
        ("application/json", json!({"token": 1}).to_string(), 400),
        ("application/json", json!([]).to_string(), 400),
    ] {
        let answer = stage.post(1, media_type, body).await;
        assert_eq!((answer.status, &answer.body), (status, &json!({"error": "invalid_request"})));
    }
    assert_eq!(stage.half_a_body().await, 408);
    assert_eq!((stage.counted("body_refused").await, stage.counted("request_invalid").await), (3, 3));
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_not_the_pods_fault() {
    for (api, reason) in [
        (Api::Silent, "api_timeout"),
        (Api::Status(500), "api_error"),
        (Api::Status(403), "own_rights"),
        (Api::Huge, "api_answer"),
        (Api::Nonsense, "api_answer"),
        (Api::Down, "api_unreachable"),
    ] {
        let stage = Stage::start(api, bounds()).await;
        let answer = stage.show(1, &forged()).await;
        assert_eq!(
            (answer.status, &answer.body),
            (503, &json!({"error": "temporarily_unavailable"})),
            "{reason}"
        );
        assert_eq!(answer.retry_after.as_deref(), Some("5"), "{reason}");
        assert_eq!(stage.counted(reason).await, 1, "{reason}");
    }
}

#[tokio::test]
async fn an_address_whose_tokens_are_refused_is_limited_and_no_other_is() {
    let mut bounds = bounds();
    bounds.source.burst = 3;
    bounds.source.every = Duration::from_secs(3600);
    let stage = Stage::start(Api::Refuses("refused"), bounds).await;
    let (bad, good) = (format!("{}refused", forged()), forged());
    for _ in 0..3 {
        assert_eq!(stage.show(1, &bad).await.status, 403);
    }
    let answer = stage.show(1, &bad).await;
    assert_eq!((answer.status, &answer.body), (429, &json!({"error": "temporarily_unavailable"})));
    assert!(answer.retry_after.is_some());
    assert_eq!(stage.show(1, "no token").await.status, 429, "cheap ones too");
    for _ in 0..10 {
        assert_eq!(stage.show(2, &good).await.status, 200, "of a pod, they never count against the address");
    }
    assert_eq!(stage.counted("source_limited").await, 2);
}

#[tokio::test]
async fn no_address_can_take_all_connections() {
    let stage = Stage::start(Api::default(), bounds()).await;
    let busy = [stage.busy(1).await, stage.busy(1).await];
    assert!(stage.is_closed(1).await, "a third of the same address");
    assert_eq!(stage.show(2, &forged()).await.status, 200);
    drop(busy);
}

#[tokio::test]
async fn requests_wait_for_their_turn_and_not_for_ever() {
    let mut bounds = bounds();
    bounds.at_once = 1;
    bounds.turn = Duration::from_millis(20);
    let stage = Stage::start(Api::Silent, bounds).await;
    let token = forged();
    let (one, other) = tokio::join!(stage.show(1, &token), stage.show(2, &token));
    assert_eq!((one.status, other.status), (503, 503));
    assert_eq!((stage.counted("busy").await, stage.counted("api_timeout").await), (1, 1));
}
