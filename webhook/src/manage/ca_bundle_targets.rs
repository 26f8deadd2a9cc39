//! The places in the cluster that name the trusted CAs: the ConfigMap for sidecars, and the `caBundle`s for API servers.

use agent_creds_core::exchange_api::{CA_CONFIG_MAP, CA_KEY};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::api::ApiError;
use super::candidate::Candidate;
use super::objects::{self, Object, SERVICE};
use crate::rotation::Certificate;

/// Resources of the webhook configurations.
const CONFIGURATIONS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];

/// The places as they were read.
pub(super) struct CaBundleTargets {
    namespace: String,
    map: Option<Object>,
    configurations: Vec<(&'static str, Object)>,
}

impl CaBundleTargets {
    /// Reads them. Those that do not exist are left out.
    pub(super) async fn read(candidate: &Candidate) -> Result<Self, ApiError> {
        let path = objects::path(&candidate.duties, "configmaps", CA_CONFIG_MAP);
        let map = objects::read(&candidate.api, &path).await?.map(|(map, _)| map);
        if map.is_none() {
            tracing::warn!(name = CA_CONFIG_MAP, "the ConfigMap does not exist; helm upgrade creates it");
        }
        let mut configurations = Vec::new();
        for resource in CONFIGURATIONS {
            if let Some((found, _)) = objects::read(&candidate.api, &objects::configuration(resource)).await?
            {
                configurations.push((resource, found));
            }
        }
        Ok(Self { namespace: candidate.duties.namespace.clone(), map, configurations })
    }

    /// Returns their versions.
    pub(super) fn versions(&self) -> impl Iterator<Item = String> {
        self.map.iter().chain(self.configurations.iter().map(|(_, object)| object)).map(Object::version)
    }

    /// Returns the content of the ConfigMap.
    pub(super) fn published(&self) -> &str {
        self.map.as_ref().and_then(|map| map.0["data"][CA_KEY].as_str()).unwrap_or_default()
    }

    /// Returns our webhooks by configuration and index, with the CA bundle of each.
    fn webhooks(&self) -> Vec<(usize, usize, Vec<u8>)> {
        let mut found = Vec::new();
        for (i, (_, object)) in self.configurations.iter().enumerate() {
            for (j, webhook) in object.0["webhooks"].as_array().into_iter().flatten().enumerate() {
                let client = &webhook["clientConfig"];
                let service = &client["service"];
                if service["name"] == SERVICE && service["namespace"] == self.namespace.as_str() {
                    let bundle = client["caBundle"].as_str().unwrap_or_default();
                    found.push((i, j, STANDARD.decode(bundle).unwrap_or_default()));
                }
            }
        }
        found
    }

    /// Whether a webhook does not trust all of these certificates.
    pub(super) fn mismatch(&self, wanted: &[Certificate]) -> bool {
        self.webhooks().iter().any(|(_, _, bundle)| {
            let trusted = Certificate::parse(bundle);
            wanted.is_empty() || !wanted.iter().all(|certificate| trusted.contains(certificate))
        })
    }

    /// Whether every place trusts exactly this bundle.
    pub(super) fn trust(&self, bundle: &str) -> bool {
        let map = self.map.is_none() || self.published() == bundle;
        map && self.webhooks().iter().all(|(_, _, trusted)| trusted == bundle.as_bytes())
    }

    /// Writes the bundle to the first place that does not have it.
    pub(super) async fn publish(&self, candidate: &Candidate, bundle: &str) -> Result<(), ApiError> {
        if let Some(map) = &self.map
            && self.published() != bundle
        {
            let mut map = map.clone();
            map.0["data"] = json!({CA_KEY: bundle});
            let path = objects::path(&candidate.duties, "configmaps", CA_CONFIG_MAP);
            return candidate.api.put(&path, &map.0).await;
        }
        for (i, (resource, object)) in self.configurations.iter().enumerate() {
            let webhooks = self.webhooks().into_iter();
            let stale = webhooks.filter(|(of, _, trusted)| *of == i && trusted != bundle.as_bytes());
            let stale: Vec<_> = stale.map(|(_, j, _)| j).collect();
            if !stale.is_empty() {
                let patch = patch(object, &stale, bundle);
                return candidate.api.patch(&objects::configuration(resource), &patch).await;
            }
        }
        Ok(())
    }
}

/// Returns a patch of the `caBundle` of these webhooks, which applies only to the version that was read.
fn patch(object: &Object, webhooks: &[usize], bundle: &str) -> Value {
    let version = &object.0["metadata"]["resourceVersion"];
    let mut patch = vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})];
    for i in webhooks {
        let path = format!("/webhooks/{i}/clientConfig/caBundle");
        patch.push(json!({"op": "add", "path": path, "value": STANDARD.encode(bundle)}));
    }
    Value::Array(patch)
}
