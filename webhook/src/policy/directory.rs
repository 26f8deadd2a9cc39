//! Paths that are compared component by component, so that `/var/logs` is not below `/var/log`.

/// Files and directories of a node that no pod with a sidecar may mount, and no platform can allow: through each of them a
/// pod reaches the memory, the volumes or the credentials of every other pod. The sockets are those of `crictl`, Docker, Podman,
/// k3s, k0s and MicroK8s.
const NEVER: [(&str, &str); 24] = [
    ("/etc/cni", CREDENTIALS),
    ("/etc/kubernetes", CREDENTIALS),
    ("/proc", "the processes of the node"),
    ("/run/containerd", RUNTIME),
    ("/run/cri-dockerd.sock", RUNTIME),
    ("/run/crio", RUNTIME),
    ("/run/docker", RUNTIME),
    ("/run/docker.sock", RUNTIME),
    ("/run/dockershim.sock", RUNTIME),
    ("/run/k0s", RUNTIME),
    ("/run/k3s", RUNTIME),
    ("/run/podman", RUNTIME),
    ("/run/systemd", "the service manager of the node"),
    ("/var/lib/containerd", RUNTIME),
    ("/var/lib/containers", RUNTIME),
    ("/var/lib/cri-dockerd", RUNTIME),
    ("/var/lib/crio", RUNTIME),
    ("/var/lib/docker", RUNTIME),
    ("/var/lib/etcd", "the cluster's database"),
    ("/var/lib/k0s", KUBELET),
    ("/var/lib/kubelet", KUBELET),
    ("/var/lib/rancher", KUBELET),
    ("/var/snap/docker", RUNTIME),
    ("/var/snap/microk8s", KUBELET),
];
const CREDENTIALS: &str = "the node's credentials";
const RUNTIME: &str = "the container runtime";
const KUBELET: &str = "the kubelet's state";

/// An absolute path without `.`, `..`, doubled or trailing slashes; `/var/run` is read as `/run`, which it is
/// a link to in nearly every system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(Vec<String>);

impl Directory {
    /// Reads a path; `None` where it is relative or contains `..`.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<_> =
            path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return None;
        }
        if parts.starts_with(&["var", "run"]) {
            parts.remove(0);
        }
        Some(Self(parts.into_iter().map(str::to_owned).collect()))
    }

    /// Reads an entry of the platform's list.
    ///
    /// # Errors
    /// A sentence with the value and the reason.
    pub(super) fn allowed(path: &str) -> Result<Self, String> {
        let parsed = Self::parse(path)
            .ok_or_else(|| format!("found {path:?}; write an absolute path without '..', as in /var/log"))?;
        match parsed.reaches() {
            None => Ok(parsed),
            Some(reached) => Err(format!("found {path:?}, through which a pod reaches {reached}; remove it")),
        }
    }

    /// Returns the protected path that a mount of this path reaches, with its meaning, for a message; `None` where
    /// there is none.
    pub fn reaches(&self) -> Option<String> {
        NEVER.into_iter().find_map(|(path, meaning)| {
            let never = Self::parse(path).unwrap_or_else(|| unreachable!("an absolute path"));
            let hit = self.is_within(&never) || never.is_within(self);
            hit.then(|| format!("{path} ({meaning}), and with it every pod of the node"))
        })
    }

    /// Whether this path is `other` or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(path: &str, other: &str) -> bool {
        Directory::parse(path).unwrap().is_within(&Directory::parse(other).unwrap())
    }

    #[test]
    fn paths_are_compared_by_component() {
        assert!(within("/var/log", "/var/log") && within("/var//log/./pods/", "/var/log/"));
        assert!(within("/var/run/datadog", "/run/datadog") && within("/run/datadog", "/var/run/datadog/"));
        assert!(!within("/var/logs", "/var/log") && !within("/var", "/var/log"));
        for bad in ["var/log", "", "/var/../etc", "/.."] {
            assert_eq!(Directory::parse(bad), None, "{bad}");
        }
        assert!(Directory::parse("/var/..data").is_some());
    }

    #[test]
    fn refuses_paths_that_reach_a_runtime_the_kubelet_or_the_node() {
        for (bad, reached) in [
            ("/", "/etc/cni"),
            ("//", "/etc/cni"),
            ("/etc", "/etc/cni"),
            ("/var", "/var/lib/containerd"),
            ("/var/lib", "/var/lib/containerd"),
            ("/var/lib/kubelet", "/var/lib/kubelet (the kubelet's state)"),
            ("/var/lib/kubelet/", "/var/lib/kubelet"),
            ("/var/lib/kubelet/pods", "/var/lib/kubelet"),
            ("/var/lib/docker/containers", "/var/lib/docker"),
            ("/proc/1/root", "/proc"),
            ("/run", "/run/containerd"),
            ("/run/.", "/run/containerd"),
            ("/var/run", "/run/containerd"),
            ("/var/run/", "/run/containerd"),
            ("/run/docker.sock", "/run/docker.sock (the container runtime)"),
            ("/var/run/docker.sock", "/run/docker.sock"),
            ("/var//run/./docker.sock/", "/run/docker.sock"),
            ("/run/containerd", "/run/containerd"),
            ("/run/containerd/containerd.sock", "/run/containerd"),
            ("/var/run/crio/crio.sock", "/run/crio"),
            ("/run/k3s", "/run/k3s"),
            ("/run/k3s/containerd/containerd.sock", "/run/k3s"),
            ("/run/k0s/containerd.sock", "/run/k0s"),
            ("/run/cri-dockerd.sock", "/run/cri-dockerd.sock"),
            ("/run/podman/podman.sock", "/run/podman"),
            ("/var/snap", "/var/snap/docker"),
            ("/var/snap/microk8s", "/var/snap/microk8s"),
            ("/var/snap/microk8s/common/run/containerd.sock", "/var/snap/microk8s"),
        ] {
            let refused = Directory::allowed(bad).expect_err(bad);
            let start = format!("found {bad:?}, through which a pod reaches {reached}");
            assert!(refused.starts_with(&start) && refused.contains("every pod of the node"), "{refused}");
        }
        for climbing in ["/var/log/../run/docker.sock", "/run/..", "run/docker.sock", "../run", ""] {
            let refused = Directory::allowed(climbing).expect_err(climbing);
            assert!(refused.contains("without '..'"), "{refused}");
        }
    }

    #[test]
    fn allows_directories_beside_them() {
        for good in ["/var/log", "/var/run/datadog", "/opt/data", "/run/docker.sockets", "/var/lib/kubelets"]
        {
            assert!(Directory::allowed(good).is_ok(), "{good}");
        }
    }
}
