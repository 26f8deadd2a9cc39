//! Reads pods of any shape. `null` counts as absent, as in the API server.

use jiff::Timestamp;
use serde_json::Value;

use crate::outcome::{Reason, Refusal};

/// The lists of containers in `spec`.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A container and its position.
#[derive(Clone, Copy)]
pub(crate) struct Container<'a> {
    /// `initContainers`, `containers` or `ephemeralContainers`.
    pub(crate) list: &'static str,
    /// Index in that list.
    pub(crate) index: usize,
    /// The container.
    pub(crate) value: &'a Value,
}

impl<'a> Container<'a> {
    /// Returns its name; [`check_shape`] refuses a container without one.
    pub(crate) fn name(self) -> &'a str {
        text(self.value, "name").unwrap_or_default()
    }

    /// Returns its path in the form of messages.
    pub(crate) fn path(self) -> String {
        format!("spec.{}[{}]", self.list, self.index)
    }

    /// Returns its path as a JSON pointer.
    pub(crate) fn pointer(self) -> String {
        format!("/spec/{}/{}", self.list, self.index)
    }
}

/// Returns all containers: init, main, ephemeral.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = Container<'_>> {
    LISTS.into_iter().flat_map(|list| {
        let values = items(&pod["spec"], list).iter().enumerate();
        values.map(move |(index, value)| Container { list, index, value })
    })
}

/// Returns a field that is not `null`.
pub(crate) fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|found| !found.is_null())
}

/// Returns a field that is text.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// Returns a field that is a list; an empty one where it is absent.
pub(crate) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns when the pod was created, in Unix seconds; `None` before the API server has set it.
pub(crate) fn created(pod: &Value) -> Result<Option<i64>, Refusal> {
    const CREATED: &str = "creationTimestamp";
    let Some(found) = field(&pod["metadata"], CREATED) else { return Ok(None) };
    let parsed = found.as_str().and_then(|at| at.parse::<Timestamp>().ok());
    let wrong = || {
        let sentence = "not a time; the API server sets it, so leave it out";
        Refusal::new(Reason::PodInvalid, &format!("metadata.{CREATED}"), sentence)
    };
    parsed.map(|at| Some(at.as_second())).ok_or_else(wrong)
}

/// Returns the name of the pod's ServiceAccount.
pub(crate) fn service_account(pod: &Value) -> &str {
    // The API server copies the deprecated field into the other one; a manifest may have only the deprecated one.
    let named = |key| text(&pod["spec"], key).filter(|name| !name.is_empty());
    named("serviceAccountName").or_else(|| named("serviceAccount")).unwrap_or("default")
}

/// Returns a value of the pod for a message: quoted, short, and without control characters.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    format!("{:?}", text.chars().take(LONGEST).chain(['…']).collect::<String>())
}

/// The beginning of a text for the log: names in a pod that is being created can have any length.
pub(crate) fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}

/// Longest name of an object in Kubernetes, and of a container.
const LONGEST_NAME: usize = 253;
const LONGEST_CONTAINER_NAME: usize = 63;
/// Bytes of all annotations of an object, as API servers limit them.
const MOST_ANNOTATIONS: usize = 256 * 1024;

/// Refuses more annotations than an API server stores. It checks that after admission.
pub(crate) fn check_annotations(pod: &Value) -> Result<(), Refusal> {
    let all = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let bytes: usize = all.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > MOST_ANNOTATIONS {
        let sentence = format_args!("{bytes} bytes; write at most {MOST_ANNOTATIONS} bytes of annotations");
        return Err(Refusal::new(Reason::PodInvalid, "metadata.annotations", sentence));
    }
    Ok(())
}

/// Most entries of a list in the pod's spec, because the time of the checks grows with them.
const MOST: usize = 1000;

/// Refuses a pod whose spec does not have the expected shape: lists of limited length, and containers with names. The
/// other functions rely on it.
pub(crate) fn check_shape(pod: &Value) -> Result<(), Refusal> {
    let wrong =
        |path: &str, wanted: &str| Err(Refusal::new(Reason::PodInvalid, path, format_args!("not {wanted}")));
    if !pod["spec"].is_object() {
        return wrong("spec", "an object; write the spec of a pod");
    }
    if field(&pod["metadata"], "labels").is_some_and(|labels| !labels.is_object()) {
        return wrong("metadata.labels", "an object; write keys and values");
    }
    for key in ["serviceAccountName", "serviceAccount"] {
        if text(&pod["spec"], key).is_some_and(|name| name.len() > LONGEST_NAME) {
            return wrong(&format!("spec.{key}"), &format!("a name of at most {LONGEST_NAME} characters"));
        }
    }
    for list in LISTS.into_iter().chain(["volumes"]) {
        if field(&pod["spec"], list).is_some_and(|found| !found.is_array()) {
            return wrong(&format!("spec.{list}"), "a list; write one");
        }
        if items(&pod["spec"], list).len() > MOST {
            return wrong(&format!("spec.{list}"), &format!("a list of at most {MOST}; leave some out"));
        }
    }
    if items(&pod["spec"], "containers").is_empty() {
        return wrong("spec.containers", "a list with a container; write at least one");
    }
    for container in containers(pod) {
        let path = container.path();
        if text(container.value, "name").is_none_or(str::is_empty) {
            return wrong(&path, "a container with a name; name it");
        }
        if container.name().len() > LONGEST_CONTAINER_NAME {
            return wrong(
                &format!("{path}.name"),
                &format!("a name of at most {LONGEST_CONTAINER_NAME} characters"),
            );
        }
        for list in ["env", "volumeMounts"] {
            if field(container.value, list).is_some_and(|found| !found.is_array()) {
                return wrong(&format!("{path}.{list}"), "a list; write one");
            }
        }
    }
    Ok(())
}
