//! `seal.tolerate`: fields that a newer Kubernetes may add to the injected parts. A pod with an added field that is not
//! listed is refused, and the refusal prints the entry that would allow it.

use serde_json::Value;

/// Longest value that a refusal prints, in bytes. Defaults of an API server are shorter.
const LONGEST: usize = 200;

/// Fields that Kubernetes has had before this version and that the webhook does not write. No newer version adds one of
/// them by itself, and each would change what the sidecar does.
const OLD: [&str; 28] = [
    "add",
    "appArmorProfile",
    "claims",
    "downwardAPI",
    "env",
    "envFrom",
    "configMap",
    "grpc",
    "hostIP",
    "hostPath",
    "hostPort",
    "httpGet",
    "mountPropagation",
    "postStart",
    "readinessProbe",
    "seLinuxOptions",
    "secret",
    "stdin",
    "stdinOnce",
    "subPath",
    "subPathExpr",
    "tcpSocket",
    "tty",
    "valueFrom",
    "volumeDevices",
    "windowsOptions",
    "workingDir",
    "clusterTrustBundle",
];

/// A field and the one value that it may have: `container.someField="value"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tolerated {
    path: String,
    value: Value,
}

impl Tolerated {
    /// Reads `PATH=JSON`.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "found {line:?}; write PATH=JSON as the refusal prints it, for instance container.newField=\"x\""
            )
        };
        let (path, value) = line.split_once('=').ok_or_else(wrong)?;
        let part = path.split(['.', '[']).next().unwrap_or_default();
        if !["container", "volumes", "mount", "env"].contains(&part) || !path.contains('.') {
            return Err(wrong());
        }
        if is_old(path) {
            return Err(format!("found {path:?}, which no version of Kubernetes adds by itself; remove it"));
        }
        let value = serde_json::from_str(value).map_err(|_| wrong())?;
        Ok(Self { path: path.to_owned(), value })
    }

    /// Whether this is the field and the value.
    pub(crate) fn covers(&self, path: &str, value: &Value) -> bool {
        self.path == path && self.value == *value
    }

    /// Returns the entry for a field; `None` where the field cannot be tolerated.
    pub(crate) fn line(path: &str, value: &Value) -> Option<String> {
        let value = value.to_string();
        (!is_old(path) && value.len() <= LONGEST).then(|| format!("{path}={value}"))
    }
}

fn is_old(path: &str) -> bool {
    path.rsplit('.').next().is_some_and(|field| OLD.contains(&field))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_that_is_printed_is_the_one_that_is_read() {
        for value in [json!("a=b"), json!(7), json!([{"resourceName": "cpu"}]), json!(true)] {
            let line = Tolerated::line("container.probe.newField", &value).unwrap();
            let read = Tolerated::parse(&line).unwrap();
            assert!(read.covers("container.probe.newField", &value));
            assert!(!read.covers("container.newField", &value));
            assert!(!read.covers("container.probe.newField", &json!("other")));
        }
    }

    #[test]
    fn what_is_no_field_of_ours_cannot_be_tolerated() {
        for bad in [
            "",
            "container",
            "container=1",
            "spec.hostNetwork=true",
            "container.x",
            "container.x=y",
            "containers.x=1",
        ] {
            let refused = Tolerated::parse(bad).expect_err(bad);
            assert!(refused.contains("PATH=JSON"), "{refused}");
        }
        assert_eq!(Tolerated::line("container.env", &json!([{"name": "HTTPS_PROXY"}])), None);
        for old in ["container.env=[]", "container.readinessProbe={}", "container.ports[].hostPort=1"] {
            assert!(Tolerated::parse(old).expect_err(old).contains("by itself"));
        }
    }
}
