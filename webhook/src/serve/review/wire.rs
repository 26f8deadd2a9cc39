//! The AdmissionReview of `admission.k8s.io/v1`, as far as it is read, and its answer. The types are our own, because
//! the object stays JSON and `patch` has to be base64, which kube's type does not write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pod::patch::Patch;

pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
pub(super) const KIND: &str = "AdmissionReview";
/// Initial capacity for an answer, in bytes. Most answers are smaller.
const USUAL_SIZE: usize = 8 * 1024;

/// A review, as far as we read it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review {
    api_version: String,
    kind: String,
    pub(super) request: Request,
}

impl Review {
    pub(super) fn is_v1(&self) -> bool {
        self.api_version == API_VERSION && self.kind == KIND
    }
}

/// The request of an API server.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) uid: String,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    sub_resource: String,
    #[serde(default)]
    pub(super) operation: String,
    #[serde(default)]
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) object: Value,
    #[serde(default)]
    pub(super) dry_run: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

impl Request {
    /// Returns the subresource of a pod; empty for the pod itself, `None` where the request is not about pods.
    pub(super) fn subresource(&self) -> Option<&str> {
        let Resource { group, version, resource } = &self.resource;
        let pods = (group.as_str(), version.as_str(), resource.as_str()) == ("", "v1", "pods");
        pods.then_some(&self.sub_resource)
    }
}

/// `response` of a review.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reply<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Status {
    status: &'static str,
    code: u16,
    reason: &'static str,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: &'a Reply<'a>,
}

impl<'a> Reply<'a> {
    /// Allows the pod without a change.
    pub(super) fn allowed(uid: &'a str) -> Self {
        Self { uid, allowed: true, status: None, patch_type: None, patch: None, warnings: Vec::new() }
    }

    /// Allows the pod with a patch.
    pub(super) fn patched(uid: &'a str, patch: &Patch, warnings: Vec<String>) -> Self {
        let patch = Some(STANDARD.encode(json(patch)));
        Self { patch_type: Some("JSONPatch"), patch, warnings, ..Self::allowed(uid) }
    }

    /// Denies the pod. Its creator reads the message.
    pub(super) fn denied(uid: &'a str, message: String) -> Self {
        let status = Status { status: "Failure", code: 403, reason: "Forbidden", message };
        Self { allowed: false, status: Some(status), ..Self::allowed(uid) }
    }

    /// Returns the review with this answer.
    pub(super) fn review(&self) -> Vec<u8> {
        json(&Envelope { api_version: API_VERSION, kind: KIND, response: self })
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(USUAL_SIZE);
    serde_json::to_writer(&mut text, value)
        .unwrap_or_else(|_| unreachable!("text keys and plain values always serialise"));
    text
}
