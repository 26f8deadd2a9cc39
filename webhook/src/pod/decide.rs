//! The decision about one pod at its creation.

use std::collections::BTreeMap;

use agent_creds_core::annotations::{self, AnnotationError, CONTAINERS, INJECT, SERVICE_ACCOUNT, Selection};
use agent_creds_core::pod::CONTAINER;
use serde_json::Value;

use super::forbidden::forbidden;
use super::fragment::Fragment;
use super::patch::Patch;
use super::seal::Sealed;
use super::seal_keys::Keys;
use super::verify::{self, verify};
use super::{grace_period, presence, view};
use crate::outcome::{Reason, Refusal};
use crate::policy::{Identity, Policy};

/// Annotation of the API's copy of a static pod. The kubelet runs the file, not this object.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The decision about a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The pod is allowed without a change.
    Unchanged(Reason),
    /// The pod is allowed with a patch. The API server shows the warnings to the pod's creator.
    Injected {
        /// A new pod, or a container that was added later.
        reason: Reason,
        /// The patch.
        patch: Patch,
        /// One sentence each.
        warnings: Vec<String>,
    },
    /// The pod is refused. The list is not empty.
    Refused(Vec<Refusal>),
}

impl Decision {
    /// Returns the reason; of several refusals, that of the first.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Unchanged(reason) | Self::Injected { reason, .. } => *reason,
            Self::Refused(refusals) => refusals.first().map_or(Reason::PodInvalid, |refusal| refusal.reason),
        }
    }
}

/// Decides about a pod that is being created in `namespace` at `now` (Unix seconds).
pub fn decide(pod: &Value, policy: &Policy, keys: &Keys, namespace: &str, now: i64) -> Decision {
    asked(pod, |annotations| inject(pod, policy, Some((keys, now)), namespace, annotations))
}

/// Decides about a pod without a cluster: nothing is sealed.
pub fn preview(pod: &Value, policy: &Policy, namespace: &str) -> Decision {
    asked(pod, |annotations| inject(pod, policy, None, namespace, annotations))
}

/// Decides about the final pod, which no other webhook changes: it equals its seal, and contains nothing that is forbidden.
/// A pod that is marked as injected has to be so, also where it no longer asks. A pod without a creation time is created at
/// `now` (Unix seconds).
pub fn confirm(pod: &Value, policy: &Policy, keys: &Keys, namespace: &str, now: i64) -> Decision {
    let verified = || {
        verify::proven(pod, policy, keys, namespace, now)?;
        grace_period::check(pod).map_err(alone)?;
        Ok(Decision::Unchanged(Reason::Verified))
    };
    if presence::is_marked(pod) {
        return verified().unwrap_or_else(Decision::Refused);
    }
    asked(pod, |_| verified())
}

/// Returns the decision of `decide` for a pod that asks for injection. Other pods are not changed.
fn asked(
    pod: &Value,
    decide: impl FnOnce(&BTreeMap<String, String>) -> Result<Decision, Vec<Refusal>>,
) -> Decision {
    // A pod that does not ask for injection is allowed, whatever else it contains.
    let asks = &pod["metadata"]["annotations"][INJECT];
    if asks.is_null() || asks == "false" {
        return Decision::Unchanged(Reason::NotAsked);
    }
    let annotations = match view::check_annotations(pod).and_then(|()| own_annotations(pod)) {
        Ok(annotations) => annotations,
        Err(refusal) => return Decision::Refused(vec![refusal]),
    };
    match annotations::wants_injection(&annotations) {
        Ok(true) => {}
        Ok(false) => return Decision::Unchanged(Reason::NotAsked),
        Err(error) => return Decision::Refused(vec![annotation(&error)]),
    }
    if pod["metadata"]["annotations"].get(MIRROR).is_some() {
        return Decision::Unchanged(Reason::MirrorPod);
    }
    decide(&annotations).unwrap_or_else(Decision::Refused)
}

fn inject(
    pod: &Value,
    policy: &Policy,
    sealing: Option<(&Keys, i64)>,
    namespace: &str,
    annotations: &BTreeMap<String, String>,
) -> Result<Decision, Vec<Refusal>> {
    view::check_shape(pod).map_err(alone)?;
    let account = view::service_account(pod);
    let selection = Selection::parse(annotations, account, &policy.default_grants)
        .map_err(|error| alone(annotation(&error)))?;
    if let (Identity::Pod, Some(_)) = (&policy.identity, &selection.service_account) {
        let path = format!("metadata.annotations[{SERVICE_ACCOUNT}]");
        let sentence = "identity mode \"pod\" uses only the pod's own account; remove the annotation";
        return Err(alone(Refusal::new(Reason::AnnotationInvalid, &path, sentence)));
    }
    let agents = agents(pod, &selection).map_err(alone)?;
    let Some(trace) = presence::trace(pod) else {
        let fragment = Fragment::new(policy, namespace, account, &selection, agents);
        refuse(forbidden(pod, namespace, &fragment, false, policy))?;
        let mut patch = Patch::new(pod, fragment.clone(), false);
        if let Some((keys, now)) = sealing {
            patch.seal(Sealed::new(pod, namespace, fragment, now).seal(keys));
        }
        let warnings = warnings(&policy.identity, namespace, account);
        return Ok(Decision::Injected { reason: Reason::Injected, patch, warnings });
    };
    // The seal says what was injected, possibly by another version of the webhook.
    let (keys, now) = sealing.ok_or_else(|| alone(verify::taken_in_preview(&trace)))?;
    // The API server sets the creation time after this call. A value that is there already comes from the request.
    let sealed = verify(pod, policy, keys, namespace, now, &trace).map_err(alone)?;
    let mut fragment = sealed.fragment.clone();
    fragment.share.containers = agents;
    refuse(forbidden(pod, namespace, &fragment, true, policy))?;
    let mut patch = Patch::new(pod, fragment.clone(), true);
    if fragment != sealed.fragment {
        // The time stays, or repeated calls would keep an old fragment valid for ever.
        patch.seal(Sealed::new(pod, namespace, fragment, sealed.issued_at).seal(keys));
    }
    Ok(match patch.is_empty() {
        true => Decision::Unchanged(Reason::AlreadyInjected),
        false => Decision::Injected { reason: Reason::Completed, patch, warnings: Vec::new() },
    })
}

fn refuse(refusals: Vec<Refusal>) -> Result<(), Vec<Refusal>> {
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// Returns the annotations under our prefix. Other annotations are not checked.
fn own_annotations(pod: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let all = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    all.filter(|(key, value)| key.starts_with(annotations::PREFIX) && !value.is_null())
        .map(|(key, value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_owned())),
            None => {
                let path = format!("metadata.annotations[{}]", view::quoted(key));
                Err(Refusal::new(Reason::AnnotationInvalid, &path, "not text; write the value in quotes"))
            }
        })
        .collect()
}

fn annotation(error: &AnnotationError) -> Refusal {
    let reason = match error {
        AnnotationError::Value { .. }
        | AnnotationError::Name { .. }
        | AnnotationError::Duplicate { .. }
        | AnnotationError::TooMany { .. }
        | AnnotationError::SamePort { .. } => Reason::AnnotationInvalid,
        AnnotationError::NoGrants => Reason::NoGrants,
        AnnotationError::NotBuilt { .. } => Reason::AnnotationNotBuilt,
        AnnotationError::Unknown { .. } => Reason::AnnotationUnknown,
    };
    Refusal::new(reason, "metadata.annotations", error)
}

/// Returns the names of the containers that get access: those that the annotation names, or the main containers.
fn agents(pod: &Value, selection: &Selection) -> Result<Vec<String>, Refusal> {
    let eligible =
        || view::containers(pod).filter(|c| c.list != "ephemeralContainers" && c.name() != CONTAINER);
    let Some(named) = &selection.containers else {
        let main = eligible().filter(|container| container.list == "containers");
        return Ok(main.map(|container| container.name().to_owned()).collect());
    };
    match named.iter().find(|name| !eligible().any(|container| container.name() == *name)) {
        None => Ok(named.clone()),
        Some(missing) => {
            let names: Vec<_> = eligible().map(|container| view::quoted(container.name())).collect();
            let path = format!("metadata.annotations[{CONTAINERS}]");
            let sentence =
                format!("the pod has no container {missing:?}; write names out of {}", names.join(", "));
            Err(Refusal::new(Reason::ContainerMissing, &path, sentence))
        }
    }
}

/// Returns warnings for the pod's creator. An API server cuts them at 256 characters.
fn warnings(identity: &Identity, namespace: &str, account: &str) -> Vec<String> {
    match identity {
        Identity::Pod => vec![format!(
            "agent-creds: identity mode \"pod\": all containers share ServiceAccount {namespace}/{account} with the \
             sidecar, so the agent itself can read the Secrets of its grants"
        )],
        Identity::Exchange { .. } => Vec::new(),
    }
}

fn alone(refusal: Refusal) -> Vec<Refusal> {
    vec![refusal]
}

#[cfg(test)]
mod tests;
