//! The stand-in's control routes, for programs outside its process. Providers do not have them. Bodies are JSON and
//! need the matching content type (`curl --json`).
//!
//! `POST /test/seed {provider, client_id, scope?}` → `{refresh_token}` · `GET /test/log` → `[event]` ·
//! `POST /test/fail {calls, fault}` (`calls` 0 forgets the pending ones) · `POST /test/active {access_token}` →
//! `{active}` · `POST /test/revoke {refresh_token}` → `{revoked}` · `POST /test/life {seconds}` (null: the
//! provider's own) · `POST /test/advance {seconds}`

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::shared::Shared;
use super::{Fault, Provider};

type Answer = (StatusCode, Json<Value>);

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/test/seed", post(seed))
        .route("/test/log", get(log))
        .route("/test/fail", post(fail))
        .route("/test/active", post(active))
        .route("/test/revoke", post(revoke))
        .route("/test/life", post(life))
        .route("/test/advance", post(advance))
}

fn ok(body: Value) -> Answer {
    (StatusCode::OK, Json(body))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Seed {
    provider: Provider,
    client_id: String,
    scope: Option<String>,
}

async fn seed(State(shared): State<Arc<Shared>>, Json(seed): Json<Seed>) -> Answer {
    match shared.endpoint().seed(seed.provider, &seed.client_id, seed.scope.as_deref()) {
        Ok(refresh_token) => ok(json!({ "refresh_token": refresh_token })),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))),
    }
}

async fn log(State(shared): State<Arc<Shared>>) -> Answer {
    ok(serde_json::to_value(&shared.endpoint().log).expect("events are plain data"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    calls: usize,
    fault: Option<Fault>,
}

async fn fail(State(shared): State<Arc<Shared>>, Json(fail): Json<Fail>) -> Answer {
    match (fail.calls, &fail.fault) {
        (0, _) => shared.endpoint().faults.clear(),
        (calls, Some(fault)) => shared.endpoint().faults.add(calls, fault),
        (_, None) => return (StatusCode::BAD_REQUEST, Json(json!({ "error": "no fault" }))),
    }
    ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Active {
    access_token: String,
}

async fn active(State(shared): State<Arc<Shared>>, Json(active): Json<Active>) -> Answer {
    ok(json!({ "active": shared.is_active(&active.access_token) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    refresh_token: String,
}

async fn revoke(State(shared): State<Arc<Shared>>, Json(revoke): Json<Revoke>) -> Answer {
    ok(json!({ "revoked": shared.revoke(&revoke.refresh_token) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Life {
    seconds: Option<u64>,
}

async fn life(State(shared): State<Arc<Shared>>, Json(life): Json<Life>) -> Answer {
    shared.endpoint().life = life.seconds;
    ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u64,
}

async fn advance(State(shared): State<Arc<Shared>>, Json(advance): Json<Advance>) -> Answer {
    shared.endpoint().ahead_ms += advance.seconds * 1_000;
    ok(json!({}))
}
