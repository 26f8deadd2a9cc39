//! Reads and writes the Lease `agent-creds-manage`, which the chart creates empty.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::ApiError;
use super::candidate::Candidate;
use super::objects::{self, Object};
use crate::leader_election::{Action, ObservedLease};

const NAME: &str = "agent-creds-manage";

fn path(candidate: &Candidate) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{NAME}", candidate.duties.namespace)
}

/// Reads the Lease, and acquires or renews it where it is due.
pub(super) async fn turn(candidate: &mut Candidate) -> Result<(), ApiError> {
    let path = path(candidate);
    let asked = candidate.now();
    let Some((mut lease, _)) = objects::read(&candidate.api, &path).await? else {
        return Err(ApiError::NotFound(path));
    };
    let spec = &lease.0["spec"];
    let seen = ObservedLease {
        holder: spec["holderIdentity"].as_str().map(str::to_owned),
        version: lease.version(),
        lasts: spec["leaseDurationSeconds"].as_u64().map(Duration::from_secs),
    };
    let timing = candidate.duties.timing;
    // A candidate counts the duration from the answer to its read, the leader from the request of its renewal.
    if candidate.elector.next(&seen, candidate.now(), &timing) != Action::Write {
        return Ok(());
    }
    let renewal = seen.holder.as_deref() == Some(candidate.elector.me());
    write(&mut lease, Some(candidate.elector.me()), renewal, timing.lease);
    match candidate.api.put(&path, &lease.0).await {
        Ok(()) => {
            candidate.elector.granted(asked);
            if !renewal {
                tracing::info!(identity = candidate.elector.me(), "became leader");
            }
            Ok(())
        }
        Err(ApiError::Conflict(_)) => {
            candidate.elector.lost();
            Ok(())
        }
        // The write may have taken place. Until the last renewal ends, no other process can have the Lease.
        Err(error) => Err(error),
    }
}

/// Releases the Lease, so that the next leader need not wait. Best effort: the Lease ends by itself.
pub(super) async fn release(candidate: &Candidate) {
    let path = path(candidate);
    if let Ok(Some((mut lease, _))) = objects::read(&candidate.api, &path).await
        && lease.0["spec"]["holderIdentity"] == candidate.elector.me()
    {
        write(&mut lease, None, true, candidate.duties.timing.lease);
        if candidate.api.put(&path, &lease.0).await.is_ok() {
            tracing::info!("released the Lease");
        }
    }
}

fn write(lease: &mut Object, holder: Option<&str>, renewal: bool, lasts: Duration) {
    let now = objects::micro_time();
    let spec = &mut lease.0["spec"];
    if !spec.is_object() {
        *spec = json!({});
    }
    let transitions = spec["leaseTransitions"].as_u64().unwrap_or_default();
    if !renewal {
        spec["acquireTime"] = json!(now);
        spec["leaseTransitions"] = json!(transitions + 1);
    }
    spec["renewTime"] = json!(now);
    spec["leaseDurationSeconds"] = json!(lasts.as_secs().max(1));
    spec["holderIdentity"] = holder.map_or(Value::Null, |holder| json!(holder));
}
