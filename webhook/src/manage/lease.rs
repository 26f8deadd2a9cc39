//! The Lease `agent-creds-manage`, made empty by the chart.

use std::time::Duration;

use serde_json::{Value, json};

use super::Manager;
use super::api::ApiError;
use super::objects::{self, Object};
use crate::authority::lease::{Seen, Turn};

const NAME: &str = "agent-creds-manage";

fn path(manager: &Manager) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{NAME}", manager.duties.namespace)
}

/// Reads it, and takes or renews it where that is our turn.
pub(super) async fn turn(manager: &mut Manager) -> Result<(), ApiError> {
    let path = path(manager);
    let asked = manager.now();
    let Some((mut lease, _)) = objects::read(&manager.api, &path).await? else {
        return Err(ApiError::NotFound(path));
    };
    let spec = &lease.0["spec"];
    let seen = Seen {
        holder: spec["holderIdentity"].as_str().map(str::to_owned),
        version: lease.version(),
        lasts: spec["leaseDurationSeconds"].as_u64().map(Duration::from_secs),
    };
    let timing = manager.duties.timing;
    // Time until the Lease is anyone's counts from the answer, time until ours ends from the question.
    if manager.tenancy.next(&seen, manager.now(), &timing) != Turn::Write {
        return Ok(());
    }
    let renewal = seen.holder.as_deref() == Some(manager.tenancy.me());
    write(&mut lease, Some(manager.tenancy.me()), renewal, timing.lease);
    match manager.api.put(&path, &lease.0).await {
        Ok(()) => {
            manager.tenancy.granted(asked);
            if !renewal {
                tracing::info!(identity = manager.tenancy.me(), "the Lease is ours");
            }
            Ok(())
        }
        Err(ApiError::Conflict(_)) => {
            manager.tenancy.lost();
            Ok(())
        }
        // It may have been written or not: until the last grant ends, nobody else can have it.
        Err(error) => Err(error),
    }
}

/// Gives it back, so that nobody has to wait. Best effort: it ends by itself.
pub(super) async fn release(manager: &Manager) {
    let path = path(manager);
    if let Ok(Some((mut lease, _))) = objects::read(&manager.api, &path).await
        && lease.0["spec"]["holderIdentity"] == manager.tenancy.me()
    {
        write(&mut lease, None, true, manager.duties.timing.lease);
        if manager.api.put(&path, &lease.0).await.is_ok() {
            tracing::info!("the Lease is given back");
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
