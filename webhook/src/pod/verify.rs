//! Compares a pod with its seal: at a second call of `/mutate`, at `/validate`, and for each identity exchange. A valid
//! seal says what was injected and not that the pod passed admission, so [`proven`] also checks everything that
//! admission forbids.

use agent_creds_core::annotations::SEAL;
use jiff::Timestamp;
use serde_json::Value;

use super::forbidden::forbidden;
use super::fragment::Fragment;
use super::seal::{MAX_AGE, SealError, Sealed};
use super::seal_keys::Keys;
use super::{presence, view};
use crate::outcome::{Reason, Refusal};
use crate::policy::Policy;

/// Returns the seal's payload of a pod of `namespace` that was created at `created` (Unix seconds). `trace` is the path of an
/// injected object in it.
///
/// # Errors
/// Where the pod differs from its seal, or the seal was made for another pod or at another time.
pub fn verify(
    pod: &Value,
    policy: &Policy,
    keys: &Keys,
    namespace: &str,
    created: i64,
    trace: &str,
) -> Result<Sealed, Refusal> {
    let path = format!("metadata.annotations[{SEAL}]");
    let refusal = |reason, sentence: &str| Refusal::new(reason, &path, sentence);
    let Some(seal) = view::field(&pod["metadata"]["annotations"], SEAL) else {
        return Err(Refusal::new(
            Reason::SealMissing,
            trace,
            "only the webhook adds this, together with a seal, and the pod has no seal; apply the original manifest, without what agent-creds \
             added (a preview of `inject` cannot be applied), or rename it if it is yours",
        ));
    };
    let sealed = Sealed::open(seal.as_str().unwrap_or_default(), keys).map_err(|error| match error {
        SealError::Invalid => refusal(
            Reason::SealInvalid,
            "not a seal of this cluster's webhook; remove it, with all else that agent-creds added",
        ),
        SealError::KeyUnknown => refusal(
            Reason::SealWithdrawn,
            "made with a key that was removed since; create the pod again from its original manifest",
        ),
    })?;
    let live = Sealed::new(pod, namespace, sealed.fragment.clone(), sealed.issued_at);
    let changed = [
        (live.namespace != sealed.namespace, "the namespace"),
        (live.service_account != sealed.service_account, "spec.serviceAccountName"),
        (live.annotations != sealed.annotations, "the agent-creds annotations"),
    ];
    if let Some((_, what)) = changed.iter().find(|(changed, _)| *changed) {
        let sentence = format!(
            "made for another pod: {what} differs; apply the original manifest, without what agent-creds added, or make \
             an exception in the admission webhook that changed it"
        );
        return Err(refusal(Reason::SealInvalid, &sentence));
    }
    presence::compare(pod, &sealed.fragment, &policy.tolerated)?;
    if !sealed.is_timely(created) {
        return Err(Refusal::new(Reason::SealTime, &path, untimely(sealed.issued_at, created)));
    }
    Ok(sealed)
}

/// Returns the fragment of a final pod: its agent containers have their share, and it contains nothing that is
/// forbidden. A pod without a creation time is created at `now` (Unix seconds).
///
/// # Errors
/// As [`verify`]; and where an agent container lacks its share, or the pod contains something that is forbidden.
pub fn proven(
    pod: &Value,
    policy: &Policy,
    keys: &Keys,
    namespace: &str,
    now: i64,
) -> Result<Fragment, Vec<Refusal>> {
    let alone = |refusal| vec![refusal];
    view::check_shape(pod).map_err(alone)?;
    let created = view::created(pod).map_err(alone)?.unwrap_or(now);
    let sealed = verify(pod, policy, keys, namespace, created, "spec.initContainers").map_err(alone)?;
    let fragment = sealed.fragment;
    shared(pod, &fragment, policy).map_err(alone)?;
    let refusals = forbidden(pod, namespace, &fragment, true, policy);
    if refusals.is_empty() { Ok(fragment) } else { Err(refusals) }
}

/// Refuses a pod in which an agent container lacks a part of its share.
fn shared(pod: &Value, fragment: &Fragment, policy: &Policy) -> Result<(), Refusal> {
    for name in &fragment.share.containers {
        let Some(container) = view::containers(pod).find(|container| container.name() == name) else {
            return Err(stripped("spec.containers"));
        };
        let has = |list: &str, ours: &Value, part: &str| {
            let mut found = view::items(container.value, list).iter();
            found.any(|found| presence::is_same(ours, found, part, &policy.tolerated))
        };
        if !fragment.share.env.iter().all(|variable| has("env", variable, "env")) {
            return Err(stripped(&format!("{}.env", container.path())));
        }
        if !has("volumeMounts", &fragment.share.mount, "mount") {
            return Err(stripped(&format!("{}.volumeMounts", container.path())));
        }
    }
    Ok(())
}

/// Returns the sentence about a seal that was made too early or too late for its pod.
fn untimely(issued_at: i64, created: i64) -> String {
    let shown =
        |seconds| Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds}"), |at| at.to_string());
    let (made, pod) = (shown(issued_at), shown(created));
    if issued_at < created {
        format!(
            "made at {made}, more than {} minutes before this pod ({pod}), as in a copy of an older pod; apply the original \
             manifest, without what agent-creds added",
            MAX_AGE / 60
        )
    } else {
        format!(
            "made at {made}, after this pod was created ({pod}); synchronise the clocks of the API server and of the \
             webhook's nodes"
        )
    }
}

fn stripped(path: &str) -> Refusal {
    let sentence =
        "another admission webhook removed or changed what the agent gets here; make an exception in it";
    Refusal::new(Reason::SidecarStripped, path, sentence)
}

/// Returns the refusal of a preview of an injected pod, which cannot be verified without keys.
pub(super) fn taken_in_preview(trace: &str) -> Refusal {
    let sentence =
        "the pod has been injected before; preview its original manifest, without what agent-creds added";
    Refusal::new(Reason::NameTaken, trace, sentence)
}

#[cfg(test)]
mod tests;
