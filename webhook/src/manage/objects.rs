//! The objects of the manager, as JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::api::{Answer, Api, ApiError};
use super::duties::Duties;
use crate::rotation::certificate_set::Data;
use agent_creds_runtime::random;

/// The Secret with CAs and the serving certificate.
pub(super) const CERTIFICATES: &str = "agent-creds-certificates";
/// The Secret with the seal keys.
pub(super) const SEAL: &str = "agent-creds-seal";
/// Both webhook configurations.
pub(super) const CONFIGURATION: &str = "agent-creds";
/// The Service that the API server calls.
pub(super) const SERVICE: &str = "agent-creds-admit";

/// An object as it was read.
#[derive(Clone)]
pub(super) struct Object(pub(super) Value);

impl Object {
    pub(super) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Returns uid and resourceVersion: an object that was deleted and created again is another one.
    pub(super) fn version(&self) -> String {
        let meta = |key: &str| self.0["metadata"][key].as_str().unwrap_or_default();
        format!("{}/{}", meta("uid"), meta("resourceVersion"))
    }

    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        let annotations = self.0["metadata"]["annotations"].as_object().into_iter().flatten();
        annotations.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    pub(super) fn annotate(&mut self, annotations: &BTreeMap<String, String>) {
        self.0["metadata"]["annotations"] = json!(annotations);
    }

    /// Returns the data of a Secret.
    pub(super) fn secret(&self) -> Data {
        let data = self.0["data"].as_object().into_iter().flatten();
        data.filter_map(|(key, value)| Some((key.clone(), STANDARD.decode(value.as_str()?).ok()?))).collect()
    }

    pub(super) fn set_secret(&mut self, data: &Data) {
        let data: BTreeMap<_, _> = data.iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
        self.0["data"] = json!(data);
    }
}

/// Returns the path of a namespaced object of the core group.
pub(super) fn path(duties: &Duties, resource: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{}/{resource}/{name}", duties.namespace)
}

/// Returns the path of a webhook configuration.
pub(super) fn configuration(resource: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{resource}/{CONFIGURATION}")
}

/// Reads an object, with the API server's time; `None` where it does not exist.
pub(super) async fn read(api: &Api, path: &str) -> Result<Option<(Object, Option<i64>)>, ApiError> {
    match api.get(path).await {
        Ok(Answer { body, date }) => Ok(Some((Object(body), date))),
        Err(ApiError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an Event regarding one of our Secrets.
pub(super) async fn record(
    api: &Api,
    duties: &Duties,
    secret: &Object,
    reason: &str,
    note: &str,
) -> Result<(), ApiError> {
    let tag = random::hex::<8>();
    let event = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": format!("{}.{tag}", secret.name()), "namespace": duties.namespace},
        "regarding": {
            "apiVersion": "v1", "kind": "Secret", "name": secret.name(), "namespace": duties.namespace,
            "uid": secret.0["metadata"]["uid"],
        },
        "eventTime": micro_time(),
        "type": "Normal",
        "reason": reason,
        "action": "Rotate",
        "note": note,
        "reportingController": "agent-creds/manage",
        "reportingInstance": duties.identity,
    });
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", duties.namespace);
    api.post(&path, &event).await
}

/// Returns the wall clock as Kubernetes writes it. It is for people; nothing is decided by it.
pub(super) fn micro_time() -> String {
    format!("{:.6}", Timestamp::now())
}
