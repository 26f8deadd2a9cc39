//! Whether a pod has been injected before. API servers call again after other webhooks changed the pod, and
//! people apply stored pods and previews. A pod that has one of our names is a second call only if everything
//! with our names equals what we would inject, but for what the API server's own plugins do to every container.

use agent_creds_core::annotations::STATUS;
use agent_creds_core::pod::{CONTAINER, INJECTED_LABEL, VOLUMES};
use serde_json::{Map, Value};

use super::fragment::Fragment;
use super::view::{self, Container};
use crate::outcome::{Reason, Refusal};

/// Where the ServiceAccount plugin mounts its token, also into containers of ours.
const API_ACCESS_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const API_ACCESS_VOLUME: &str = "kube-api-access-";

/// Whether `pod` already holds the fragment; a refusal where it has our names and something else under them.
pub fn presence(pod: &Value, fragment: &Fragment) -> Result<bool, Refusal> {
    let containers: Vec<_> =
        view::containers(pod).filter(|container| container.name() == CONTAINER).collect();
    let volumes: Vec<_> = volumes(pod).filter(|(_, volume)| is_ours(volume)).collect();
    let label = view::field(&pod["metadata"]["labels"], INJECTED_LABEL);
    let status = view::field(&pod["metadata"]["annotations"], STATUS);

    let sidecar = match containers.as_slice() {
        [] => {
            let path = volumes.first().map(|(path, _)| path.clone());
            let path = path.or_else(|| label.map(|_| format!("metadata.labels[{INJECTED_LABEL}]")));
            let path = path.or_else(|| status.map(|_| format!("metadata.annotations[{STATUS}]")));
            return path.map_or(Ok(false), |path| Err(taken(&path)));
        }
        [only] if only.list == "initContainers" => *only,
        [.., last] => return Err(taken(&last.path())),
    };
    same_container(sidecar, &fragment.container)?;
    for ours in &fragment.volumes {
        let mut named = volumes.iter().filter(|(_, volume)| volume["name"] == ours["name"]);
        match (named.next(), named.next()) {
            (Some((_, volume)), None) if same(ours, volume) => {}
            (Some((path, _)), None) | (_, Some((path, _))) => return Err(taken(path)),
            (None, None) => return Err(taken("spec.volumes")),
        }
    }
    if label.and_then(Value::as_str) != Some("true") {
        return Err(taken(&format!("metadata.labels[{INJECTED_LABEL}]")));
    }
    if status.and_then(Value::as_str) != Some(&fragment.status) {
        return Err(taken(&format!("metadata.annotations[{STATUS}]")));
    }
    Ok(true)
}

/// Whether a mount of an agent container is the one that we add.
pub(super) fn is_shared_mount(mount: &Value, fragment: &Fragment) -> bool {
    same(&fragment.share.mount, mount)
}

/// The pod's volumes with their paths.
pub(super) fn volumes(pod: &Value) -> impl Iterator<Item = (String, &Value)> {
    let volumes = view::items(&pod["spec"], "volumes").iter().enumerate();
    volumes.map(|(i, volume)| (format!("spec.volumes[{i}]"), volume))
}

/// Whether a volume has one of our names.
pub(super) fn is_ours(volume: &Value) -> bool {
    view::text(volume, "name").is_some_and(|name| VOLUMES.contains(&name))
}

fn taken(path: &str) -> Refusal {
    let sentence = "not what the webhook adds under a name of its own; rename it if it is yours, make an exception in \
                    the admission webhook that changed it, or apply the original manifest, without what agent-creds \
                    added";
    Refusal::new(Reason::NameTaken, path, sentence)
}

/// What the live container lacks is another webhook's doing, and gets its own words: that is a bug that its
/// owner has to hear of. Anything else under our name is refused as a name taken.
fn same_container(live: Container<'_>, ours: &Value) -> Result<(), Refusal> {
    let found = live.value.as_object().cloned().unwrap_or_default();
    let mut differences = Differences::default();
    for (key, wanted) in ours.as_object().into_iter().flatten() {
        let path = format!("{}.{key}", live.path());
        match (key.as_str(), found.get(key)) {
            ("resources", None) => {}
            ("resources", Some(resources)) if only_quantities(resources) => {}
            ("imagePullPolicy", Some(policy)) if policy == "Always" => {}
            ("volumeMounts", Some(Value::Array(mounts))) => {
                let mounts = mounts.iter().filter(|mount| !is_api_access(mount)).cloned().collect();
                differences.compare(&path, wanted, Some(&Value::Array(mounts)));
            }
            (_, found) => differences.compare(&path, wanted, found),
        }
    }
    for (key, value) in &found {
        let known =
            ours.get(key).is_some() || is_nothing(value) || key == "resizePolicy" && default_resize(value);
        if !known {
            differences.other.get_or_insert(format!("{}.{key}", live.path()));
        }
    }
    match differences {
        Differences { other: Some(path), .. } => Err(taken(&path)),
        Differences { missing: Some(path), .. } => {
            let sentence = "another admission webhook removed this from the injected sidecar, and the pod would \
                            never start; upgrade that webhook (its Kubernetes types are too old), or exclude the \
                            pod from it";
            Err(Refusal::new(Reason::SidecarStripped, &path, sentence))
        }
        Differences { other: None, missing: None } => Ok(()),
    }
}

/// The first difference of each kind.
#[derive(Default)]
struct Differences {
    missing: Option<String>,
    other: Option<String>,
}

impl Differences {
    fn compare(&mut self, path: &str, wanted: &Value, found: Option<&Value>) {
        match (wanted, found) {
            (_, None | Some(Value::Null)) => {
                self.missing.get_or_insert_with(|| path.to_owned());
            }
            (Value::Object(wanted), Some(Value::Object(found))) => self.objects(path, wanted, found),
            (Value::Array(wanted), Some(Value::Array(found))) if wanted.len() == found.len() => {
                for (i, (wanted, found)) in wanted.iter().zip(found).enumerate() {
                    self.compare(&format!("{path}[{i}]"), wanted, Some(found));
                }
            }
            (wanted, Some(found)) if wanted == found => {}
            _ => {
                self.other.get_or_insert_with(|| path.to_owned());
            }
        }
    }

    fn objects(&mut self, path: &str, wanted: &Map<String, Value>, found: &Map<String, Value>) {
        for (key, wanted) in wanted {
            self.compare(&format!("{path}.{key}"), wanted, found.get(key));
        }
        let more = found.iter().find(|(key, value)| !wanted.contains_key(*key) && !is_nothing(value));
        if let Some((key, _)) = more {
            self.other.get_or_insert_with(|| format!("{path}.{key}"));
        }
    }
}

fn same(wanted: &Value, found: &Value) -> bool {
    let mut differences = Differences::default();
    differences.compare("", wanted, Some(found));
    differences.missing.is_none() && differences.other.is_none()
}

/// What a serialiser may write for "not set".
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// LimitRanger fills in requests and limits. Devices (`claims`) are no quantities.
fn only_quantities(resources: &Value) -> bool {
    let quantities = |value: &Value| {
        value.is_null()
            || value.as_object().is_some_and(|map| map.values().all(|quantity| !quantity.is_object()))
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

/// What API servers fill in where pods can be resized in place.
fn default_resize(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|policies| policies.iter().all(|policy| policy["restartPolicy"] == "NotRequired"))
}

#[cfg(test)]
mod tests;
