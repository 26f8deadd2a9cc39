//! The Pod Security Standards, level baseline, over all containers.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline>
//! A namespace may enforce less; pods with the sidecar have to meet this level in every namespace.

use serde_json::Value;

use crate::outcome::{Reason, Refusal, Refusals};
use crate::pod::presence;
use crate::pod::view::{self, Container, quoted};
use crate::policy::Policy;
use crate::policy::directory::Directory;

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Rules about fields of the pod itself.
pub(super) fn pod(pod: &Value, policy: &Policy, refusals: &mut Refusals) {
    let spec = &pod["spec"];
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[key] == true {
            let sentence = "the pod would share a namespace of the node; remove it";
            refusals.push(Refusal::new(Reason::HostNamespace, &format!("spec.{key}"), sentence));
        }
    }
    security_context("spec.securityContext", &spec["securityContext"], refusals);
    for (i, sysctl) in view::items(&spec["securityContext"], "sysctls").iter().enumerate() {
        let name = view::text(sysctl, "name").unwrap_or_default();
        if !SYSCTLS.contains(&name) {
            let path = format!("spec.securityContext.sysctls[{i}]");
            let sentence = format_args!("{} is outside the Pod Security baseline; remove it", quoted(name));
            refusals.push(Refusal::new(Reason::Sysctl, &path, sentence));
        }
    }
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    for (key, value) in annotations.filter(|(key, _)| key.starts_with(APP_ARMOR_ANNOTATION)) {
        let profile = value.as_str().unwrap_or_default();
        if !matches!(profile, "" | "runtime/default") && !profile.starts_with("localhost/") {
            let path = format!("metadata.annotations[{}]", quoted(key));
            refusals.push(Refusal::new(Reason::AppArmor, &path, "write runtime/default or remove it"));
        }
    }
    for (path, volume) in presence::volumes(pod) {
        host_path(pod, &path, volume, policy, refusals);
    }
}

/// Rules about one container.
pub(super) fn container(container: Container<'_>, policy: &Policy, refusals: &mut Refusals) {
    let path = format!("{}.securityContext", container.path());
    let context = &container.value["securityContext"];
    let mut refuse = |reason, key: &str, sentence: String| {
        refusals.push(Refusal::new(reason, &format!("{path}.{key}"), sentence));
    };
    if context["privileged"] == true {
        refuse(
            Reason::Privileged,
            "privileged",
            "a privileged container has full access to the node; remove it".to_owned(),
        );
    }
    for (i, added) in view::items(&context["capabilities"], "add").iter().enumerate() {
        let name = added.as_str().unwrap_or_default();
        if !CAPABILITIES.contains(&name) && !policy.allow_capabilities.contains(&name) {
            let allowable = matches!(name, "NET_RAW" | "NET_ADMIN");
            let hint = if allowable { ", or ask the platform team for allowCapabilities" } else { "" };
            let sentence = format!("{} is outside the Pod Security baseline; remove it{hint}", quoted(name));
            refuse(Reason::Capability, &format!("capabilities.add[{i}]"), sentence);
        }
    }
    if view::field(context, "procMount").is_some_and(|mount| mount != "Default") {
        refuse(Reason::ProcMount, "procMount", "write Default or remove it".to_owned());
    }
    security_context(&path, context, refusals);
    ports(container, refusals);
    handlers(container, refusals);
}

/// Rules about the security context of a pod or a container.
fn security_context(path: &str, context: &Value, refusals: &mut Refusals) {
    let mut refuse = |reason, key: &str, sentence: &str| {
        refusals.push(Refusal::new(reason, &format!("{path}.{key}"), sentence));
    };
    for (key, reason) in [("appArmorProfile", Reason::AppArmor), ("seccompProfile", Reason::Seccomp)] {
        let unconfined =
            |profile: &Value| !matches!(view::text(profile, "type"), Some("RuntimeDefault" | "Localhost"));
        if view::field(context, key).is_some_and(unconfined) {
            refuse(reason, &format!("{key}.type"), "write RuntimeDefault or Localhost");
        }
    }
    let selinux = &context["seLinuxOptions"];
    if !SELINUX_TYPES.contains(&view::text(selinux, "type").unwrap_or_default()) {
        refuse(Reason::SeLinux, "seLinuxOptions.type", "write container_t or remove it");
    }
    for key in ["user", "role"] {
        if !view::text(selinux, key).unwrap_or_default().is_empty() {
            refuse(Reason::SeLinux, &format!("seLinuxOptions.{key}"), "remove it");
        }
    }
    if context["windowsOptions"]["hostProcess"] == true {
        refuse(
            Reason::Windows,
            "windowsOptions.hostProcess",
            "the sidecar runs on Linux nodes only; remove it",
        );
    }
}

fn ports(container: Container<'_>, refusals: &mut Refusals) {
    for (i, port) in view::items(container.value, "ports").iter().enumerate() {
        if port["hostPort"].as_i64().is_some_and(|port| port != 0) {
            let path = format!("{}.ports[{i}].hostPort", container.path());
            refusals.push(Refusal::new(Reason::HostPort, &path, "remove it, and use a Service"));
        }
    }
}

/// The kubelet sends these requests from the node's network, to any host that is named here.
fn handlers(container: Container<'_>, refusals: &mut Refusals) {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|key| (key, &container.value[key]));
    let hooks = [("lifecycle.postStart", "postStart"), ("lifecycle.preStop", "preStop")]
        .map(|(path, key)| (path, &container.value["lifecycle"][key]));
    for (key, handler) in probes.into_iter().chain(hooks) {
        for action in ["httpGet", "tcpSocket"] {
            if !view::text(&handler[action], "host").unwrap_or_default().is_empty() {
                let path = format!("{}.{key}.{action}.host", container.path());
                refusals.push(Refusal::new(
                    Reason::HostProbe,
                    &path,
                    "remove it; the default is the pod itself",
                ));
            }
        }
    }
}

/// Checks a hostPath volume. A listed directory may only be mounted read-only, because a container that can write to it
/// could place a symbolic link to any file of the node.
fn host_path(pod: &Value, path: &str, volume: &Value, policy: &Policy, refusals: &mut Refusals) {
    let Some(source) = view::field(volume, "hostPath") else { return };
    let found = view::text(source, "path").unwrap_or_default();
    let directory = Directory::parse(found);
    if let Some(reached) = directory.as_ref().and_then(Directory::reaches) {
        let sentence = format_args!(
            "through {} a container reaches {reached}; use another kind of volume",
            quoted(found)
        );
        refusals.push(Refusal::new(Reason::HostPath, &format!("{path}.hostPath"), sentence));
        return;
    }
    let listed =
        directory.is_some_and(|found| policy.allow_host_paths.iter().any(|allowed| found.is_within(allowed)));
    if !listed {
        let sentence = format_args!(
            "{} is a directory of the node; use another kind of volume, or ask the platform team for allowHostPaths",
            quoted(found)
        );
        refusals.push(Refusal::new(Reason::HostPath, &format!("{path}.hostPath"), sentence));
        return;
    }
    for container in view::containers(pod) {
        for (i, mount) in view::items(container.value, "volumeMounts").iter().enumerate() {
            if mount["name"] == volume["name"] && mount["readOnly"] != true {
                let path = format!("{}.volumeMounts[{i}].readOnly", container.path());
                let sentence = format_args!("{} is a directory of the node; write true", quoted(found));
                refusals.push(Refusal::new(Reason::HostPath, &path, sentence));
            }
        }
    }
}
