//! Counts pods that ask for the sidecar and run without it: in excluded namespaces, or created while the webhook configuration was
//! not installed. One paged pass over metadata; nothing else in the manager has a cost that grows with the cluster.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_creds_core::annotations::INJECT;
use serde_json::Value;

use super::api::{Api, ApiError};
use super::metrics::Metrics;

const PAGE: u32 = 500;
/// While another manager is the leader, the loop runs this many times more often.
const SOONER: u32 = 60;

/// Counts for ever.
pub(super) async fn run(api: &Api, metrics: &Metrics, leading: &AtomicBool, every: Duration) {
    loop {
        let mut pause = every / SOONER;
        if leading.load(Ordering::Acquire) {
            pause = every;
            match count(api).await {
                Ok(pods) => metrics.uninjected_pods(pods),
                Err(error) => tracing::warn!(%error, "counting pods without the sidecar failed"),
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn count(api: &Api) -> Result<i64, ApiError> {
    let (mut pods, mut next) = (0, String::new());
    loop {
        // The API server leaves out pods that have the sidecar.
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
