//! Every outcome of an admission request and every reason for it: the label values of
//! `agent_creds_admission_total`, the words in the log, and the table that users read. Both sets are closed.

use std::fmt;

use crate::reasons::reasons;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Allowed, with a patch.
    Injected,
    /// Allowed as it is.
    Unchanged,
    /// Denied: the pod must change.
    Refused,
    /// Not a request that an API server sends.
    Invalid,
}

impl Outcome {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
        }
    }
}

reasons! {
    Injected {
        Injected = "new_pod": "the sidecar was added",
        Completed = "completed": "a later call: what other webhooks' changes left missing was added",
    }
    Unchanged {
        Verified = "verified": "the final pod is what was sealed, and nothing in it is forbidden",
        AlreadyInjected = "already_injected": "a later call, and nothing is missing",
        NotAsked = "not_asked": "annotation agent-creds/inject is absent or \"false\"",
        NotCreate = "not_create": "only the creation of a pod is changed",
        NotPod = "not_a_pod": "the request is about something other than a pod",
        MirrorPod = "mirror_pod": "the API's copy of a static pod: it cannot be changed, and gets no credential",
    }
    Refused {
        AnnotationInvalid = "annotation_invalid": "an annotation has a value that it cannot have",
        AnnotationUnknown = "annotation_unknown": "there is no such agent-creds annotation",
        AnnotationNotBuilt = "annotation_not_built": "the annotation is not built in this version",
        NoGrants = "no_grants": "the pod names no grant, and the cluster has no defaultGrants",
        ContainerMissing = "container_missing": "agent-creds/containers names a container that the pod lacks",
        NameTaken = "name_taken": "something has one of our names and is not what we inject",
        SidecarStripped = "sidecar_stripped": "another webhook removed fields from the injected sidecar",
        SealMissing = "seal_missing": "what the webhook injects is there without its seal, as in a preview or an imitation",
        SealInvalid = "seal_invalid": "the seal is none, or was made for another pod",
        SealWithdrawn = "seal_withdrawn": "the seal was made with a key that was taken out",
        CredentialAccount = "credential_account": "the pod runs as the credential account itself",
        Environment = "environment": "a container sets a variable that only we set",
        Reference = "reference": "something refers to one of our volumes, our audience or our container",
        MountPath = "mount_path": "a container mounts something over or into our directories",
        PortCollision = "port_collision": "a container declares a port of the sidecar",
        SidecarUid = "sidecar_uid": "a container runs as the sidecar's user",
        ProcessNamespace = "process_namespace": "shareProcessNamespace would open the sidecar's memory and files",
        HostNamespace = "host_namespace": "hostNetwork, hostPID or hostIPC",
        HostPath = "host_path": "a hostPath volume outside the platform's list, or writable",
        HostPort = "host_port": "a container takes a port of the node",
        HostProbe = "host_probe": "a probe or lifecycle hook names a host",
        Privileged = "privileged": "a privileged container",
        Capability = "capability": "a capability outside the baseline and the platform's list",
        AppArmor = "app_armor": "AppArmor is turned off",
        SeLinux = "selinux": "SELinux options outside the baseline",
        Seccomp = "seccomp": "seccomp is turned off",
        ProcMount = "proc_mount": "an unmasked /proc",
        Sysctl = "sysctl": "a sysctl outside the baseline",
        Windows = "windows": "a Windows pod: the sidecar runs on Linux",
        KeysMissing = "keys_missing": "there are no seal keys yet: the release is still being installed",
        PodInvalid = "pod_invalid": "the object does not have the shape of a pod",
    }
    Invalid {
        ReviewInvalid = "review_invalid": "the body is not an AdmissionReview of admission.k8s.io/v1",
        BodyRefused = "body_refused": "the body is too large, too slow or of another media type",
    }
}

/// One thing in a pod that must change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which rule it breaks.
    pub reason: Reason,
    /// One sentence: the field's path, what is wrong, what to write instead.
    pub message: String,
}

impl Refusal {
    /// A refusal with the field's path in front.
    pub fn new(reason: Reason, path: &str, sentence: impl fmt::Display) -> Self {
        Self { reason, message: format!("{path}: {sentence}") }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_label() {
        let labels: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        let plain = |label: &str| label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(labels.iter().all(|label| plain(label)), "{labels:?}");
    }

    #[test]
    fn meanings_fit_a_table() {
        for reason in Reason::ALL {
            let meaning = reason.meaning();
            assert!(meaning.len() < 100 && !meaning.contains('|') && !meaning.ends_with('.'), "{meaning}");
        }
    }
}
