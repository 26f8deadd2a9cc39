//! The AdmissionReview of `admission.k8s.io/v1`, as far as it is read, and its answer. Not kube's types: the object is parsed
//! only when its size is known, and `patch` has to be base64, which kube's type does not write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::pod::patch::Patch;

pub(super) const API_VERSION: &str = "admission.k8s.io/v1";
pub(super) const KIND: &str = "AdmissionReview";
/// Initial capacity of an answer's buffer, in bytes. Most answers fit in.
const USUAL_SIZE: usize = 8 * 1024;

/// Longest `uid`, `namespace` and `name`. API servers send 36 characters, 63 and 253.
const LONGEST_NAME: usize = 253;

/// The part of a review that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Review<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    pub(super) request: Request<'a>,
}

impl Review<'_> {
    /// Whether this is an AdmissionReview of the version that is served, with a uid and a namespace as API servers send them.
    pub(super) fn is_valid(&self) -> bool {
        let Request { uid, namespace, .. } = &self.request;
        let short = [uid, namespace].iter().all(|text| text.len() <= LONGEST_NAME);
        short && self.api_version == API_VERSION && self.kind == KIND
    }
}

/// What an API server is about to do. The object is not parsed yet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
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
    pub(super) name: String,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Returns the `uid` of a body that is not a valid review, empty if it has none; `None` if the body is not JSON.
pub(super) fn uid(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        request: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Named {
        uid: String,
    }
    serde_json::from_slice::<IgnoredAny>(body).ok()?;
    let request = serde_json::from_slice::<Body<'_>>(body).ok();
    let named = request.and_then(|body| serde_json::from_str::<Named>(body.request.get()).ok());
    let uid = named.map(|named| named.uid).filter(|uid| uid.len() <= LONGEST_NAME);
    Some(uid.unwrap_or_default())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

impl Request<'_> {
    /// The object as JSON.
    pub(super) fn object(&self) -> &str {
        self.object.map_or("null", RawValue::get)
    }

    /// The subresource of a pod that this is about; empty for the pod itself, `None` where it is not about pods.
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
    /// Returns the answer that allows the object as it is.
    pub(super) fn allowed(uid: &'a str) -> Self {
        Self { uid, allowed: true, status: None, patch_type: None, patch: None, warnings: Vec::new() }
    }

    /// Returns the answer that allows the object with a patch.
    pub(super) fn patched(uid: &'a str, patch: &Patch, warnings: Vec<String>) -> Self {
        let patch = Some(STANDARD.encode(json(patch)));
        Self { patch_type: Some("JSONPatch"), patch, warnings, ..Self::allowed(uid) }
    }

    /// Returns the answer that denies the object. The creator reads the message.
    pub(super) fn denied(uid: &'a str, message: String) -> Self {
        let status = Status { status: "Failure", code: 403, reason: "Forbidden", message };
        Self { allowed: false, status: Some(status), ..Self::allowed(uid) }
    }

    /// Returns the body of the HTTP answer.
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
