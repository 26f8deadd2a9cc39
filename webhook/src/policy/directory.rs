//! Paths that are compared component by component, so that `/var/logs` is not below `/var/log`.

/// Directories through which a pod reaches the volumes, the memory or the runtime of every other pod. No
/// platform can allow them, nor a directory that contains one of them.
const NEVER: [&str; 7] = [
    "/etc/kubernetes",
    "/proc",
    "/run/containerd",
    "/run/crio",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/kubelet",
];

/// An absolute path without `.`, `..`, doubled or trailing slashes; `/var/run` is read as `/run`, which it is
/// a link to in nearly every system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory(Vec<String>);

impl Directory {
    /// Reads a path; `None` where it is relative or climbs.
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
    pub(super) fn allowed(path: &str) -> Result<Self, String> {
        let parsed = Self::parse(path)
            .ok_or_else(|| format!("found {path:?}; write an absolute path without '..', as in /var/log"))?;
        for never in NEVER {
            let other = Self::parse(never).unwrap_or_else(|| unreachable!("an absolute path"));
            if parsed.is_within(&other) || other.is_within(&parsed) {
                return Err(format!(
                    "{path:?} would open {never}, and with it every pod of the node; remove it"
                ));
            }
        }
        Ok(parsed)
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
    fn no_list_opens_the_node() {
        for bad in
            ["/", "//", "/var", "/var/lib", "/var/lib/kubelet", "/var/lib/kubelet/pods", "/proc/1", "/run"]
        {
            let refused = Directory::allowed(bad).expect_err(bad);
            assert!(refused.contains("every pod of the node"), "{refused}");
        }
        assert!(Directory::allowed("/var/run").is_err());
        for good in ["/var/log", "/var/run/datadog", "/opt/data"] {
            assert!(Directory::allowed(good).is_ok(), "{good}");
        }
    }
}
