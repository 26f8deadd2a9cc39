//! The patch of a decision: explicit `add` operations (RFC 6902). A difference of typed objects would delete fields
//! that the types do not know.

use agent_creds_core::annotations::{SEAL, STATUS};
use agent_creds_core::pod::{CONTAINER, EKS_SKIP_ANNOTATION, GRACE_PERIOD_SECONDS, INJECTED_LABEL};
use serde::Serialize;
use serde_json::{Value, json};

use super::fragment::{Fragment, Share};
use super::grace_period;
use super::view::{self, Container};

/// Operations in the order in which they apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<Operation>);

/// One `add` operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    op: &'static str,
    /// JSON pointer (RFC 6901).
    pub path: String,
    /// The added value.
    pub value: Value,
}

/// An operation does not fit the document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing can be added at {0}")]
pub struct Misfit(String);

impl Patch {
    /// Creates the patch with everything that the pod lacks of the fragment. Where the sidecar is `present`, that is
    /// the share of containers that were added later. Empty where nothing is missing.
    pub fn new(pod: &Value, fragment: Fragment, present: bool) -> Self {
        let mut patch = Self::default();
        // Before the sidecar is inserted, which moves the other init containers by one.
        for container in view::containers(pod).filter(|container| fragment.is_agent(container.name())) {
            patch.share(container, &fragment.share);
        }
        if !present {
            patch.extend_list(&pod["spec"], "/spec", "volumes", fragment.volumes);
            match view::field(&pod["spec"], "initContainers") {
                Some(_) => patch.add("/spec/initContainers/0".to_owned(), fragment.container),
                None => {
                    patch.add("/spec/initContainers".to_owned(), Value::Array(vec![fragment.container]));
                }
            }
            patch.set(&pod["metadata"], "labels", INJECTED_LABEL, "true");
            patch.set(&pod["metadata"], "annotations", STATUS, &fragment.status);
        }
        if grace_period::is_short(pod) {
            patch.add("/spec/terminationGracePeriodSeconds".to_owned(), GRACE_PERIOD_SECONDS.into());
        }
        let skip = view::text(&pod["metadata"]["annotations"], EKS_SKIP_ANNOTATION).unwrap_or_default();
        if let Some(longer) = appended(skip) {
            patch.set(&pod["metadata"], "annotations", EKS_SKIP_ANNOTATION, &longer);
        }
        patch
    }

    /// Adds the seal. A pod that asks for injection has annotations.
    pub fn seal(&mut self, seal: String) {
        self.add(format!("/metadata/annotations/{}", escaped(SEAL)), seal.into());
    }

    /// Returns the operations.
    pub fn operations(&self) -> &[Operation] {
        &self.0
    }

    /// Whether the patch has no operation.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Applies the operations to a document, as an API server does.
    pub fn apply(&self, document: &mut Value) -> Result<(), Misfit> {
        self.0
            .iter()
            .try_for_each(|operation| operation.apply(document).ok_or_else(|| Misfit(operation.path.clone())))
    }

    fn add(&mut self, path: String, value: Value) {
        self.0.push(Operation { op: "add", path, value });
    }

    /// Variables go first, so that the author's own can refer to them as `$(AGENT_CREDS_URL)`.
    fn share(&mut self, container: Container<'_>, share: &Share) {
        let named = |list: &str, name: &Value| {
            view::items(container.value, list).iter().any(|item| item["name"] == *name)
        };
        let missing: Vec<_> =
            share.env.iter().filter(|variable| !named("env", &variable["name"])).cloned().collect();
        let path = container.pointer();
        if view::field(container.value, "env").is_none() && !missing.is_empty() {
            self.add(format!("{path}/env"), Value::Array(missing));
        } else {
            for (i, variable) in missing.into_iter().enumerate() {
                self.add(format!("{path}/env/{i}"), variable);
            }
        }
        if !named("volumeMounts", &share.mount["name"]) {
            self.extend_list(container.value, &path, "volumeMounts", vec![share.mount.clone()]);
        }
    }

    fn extend_list(&mut self, parent: &Value, path: &str, list: &str, items: Vec<Value>) {
        if view::field(parent, list).is_some() {
            for item in items {
                self.add(format!("{path}/{list}/-"), item);
            }
        } else {
            self.add(format!("{path}/{list}"), Value::Array(items));
        }
    }

    fn set(&mut self, metadata: &Value, map: &str, key: &str, value: &str) {
        let path = format!("/metadata/{map}");
        if view::field(metadata, map).is_none() {
            self.add(path.clone(), json!({}));
        }
        self.add(format!("{path}/{}", escaped(key)), value.into());
    }
}

impl Operation {
    fn apply(&self, document: &mut Value) -> Option<()> {
        let (parent, last) = self.path.rsplit_once('/')?;
        let key = last.replace("~1", "/").replace("~0", "~");
        match document.pointer_mut(parent)? {
            Value::Object(map) => {
                map.insert(key, self.value.clone());
            }
            Value::Array(list) => {
                let index = if key == "-" { list.len() } else { key.parse().ok()? };
                if index > list.len() {
                    return None;
                }
                list.insert(index, self.value.clone());
            }
            _ => return None,
        }
        Some(())
    }
}

/// RFC 6901, section 3.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Returns the list of containers that the EKS Pod Identity webhook skips, with the sidecar; `None` where the list has
/// it.
fn appended(skip: &str) -> Option<String> {
    if skip.split(',').any(|name| name == CONTAINER) {
        return None;
    }
    match skip.trim_end_matches([',', ' ']) {
        "" => Some(CONTAINER.to_owned()),
        // Without a space, because the reader of the list may not trim.
        list => Some(format!("{list},{CONTAINER}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(path: &str, value: Value, mut document: Value) -> Option<Value> {
        let patch = Patch(vec![Operation { op: "add", path: path.to_owned(), value }]);
        patch.apply(&mut document).ok().map(|()| document)
    }

    #[test]
    fn keys_with_slashes_are_escaped_and_back() {
        assert_eq!(escaped("a~b/c"), "a~0b~1c");
        assert_eq!(applied("/m/a~0b~1c", json!(1), json!({"m": {}})), Some(json!({"m": {"a~b/c": 1}})));
    }

    #[test]
    fn lists_grow_where_the_operation_says() {
        assert_eq!(applied("/l/0", json!(1), json!({"l": [2]})), Some(json!({"l": [1, 2]})));
        assert_eq!(applied("/l/-", json!(1), json!({"l": [2]})), Some(json!({"l": [2, 1]})));
        assert_eq!(applied("/l/2", json!(1), json!({"l": [2]})), None);
        assert_eq!(applied("/x/y", json!(1), json!({"l": [2]})), None);
        assert_eq!(applied("/l/0/z", json!(1), json!({"l": [2]})), None);
    }

    #[test]
    fn the_skip_list_grows_by_one_name_once() {
        assert_eq!(appended("").as_deref(), Some("agent-creds"));
        assert_eq!(appended("a,b").as_deref(), Some("a,b,agent-creds"));
        assert_eq!(appended("a, ").as_deref(), Some("a,agent-creds"));
        assert_eq!(appended("agent-creds-x").as_deref(), Some("agent-creds-x,agent-creds"));
        assert_eq!(appended("a,agent-creds"), None);
        assert_eq!(appended("agent-creds,b"), None);
    }
}
