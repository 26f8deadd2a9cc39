//! Every outcome of an admission request and every reason for it: label values of `agent_creds_admission_total`, fields of log lines,
//! and the table in `docs/admission.md`.

use std::fmt;

use strum::{EnumMessage, IntoStaticStr, VariantArray};

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// Allowed, with a patch.
    Injected,
    /// Allowed without a change.
    Unchanged,
    /// Denied: the pod must change.
    Refused,
    /// Not a request that an API server sends.
    Invalid,
    /// Not examined; the same request can succeed later.
    Unavailable,
}

/// Why a request ended as it did. The doc comment of each is its line in the generated table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
pub enum Reason {
    /// The sidecar was added.
    #[strum(serialize = "new_pod")]
    Injected,
    /// A later call: what other webhooks' changes left missing was added.
    #[strum(serialize = "completed")]
    Completed,
    /// The final pod equals its seal and contains nothing that is forbidden.
    #[strum(serialize = "verified")]
    Verified,
    /// A later call, and nothing is missing.
    #[strum(serialize = "already_injected")]
    AlreadyInjected,
    /// Annotation agent-creds/inject is absent or "false".
    #[strum(serialize = "not_asked")]
    NotAsked,
    /// Only the creation of a pod is changed.
    #[strum(serialize = "not_create")]
    NotCreate,
    /// The request is about something other than a pod.
    #[strum(serialize = "not_a_pod")]
    NotPod,
    /// The API's copy of a static pod: it cannot be changed, and gets no credential.
    #[strum(serialize = "mirror_pod")]
    MirrorPod,
    /// An annotation has a value that it cannot have.
    #[strum(serialize = "annotation_invalid")]
    AnnotationInvalid,
    /// There is no such agent-creds annotation.
    #[strum(serialize = "annotation_unknown")]
    AnnotationUnknown,
    /// The annotation is not built in this version.
    #[strum(serialize = "annotation_not_built")]
    AnnotationNotBuilt,
    /// The pod names no grant, and the cluster has no defaultGrants.
    #[strum(serialize = "no_grants")]
    NoGrants,
    /// `agent-creds/containers` names a container that the pod lacks.
    #[strum(serialize = "container_missing")]
    ContainerMissing,
    /// An object has one of our names and differs from what we inject.
    #[strum(serialize = "name_taken")]
    NameTaken,
    /// Another webhook removed fields from the injected sidecar.
    #[strum(serialize = "sidecar_stripped")]
    SidecarStripped,
    /// The pod contains injected parts without a seal, like a preview or an imitation.
    #[strum(serialize = "seal_missing")]
    SealMissing,
    /// The seal is not valid, or was made for another pod.
    #[strum(serialize = "seal_invalid")]
    SealInvalid,
    /// The seal was made with a key that was removed.
    #[strum(serialize = "seal_withdrawn")]
    SealWithdrawn,
    /// The seal was not made within the ten minutes before the pod's creation.
    #[strum(serialize = "seal_time")]
    SealTime,
    /// The pod runs as the credential account.
    #[strum(serialize = "credential_account")]
    CredentialAccount,
    /// A container sets an environment variable of the sidecar's API.
    #[strum(serialize = "environment")]
    Environment,
    /// A field refers to one of our volumes, our audience or our container.
    #[strum(serialize = "reference")]
    Reference,
    /// A container mounts a volume over or into our directories.
    #[strum(serialize = "mount_path")]
    MountPath,
    /// A container declares a port of the sidecar.
    #[strum(serialize = "port_collision")]
    PortCollision,
    /// A container runs as the sidecar's user.
    #[strum(serialize = "sidecar_uid")]
    SidecarUid,
    /// `shareProcessNamespace` would open the sidecar's memory and files.
    #[strum(serialize = "process_namespace")]
    ProcessNamespace,
    /// `hostNetwork`, `hostPID` or `hostIPC`.
    #[strum(serialize = "host_namespace")]
    HostNamespace,
    /// A hostPath volume that is not listed, is writable, or reaches a container runtime or the kubelet.
    #[strum(serialize = "host_path")]
    HostPath,
    /// A container takes a port of the node.
    #[strum(serialize = "host_port")]
    HostPort,
    /// A probe or lifecycle hook names a host.
    #[strum(serialize = "host_probe")]
    HostProbe,
    /// A privileged container.
    #[strum(serialize = "privileged")]
    Privileged,
    /// A capability outside the baseline and the platform's list.
    #[strum(serialize = "capability")]
    Capability,
    /// AppArmor is turned off.
    #[strum(serialize = "app_armor")]
    AppArmor,
    /// SELinux options outside the baseline.
    #[strum(serialize = "selinux")]
    SeLinux,
    /// Seccomp is turned off.
    #[strum(serialize = "seccomp")]
    Seccomp,
    /// An unmasked /proc.
    #[strum(serialize = "proc_mount")]
    ProcMount,
    /// A sysctl outside the baseline.
    #[strum(serialize = "sysctl")]
    Sysctl,
    /// `terminationGracePeriodSeconds` of the final pod is below 35, which can cut off a refresh.
    #[strum(serialize = "grace_period")]
    GracePeriod,
    /// A restart rule of a container has the action `RestartAllContainers`, which restarts the sidecar too.
    #[strum(serialize = "restart_rule")]
    RestartRule,
    /// A Windows pod: the sidecar runs on Linux.
    #[strum(serialize = "windows")]
    Windows,
    /// There are no seal keys yet: the release is still being installed.
    #[strum(serialize = "keys_missing")]
    KeysMissing,
    /// The pod has more fields than the webhook has memory for.
    #[strum(serialize = "pod_too_large")]
    PodTooLarge,
    /// The object does not have the shape of a pod.
    #[strum(serialize = "pod_invalid")]
    PodInvalid,
    /// The body is not an AdmissionReview of admission.k8s.io/v1.
    #[strum(serialize = "review_invalid")]
    ReviewInvalid,
    /// The body is too large, too slow or of another media type.
    #[strum(serialize = "body_refused")]
    BodyRefused,
    /// There was no memory for the request in time: other large requests took it.
    #[strum(serialize = "busy")]
    Busy,
}

impl Reason {
    /// Returns the outcome of this reason.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Injected | Self::Completed => Outcome::Injected,
            Self::Verified
            | Self::AlreadyInjected
            | Self::NotAsked
            | Self::NotCreate
            | Self::NotPod
            | Self::MirrorPod => Outcome::Unchanged,
            Self::AnnotationInvalid
            | Self::AnnotationUnknown
            | Self::AnnotationNotBuilt
            | Self::NoGrants
            | Self::ContainerMissing
            | Self::NameTaken
            | Self::SidecarStripped
            | Self::SealMissing
            | Self::SealInvalid
            | Self::SealWithdrawn
            | Self::SealTime
            | Self::CredentialAccount
            | Self::Environment
            | Self::Reference
            | Self::MountPath
            | Self::PortCollision
            | Self::SidecarUid
            | Self::ProcessNamespace
            | Self::HostNamespace
            | Self::HostPath
            | Self::HostPort
            | Self::HostProbe
            | Self::Privileged
            | Self::Capability
            | Self::AppArmor
            | Self::SeLinux
            | Self::Seccomp
            | Self::ProcMount
            | Self::Sysctl
            | Self::GracePeriod
            | Self::RestartRule
            | Self::Windows
            | Self::KeysMissing
            | Self::PodTooLarge
            | Self::PodInvalid => Outcome::Refused,
            Self::ReviewInvalid | Self::BodyRefused => Outcome::Invalid,
            Self::Busy => Outcome::Unavailable,
        }
    }
}

/// One thing in a pod that must change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The broken rule.
    pub reason: Reason,
    /// One sentence: the field's path, what is wrong, what to write instead.
    pub message: String,
}

impl Refusal {
    /// Creates a refusal; the message begins with the field's path.
    pub fn new(reason: Reason, path: &str, sentence: impl fmt::Display) -> Self {
        Self { reason, message: format!("{path}: {sentence}") }
    }
}

/// The refusals of one pod, up to [`Refusals::MOST`]. A large pod could have more than fit into memory.
#[derive(Debug, Default)]
pub struct Refusals(Vec<Refusal>);

impl Refusals {
    /// Number of refusals that are kept.
    pub const MOST: usize = 100;

    /// Adds a refusal, unless there are [`Refusals::MOST`].
    pub fn push(&mut self, refusal: Refusal) {
        if !self.is_full() {
            self.0.push(refusal);
        }
    }

    /// Returns whether there are [`Refusals::MOST`].
    pub fn is_full(&self) -> bool {
        self.0.len() >= Self::MOST
    }
}

impl From<Refusals> for Vec<Refusal> {
    fn from(refusals: Refusals) -> Self {
        refusals.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agent_creds_core::words::Word as _;

    use super::*;

    #[test]
    fn every_reason_has_its_own_label() {
        let labels: BTreeSet<_> = Reason::VARIANTS.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), Reason::VARIANTS.len());
        let plain = |label: &str| label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(labels.iter().all(|label| plain(label)), "{labels:?}");
    }

    #[test]
    fn meanings_fit_a_table() {
        for reason in Reason::VARIANTS {
            let meaning = reason.meaning();
            assert!(!meaning.is_empty() && meaning.len() < 110 && !meaning.contains('|'), "{meaning}");
        }
    }
}
