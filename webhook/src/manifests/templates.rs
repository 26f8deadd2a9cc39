//! Finds pods and pod templates by their shape, in objects of any kind, and the annotations that stand where no pod gets
//! them.

use agent_creds_core::annotations::{Annotation, misspelt};
use agent_creds_core::pod::INJECTED_LABEL;
use serde_json::Value;

use super::path::{Path, Step};

/// What is in one object.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The pods and pod templates, in the order of the object.
    pub(super) templates: Vec<Template>,
    /// The maps outside of them that have annotations of agent-creds.
    pub(super) stray: Vec<Stray>,
}

/// A pod, or what a controller makes pods of.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) path: Path,
    /// The namespace of the object around it that names one.
    pub(super) namespace: Option<String>,
}

/// Annotations of agent-creds where no pod gets them.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) path: Path,
    /// As they are written.
    pub(super) keys: Vec<String>,
}

/// Finds the pod templates of an object.
pub(super) fn find(object: &Value) -> Found {
    let mut found = Found::default();
    walk(object, &Path::default(), None, &mut found);
    let own: Vec<Path> = found.templates.iter().map(|template| annotations_of(&template.path)).collect();
    found.stray.retain(|stray| !own.contains(&stray.path));
    found
}

/// Where the annotations of the template at `path` are.
fn annotations_of(path: &Path) -> Path {
    path.with(Step::Key("metadata".to_owned())).with(Step::Key("annotations".to_owned()))
}

fn walk(value: &Value, path: &Path, namespace: Option<&str>, found: &mut Found) {
    match value {
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                walk(item, &path.with(Step::Index(index)), namespace, found);
            }
        }
        Value::Object(map) => {
            let is_object = path.0.is_empty() || value["kind"].is_string();
            let named = value["metadata"]["namespace"].as_str().filter(|name| is_object && !name.is_empty());
            let namespace = named.or(namespace);
            if is_template(value) {
                let namespace = namespace.map(str::to_owned);
                found.templates.push(Template { path: path.clone(), namespace });
            }
            let keys: Vec<String> = map.keys().filter(|key| is_meant(key, path)).cloned().collect();
            if !keys.is_empty() {
                found.stray.push(Stray { path: path.clone(), keys });
            }
            for (key, child) in map.iter().filter(|(key, _)| *key != "managedFields") {
                walk(child, &path.with(Step::Key(key.clone())), namespace, found);
            }
        }
        _ => {}
    }
}

/// An object of another kind than Pod has its own `metadata`, so its `spec.containers` make no template of it.
fn is_template(value: &Value) -> bool {
    match value["kind"].as_str() {
        Some(kind) => kind == "Pod",
        None => value["spec"].get("containers").is_some_and(|list| list.is_array() || list.is_null()),
    }
}

/// Whether a key is an annotation of agent-creds, or was meant to be one. Only where annotations or labels stand is a
/// similar key taken for one.
fn is_meant(key: &str, path: &Path) -> bool {
    if Annotation::from_key(key).is_some() {
        return true;
    }
    let Some(Step::Key(map)) = path.0.last() else { return false };
    let map = map.to_ascii_lowercase();
    let annotations = map.ends_with("annotations");
    (annotations || map.ends_with("labels") && key != INJECTED_LABEL) && misspelt(key).is_some()
}

#[cfg(test)]
mod tests;
