//! Rules for pods with the sidecar: no container may reach the sidecar's memory, files or ports, or the node. Each
//! refusal is one sentence that says what to change. The sidecar itself is not checked here, because it equals its
//! fragment or the pod was refused before.

mod baseline;

use agent_creds_core::annotations::{METRICS_PORT, PORT};
use agent_creds_core::names::ObjectName;
use agent_creds_core::pod::{AUDIENCE, CONTAINER, ENVIRONMENT, IDENTITY_DIR, SHARED_DIR, SPOOL_DIR, VOLUMES};
use serde_json::Value;

use super::fragment::Fragment;
use super::presence;
use super::view::{self, Container, quoted};
use crate::outcome::{Reason, Refusal, Refusals};
use crate::policy::Policy;
use crate::policy::directory::Directory;
use crate::policy::tolerate::Tolerated;

/// Returns everything that must change in a pod of `namespace`. `present` says that the pod contains the fragment
/// unchanged.
pub fn forbidden(
    pod: &Value,
    namespace: &str,
    fragment: &Fragment,
    present: bool,
    policy: &Policy,
) -> Vec<Refusal> {
    let mut refusals = Refusals::default();
    baseline::pod(pod, policy, &mut refusals);
    pod_level(pod, fragment, &mut refusals);
    account(pod, namespace, fragment, &mut refusals);
    for container in view::containers(pod).filter(|container| !(present && is_sidecar(*container))) {
        baseline::container(container, policy, &mut refusals);
        let own = Own { fragment, present, tolerated: &policy.tolerated };
        environment(container, own, &mut refusals);
        mount_paths(container, own, &mut refusals);
        ports(container, fragment, &mut refusals);
        restart_rules(container, &mut refusals);
        user(&format!("{}.securityContext", container.path()), container.value, fragment, &mut refusals);
    }
    let own = Own { fragment, present, tolerated: &policy.tolerated };
    Walk { pod, own, path: Vec::new(), refusals: &mut refusals }.run();
    refusals.into()
}

/// The injected part of a pod.
#[derive(Clone, Copy)]
struct Own<'a> {
    fragment: &'a Fragment,
    present: bool,
    tolerated: &'a [Tolerated],
}

impl Own<'_> {
    /// Whether the container of this name is an agent container with its share.
    fn has_agent(self, container: &str) -> bool {
        self.present && self.fragment.is_agent(container)
    }

    fn is_mount(self, mount: &Value) -> bool {
        presence::is_same(&self.fragment.share.mount, mount, "mount", self.tolerated)
    }

    fn is_variable(self, variable: &Value) -> bool {
        let mut ours = self.fragment.share.env.iter();
        ours.any(|ours| presence::is_same(ours, variable, "env", self.tolerated))
    }
}

fn is_sidecar(container: Container<'_>) -> bool {
    container.list == "initContainers" && container.name() == CONTAINER
}

fn pod_level(pod: &Value, fragment: &Fragment, refusals: &mut Refusals) {
    let spec = &pod["spec"];
    if spec["shareProcessNamespace"] == true {
        let sentence = "every container could read the sidecar's memory through /proc; remove it";
        refusals.push(Refusal::new(Reason::ProcessNamespace, "spec.shareProcessNamespace", sentence));
    }
    user("spec.securityContext", spec, fragment, refusals);
    for selector in ["kubernetes.io/os", "beta.kubernetes.io/os"] {
        if spec["nodeSelector"][selector] == "windows" {
            let path = format!("spec.nodeSelector[{selector}]");
            refusals.push(Refusal::new(
                Reason::Windows,
                &path,
                "the sidecar runs on Linux nodes only; select linux",
            ));
        }
    }
    if spec["os"]["name"] == "windows" {
        let sentence = "the sidecar runs on Linux nodes only; write linux";
        refusals.push(Refusal::new(Reason::Windows, "spec.os.name", sentence));
    }
}

/// Processes of one user may signal and trace each other.
fn user(path: &str, owner: &Value, fragment: &Fragment, refusals: &mut Refusals) {
    if owner["securityContext"]["runAsUser"].as_i64() == Some(fragment.uid.into()) {
        let sentence = format_args!("{} is the sidecar's user; choose another one", fragment.uid);
        refusals.push(Refusal::new(Reason::SidecarUid, &format!("{path}.runAsUser"), sentence));
    }
}

/// Refuses a pod that runs as the credential account, because all of its containers would have the account's rights.
fn account(pod: &Value, namespace: &str, fragment: &Fragment, refusals: &mut Refusals) {
    let account = view::service_account(pod);
    let is_own = |credential: &ObjectName| credential.namespace == namespace && credential.name == account;
    if fragment.credential.as_ref().is_some_and(is_own) {
        let sentence = format_args!(
            "{account} is the credential account, which may read the grant Secrets; run the agent as an account of its own and \
             give that one the right to assume {account}"
        );
        refusals.push(Refusal::new(Reason::CredentialAccount, "spec.serviceAccountName", sentence));
    }
}

fn environment(container: Container<'_>, own: Own<'_>, refusals: &mut Refusals) {
    let ours = own.has_agent(container.name());
    for (i, variable) in view::items(container.value, "env").iter().enumerate() {
        let Some(name) = view::text(variable, "name").filter(|name| ENVIRONMENT.contains(name)) else {
            continue;
        };
        if !(ours && own.is_variable(variable)) {
            let sentence = format_args!("the webhook sets {name}; remove it here");
            let path = format!("{}.env[{i}]", container.path());
            refusals.push(Refusal::new(Reason::Environment, &path, sentence));
        }
    }
}

/// A mount over our directories would hide the real ones from the agent's own processes.
fn mount_paths(container: Container<'_>, own: Own<'_>, refusals: &mut Refusals) {
    let ours = own.has_agent(container.name());
    let dirs = [SHARED_DIR, SPOOL_DIR, IDENTITY_DIR].map(Directory::parse);
    for (list, key) in [("volumeMounts", "mountPath"), ("volumeDevices", "devicePath")] {
        for (i, mount) in view::items(container.value, list).iter().enumerate() {
            let Some(text) = view::text(mount, key) else { continue };
            // A path that is not canonical may lead there.
            let path = Directory::parse(text);
            let hit = path.as_ref().is_none_or(|path| dirs.iter().flatten().any(|dir| path.is_within(dir)));
            if hit && !(ours && own.is_mount(mount)) {
                let at = format!("{}.{list}[{i}].{key}", container.path());
                let found = quoted(text);
                let sentence = match path {
                    Some(_) => {
                        format!("{found} is a directory of the sidecar; choose a path outside {SHARED_DIR}*")
                    }
                    None => format!(
                        "{found} may lead to a directory of the sidecar; write an absolute path without '..'"
                    ),
                };
                refusals.push(Refusal::new(Reason::MountPath, &at, sentence));
            }
        }
    }
}

fn ports(container: Container<'_>, fragment: &Fragment, refusals: &mut Refusals) {
    for (i, port) in view::items(container.value, "ports").iter().enumerate() {
        let number = port["containerPort"].as_i64();
        let used = fragment.ports.iter().position(|ours| number == Some((*ours).into()));
        let tcp = view::text(port, "protocol").is_none_or(|protocol| protocol == "TCP");
        if let (Some(used), true) = (used, tcp) {
            let annotation = [PORT, METRICS_PORT][used];
            let path = format!("{}.ports[{i}].containerPort", container.path());
            let number = fragment.ports[used];
            let sentence =
                format_args!("the sidecar listens on {number}; set annotation {annotation} to a free port");
            refusals.push(Refusal::new(Reason::PortCollision, &path, sentence));
        }
    }
}

/// A restart of all containers would end the sidecar without the time that a refresh needs.
fn restart_rules(container: Container<'_>, refusals: &mut Refusals) {
    for (i, rule) in view::items(container.value, "restartPolicyRules").iter().enumerate() {
        if rule["action"] == "RestartAllContainers" {
            let path = format!("{}.restartPolicyRules[{i}].action", container.path());
            let sentence = "RestartAllContainers also restarts the sidecar, possibly during a refresh; write Restart, which \
                            restarts only the container itself";
            refusals.push(Refusal::new(Reason::RestartRule, &path, sentence));
        }
    }
}

/// Finds references to the sidecar's volumes, audience and container by walking the whole document. A list of known
/// fields would be incomplete: the kubelet also reads files of volumes that a container does not mount
/// (`env.valueFrom.fileKeyRef`), and newer versions of Kubernetes add fields.
struct Walk<'a> {
    pod: &'a Value,
    own: Own<'a>,
    path: Vec<Step<'a>>,
    refusals: &'a mut Refusals,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Walk<'a> {
    /// Walks everything but `metadata`, whose names refer to nothing in the pod, and `status`, in which the kubelet
    /// reports mounts.
    fn run(mut self) {
        let pod = self.pod;
        let refers = |key: &str| !["metadata", "status"].contains(&key);
        for (key, value) in pod.as_object().into_iter().flatten().filter(|(key, _)| refers(key)) {
            self.at(Step::Key(key), value, "");
        }
    }

    /// Visits `value`, one step further; `key` is the nearest key above it.
    fn at(&mut self, step: Step<'a>, value: &'a Value, key: &str) {
        self.path.push(step);
        if !self.is_own(value) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, value)| self.at(Step::Key(key), value, key)),
                // Items inherit the key of their list: `audiences: [agent-creds]`.
                Value::Array(list) => {
                    list.iter().enumerate().for_each(|(i, item)| self.at(Step::Index(i), item, key));
                }
                Value::String(text) if !self.refusals.is_full() => self.text(text, key),
                _ => {}
            }
        }
        self.path.pop();
    }

    fn text(&mut self, text: &str, key: &str) {
        let sentence = if VOLUMES.contains(&text) || self.own.fragment.has_volume(text) {
            format!("volume {text} is the sidecar's alone; remove the reference")
        } else if text == AUDIENCE && key.to_lowercase().contains("audience") {
            format!(
                "tokens of audience {AUDIENCE} are the sidecar's alone; remove it or choose another audience"
            )
        } else if text == CONTAINER && key == "targetContainerName" {
            format!("nothing may share the processes of {CONTAINER}; target another container")
        } else {
            return;
        };
        self.refusals.push(Refusal::new(Reason::Reference, &self.shown(), sentence));
    }

    /// Whether the value at the current path belongs to the fragment, which `presence` compared before.
    fn is_own(&self, value: &Value) -> bool {
        let [Step::Key("spec"), Step::Key(list), Step::Index(index), rest @ ..] = self.path.as_slice() else {
            return false;
        };
        self.own.present
            && match (*list, rest) {
                ("volumes", []) => {
                    view::text(value, "name").is_some_and(|name| self.own.fragment.has_volume(name))
                }
                ("initContainers", []) => value["name"] == CONTAINER,
                ("initContainers" | "containers", [Step::Key("volumeMounts"), Step::Index(_)]) => {
                    let name = view::text(&self.pod["spec"][list][index], "name");
                    name.is_some_and(|name| self.own.has_agent(name)) && self.own.is_mount(value)
                }
                _ => false,
            }
    }

    /// Returns the current path in the form of messages.
    fn shown(&self) -> String {
        let step = |(i, step): (usize, &Step<'_>)| {
            let dot = if i == 0 { "" } else { "." };
            match step {
                Step::Index(index) => format!("[{index}]"),
                Step::Key(key) if key.chars().all(|c| c.is_ascii_alphanumeric()) => format!("{dot}{key}"),
                // Other keys come from the pod's author.
                Step::Key(key) => format!("{dot}{}", quoted(key)),
            }
        };
        self.path.iter().enumerate().map(step).collect()
    }
}

#[cfg(test)]
mod tests;
