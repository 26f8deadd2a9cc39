//! Finds the injected parts in a pod, and compares them with the fragment, except for the changes that the API server's
//! own plugins make to every container. API servers call the webhook again after other webhooks changed the pod, people
//! apply stored pods, and an attacker may imitate an injected pod.

use agent_creds_core::annotations::{SEAL, STATUS};
use agent_creds_core::pod::{CONTAINER, INJECTED_LABEL, VOLUMES};
use serde_json::Value;

use super::differences::{Differences, Place, is_nothing};
use super::fragment::Fragment;
use super::view::{self, Container};
use crate::outcome::{Reason, Refusal};
use crate::policy::tolerate::Tolerated;

/// Directory where the ServiceAccount plugin mounts its token, also into injected containers.
const API_ACCESS_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const API_ACCESS_VOLUME: &str = "kube-api-access-";

/// Returns the path of the first object with one of our names; `None` where there is none.
pub fn trace(pod: &Value) -> Option<String> {
    let containers = view::containers(pod).filter(|container| container.name() == CONTAINER);
    let volumes = volumes(pod).filter(|(_, volume)| is_ours(volume));
    let label = view::field(&pod["metadata"]["labels"], INJECTED_LABEL);
    let annotation = |key| {
        view::field(&pod["metadata"]["annotations"], key).map(|_| format!("metadata.annotations[{key}]"))
    };
    let first = containers.map(Container::path).chain(volumes.map(|(path, _)| path)).next();
    first
        .or_else(|| label.map(|_| format!("metadata.labels[{INJECTED_LABEL}]")))
        .or_else(|| annotation(STATUS))
        .or_else(|| annotation(SEAL))
}

/// Whether the pod has the label or one of the annotations of an injected pod.
pub(super) fn is_marked(pod: &Value) -> bool {
    let metadata = &pod["metadata"];
    view::field(&metadata["labels"], INJECTED_LABEL).is_some()
        || [SEAL, STATUS].iter().any(|key| view::field(&metadata["annotations"], key).is_some())
}

/// Refuses a pod in which the objects with our names differ from the fragment.
pub fn compare(pod: &Value, fragment: &Fragment, tolerated: &[Tolerated]) -> Result<(), Refusal> {
    let containers: Vec<_> =
        view::containers(pod).filter(|container| container.name() == CONTAINER).collect();
    let volumes: Vec<_> = volumes(pod).collect();
    let sidecar = match containers.as_slice() {
        [] => {
            let first = volumes.iter().find(|(_, volume)| is_ours(volume));
            return Err(taken(first.map_or("spec.initContainers", |(path, _)| path)));
        }
        [only] if only.list == "initContainers" => *only,
        [.., last] => return Err(taken(&last.path())),
    };
    same_container(sidecar, &fragment.container, tolerated)?;
    for ours in &fragment.volumes {
        let mut named = volumes.iter().filter(|(_, volume)| volume["name"] == ours["name"]);
        match (named.next(), named.next()) {
            (Some((path, volume)), None) => {
                let name = view::text(ours, "name").unwrap_or_default();
                let mut differences = Differences::new(tolerated);
                let place = Place::new(path.as_str(), format!("volumes[{name}]"));
                differences.compare(&place, ours, Some(volume));
                if let Some((added, line)) = &differences.added {
                    return Err(grown(added, line));
                }
                if !differences.is_empty() {
                    return Err(taken(path));
                }
            }
            (_, Some((path, _))) => return Err(taken(path)),
            (None, None) => return Err(taken("spec.volumes")),
        }
    }
    let (labels, annotations) = (&pod["metadata"]["labels"], &pod["metadata"]["annotations"]);
    if view::text(labels, INJECTED_LABEL) != Some("true") {
        return Err(taken(&format!("metadata.labels[{INJECTED_LABEL}]")));
    }
    if view::text(annotations, STATUS) != Some(&fragment.status) {
        return Err(taken(&format!("metadata.annotations[{STATUS}]")));
    }
    Ok(())
}

/// Whether `found` equals `wanted`, a part of the fragment that `seal.tolerate` calls `part`.
pub(super) fn is_same(wanted: &Value, found: &Value, part: &str, tolerated: &[Tolerated]) -> bool {
    let mut differences = Differences::new(tolerated);
    differences.compare(&Place::new("", part), wanted, Some(found));
    differences.is_empty()
}

/// Returns the pod's volumes with their paths.
pub(super) fn volumes(pod: &Value) -> impl Iterator<Item = (String, &Value)> {
    let volumes = view::items(&pod["spec"], "volumes").iter().enumerate();
    volumes.map(|(i, volume)| (format!("spec.volumes[{i}]"), volume))
}

/// Whether a volume has one of our names.
fn is_ours(volume: &Value) -> bool {
    view::text(volume, "name").is_some_and(|name| VOLUMES.contains(&name))
}

fn taken(path: &str) -> Refusal {
    let sentence = "differs from what the webhook adds under this name; rename it if it is yours, make an exception in \
                    the admission webhook that changed it, or apply the original manifest, without what agent-creds \
                    added";
    Refusal::new(Reason::NameTaken, path, sentence)
}

/// Refuses a field that the webhook did not write. Perhaps a newer Kubernetes did.
fn grown(path: &str, line: &str) -> Refusal {
    let sentence = format_args!(
        "the webhook did not write this field; remove it, or make an exception in the admission webhook that added it. If \
         a newer Kubernetes adds it to every pod, add this to the chart value seal.tolerate: '{line}'"
    );
    Refusal::new(Reason::NameTaken, path, sentence)
}

/// Compares the live sidecar with the fragment. A missing field has a refusal of its own, because another webhook
/// removed it, and its owner should know. Every other difference is a name that is taken.
fn same_container(live: Container<'_>, ours: &Value, tolerated: &[Tolerated]) -> Result<(), Refusal> {
    let found = live.value.as_object().cloned().unwrap_or_default();
    let place = Place::new(live.path(), "container");
    let mut differences = Differences::new(tolerated);
    for (key, wanted) in ours.as_object().into_iter().flatten() {
        match (key.as_str(), found.get(key)) {
            ("resources", None) => {}
            ("resources", Some(resources)) if only_quantities(resources) => {}
            ("imagePullPolicy", Some(policy)) if policy == "Always" => {}
            ("volumeMounts", Some(Value::Array(mounts))) => {
                let mounts = mounts.iter().filter(|mount| !is_api_access(mount)).cloned().collect();
                differences.compare(&place.field(key), wanted, Some(&Value::Array(mounts)));
            }
            (_, found) => differences.compare(&place.field(key), wanted, found),
        }
    }
    let known =
        |key: &str, value: &Value| ours.get(key).is_some() || key == "resizePolicy" && default_resize(value);
    for (key, value) in found.iter().filter(|(key, value)| !known(key, value)) {
        differences.add(&place.field(key), value);
    }
    if let Some(path) = differences.other {
        return Err(taken(&path));
    }
    if let Some((path, line)) = differences.added {
        return Err(grown(&path, &line));
    }
    let Some(path) = differences.missing else { return Ok(()) };
    let sentence = "another admission webhook removed this from the injected sidecar, and the pod would never start; \
                    upgrade that webhook (its Kubernetes types are too old), or exclude the pod from it";
    Err(Refusal::new(Reason::SidecarStripped, &path, sentence))
}

/// Whether the resources are only quantities, which LimitRanger fills in. Devices are refused, both `claims` and
/// resources of a vendor: a device plugin adds mounts and variables.
fn only_quantities(resources: &Value) -> bool {
    let quantities = |value: &Value| {
        value.is_null()
            || value.as_object().is_some_and(|map| {
                let of_the_node = |name: &str| ["cpu", "memory", "ephemeral-storage"].contains(&name);
                map.iter().all(|(name, quantity)| of_the_node(name) && !quantity.is_object())
            })
    };
    resources.is_null()
        || resources.as_object().is_some_and(|map| {
            map.iter().all(|(key, value)| match key.as_str() {
                "requests" | "limits" => quantities(value),
                _ => is_nothing(value),
            })
        })
}

fn is_api_access(mount: &Value) -> bool {
    let known = ["name", "mountPath", "readOnly"];
    view::text(mount, "name").is_some_and(|name| name.starts_with(API_ACCESS_VOLUME))
        && view::text(mount, "mountPath") == Some(API_ACCESS_DIR)
        && mount["readOnly"] == true
        && mount.as_object().is_some_and(|map| map.keys().all(|key| known.contains(&key.as_str())))
}

/// Whether this is the default of API servers that can resize pods in place.
fn default_resize(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|policies| policies.iter().all(|policy| policy["restartPolicy"] == "NotRequired"))
}

#[cfg(test)]
mod tests;
