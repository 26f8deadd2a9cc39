//! Counts pods that asked for the sidecar and run without it: of excluded namespaces, or made while our configuration
//! was not installed. One paged pass over metadata, the only thing here whose cost grows with the cluster.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_creds_core::annotations::INJECT;
use serde_json::Value;

use super::Metrics;
use super::api::{Api, ApiError};

const PAGE: u32 = 500;
/// While another manager acts, whether it still does is looked at this many times more often.
const SOONER: u32 = 60;

/// Counts again and again. Never ends.
pub(super) async fn run(api: &Api, metrics: &Metrics, acting: &AtomicBool, every: Duration) {
    loop {
        let mut pause = every / SOONER;
        if acting.load(Ordering::Acquire) {
            pause = every;
            match count(api).await {
                Ok(pods) => metrics.uninjected_pods(pods),
                Err(error) => tracing::warn!(%error, "pods without the sidecar could not be counted"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn count(api: &Api) -> Result<i64, ApiError> {
    let (mut pods, mut next) = (0, String::new());
    loop {
        // Pods that have the sidecar are left out by the API server.
        let mut path = format!("/api/v1/pods?limit={PAGE}&labelSelector=agent-creds%2Finjected%21%3Dtrue");
        if !next.is_empty() {
            let escaped: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            let _ = write!(path, "&continue={escaped}");
        }
        let page = api.list_metadata(&path).await?;
        pods += page["items"].as_array().into_iter().flatten().filter(|pod| asks(pod)).count();
        next = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if next.is_empty() {
            return Ok(i64::try_from(pods).unwrap_or(i64::MAX));
        }
    }
}

fn asks(pod: &Value) -> bool {
    let meta = &pod["metadata"];
    meta["deletionTimestamp"].is_null() && meta["annotations"][INJECT] == "true"
}
