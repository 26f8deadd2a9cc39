//! The only release in the cluster, and the cleanup after a test.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_creds_tests::cluster::{SYSTEM, helm, kubectl, pipe, root};
use serde_json::json;

/// Name and namespace of a helm release.
#[derive(Clone, Copy)]
pub(crate) struct Release(pub(crate) &'static str, pub(crate) &'static str);

pub(crate) const FIRST: Release = Release("agent-creds", SYSTEM);
pub(crate) const SECOND: Release = Release("second", "elsewhere");

impl Release {
    /// Runs `helm VERB` on the chart, with these grants for the agent `ops/devops-agent`.
    pub(crate) fn helm(self, verb: &str, grants: &[&str], more: &[&str]) -> Result<String, String> {
        let mut values = json!({});
        if !grants.is_empty() {
            values["grants"] =
                json!([{"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": grants}]);
        }
        let chart = root().join("charts/agent-creds");
        let arguments =
            [verb, self.0, chart.to_str().expect("UTF-8"), "--namespace", self.1, "--values", "-"];
        helm(&[&arguments, more].concat(), &values.to_string())
    }

    pub(crate) fn rollback(self, revision: &str, more: &[&str]) {
        let arguments = ["rollback", self.0, revision, "--namespace", self.1];
        helm(&[&arguments, more].concat(), "")
            .unwrap_or_else(|error| panic!("rollback to {revision}: {error}"));
    }

    pub(crate) fn uninstall(self) {
        helm(&["uninstall", self.0, "--namespace", self.1, "--ignore-not-found"], "")
            .expect("helm uninstall");
    }
}

/// Exclusive access to the cluster, which can have only one webhook configuration.
pub(crate) struct Cluster {
    _alone: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Waits for exclusive access, and creates the namespaces.
    pub(crate) fn alone() -> Self {
        static CLUSTER: Mutex<()> = Mutex::new(());
        let alone = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
        for name in [SYSTEM, "ops", "elsewhere"] {
            let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
            pipe(&namespace.to_string(), &["apply"]).expect("making a namespace");
            // A namespace admits no pods before this account exists.
            kubectl(&[
                "wait",
                "--for=create",
                "serviceaccount/default",
                "--timeout=30s",
                "--namespace",
                name,
            ])
            .expect("its default ServiceAccount");
        }
        Self { _alone: alone }
    }
}

impl Drop for Cluster {
    /// Best effort: a panic here would hide the test's own panic.
    fn drop(&mut self) {
        for Release(name, namespace) in [FIRST, SECOND] {
            let _ = helm(&["uninstall", name, "--namespace", namespace, "--ignore-not-found"], "");
        }
        let kinds = "deployments,services,serviceaccounts,configmaps,poddisruptionbudgets,secrets,leases,roles,rolebindings";
        let wide = "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations,\
                    validatingadmissionpolicies,validatingadmissionpolicybindings";
        let ours = ["--selector", "app.kubernetes.io/name=agent-creds"];
        let _ = kubectl(&[&["delete", kinds, "--namespace", SYSTEM], &ours[..]].concat());
        let _ = kubectl(&[&["delete", wide], &ours[..]].concat());
        let _ = kubectl(&["delete", "deployments,secrets,roles,rolebindings", "--all", "--namespace", "ops"]);
    }
}
