//! Accounts near the agent with their rights in the cluster, and the pods that they create.

use agent_creds_tests::cluster::{kubectl, pipe};
use serde_json::{Value, json};

use crate::hostile::agent::{NAMESPACE, agent_pod};
use crate::hostile::apart::APART;
use crate::hostile::attempt::Met;

/// An account that sends requests to the API server.
pub(crate) struct Person {
    namespace: &'static str,
    /// kubectl's token argument; `None` for the administrator.
    token: Option<String>,
}

impl Person {
    /// An account of a namespace, with a token of it.
    pub(crate) fn named(namespace: &'static str, account: &str) -> Self {
        let token = kubectl(&["create", "token", account, "--namespace", namespace]).expect("a token");
        Self { namespace, token: Some(format!("--token={}", token.trim())) }
    }

    /// An account with the role `edit` in the namespace of the agent and its grants.
    pub(crate) fn editor() -> Self {
        Self::named(NAMESPACE, "editor")
    }

    /// An account with the role `edit` in the namespace of an agent with grants in another namespace.
    pub(crate) fn editor_apart() -> Self {
        Self::named(APART, "editor")
    }

    /// The administrator.
    pub(crate) fn administrator(namespace: &'static str) -> Self {
        Self { namespace, token: None }
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let whose = self.token.as_deref().into_iter().chain(["--namespace", self.namespace]);
        whose.chain(arguments.iter().copied()).collect()
    }

    /// Runs kubectl.
    pub(crate) fn run(&self, arguments: &[&str]) -> Met {
        kubectl(&self.arguments(arguments))
    }

    /// Runs kubectl with an object on its standard input.
    pub(crate) fn pipe(&self, object: &Value, arguments: &[&str]) -> Met {
        pipe(&object.to_string(), &self.arguments(arguments))
    }

    /// Sends the object as a dry run through all of admission, and returns the resulting object.
    pub(crate) fn would_create(&self, object: &Value) -> Met {
        self.pipe(object, &["create", "--dry-run=server", "--output=json"])
    }
}

/// Returns a pod of the agent as a manifest that creates it again, with everything that was injected. Admission makes it now,
/// because a seal counts for ten minutes.
pub(crate) fn copied() -> Value {
    let made = Person::administrator(NAMESPACE).would_create(&agent_pod("copied", NAMESPACE));
    let mut pod: Value = serde_json::from_str(&made.expect("an injected pod")).expect("JSON");
    let metadata = &mut pod["metadata"];
    let (annotations, labels) = (metadata["annotations"].clone(), metadata["labels"].clone());
    *metadata =
        json!({"name": "copied", "namespace": NAMESPACE, "annotations": annotations, "labels": labels});
    let object = pod.as_object_mut().expect("an object");
    object.remove("status");
    object["spec"].as_object_mut().expect("an object").remove("nodeName");
    pod
}

/// Returns the sidecar in a manifest.
pub(crate) fn sidecar(pod: &mut Value) -> &mut Value {
    let mut containers = pod["spec"]["initContainers"].as_array_mut().expect("init containers").iter_mut();
    containers.find(|container| container["name"] == "agent-creds").expect("the sidecar")
}
