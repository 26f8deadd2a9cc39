use serde_json::json;

use super::*;
use crate::pod::decide::{Decision, decide};
use crate::pod::sample::{NOW, injected, keys, pod, policy, refused, with};

#[test]
fn a_token_of_our_audience_is_found_wherever_it_hides() {
    let source = json!({"serviceAccountToken": {"audience": "agent-creds", "path": "x"}});
    let csi = json!({"driver": "x", "volumeAttributes": {"tokenAudience": "agent-creds"}});
    for volume in [
        json!({"name": "v", "projected": {"sources": [source]}}),
        json!({"name": "v", "csi": csi}),
        json!({"name": "v", "future": {"tokens": {"audiences": ["a", "agent-creds"]}}}),
    ] {
        let (reason, message) = refused(&with(pod(), "/spec/volumes", json!([volume])));
        assert_eq!(reason, Reason::Reference);
        assert!(message.starts_with("spec.volumes[0].") && message.contains("audience"), "{message}");
    }
}

#[test]
fn our_volumes_are_found_in_every_list_of_containers_and_in_unknown_fields() {
    for (pointer, value) in [
        ("/spec/containers/0/volumeMounts", json!([{"name": "agent-creds-spool", "mountPath": "/x"}])),
        ("/spec/initContainers/1/volumeMounts", json!([{"name": "agent-creds-identity", "mountPath": "/x"}])),
        (
            "/spec/ephemeralContainers",
            json!([{"name": "d", "volumeMounts": [{"name": "agent-creds-shared"}]}]),
        ),
        ("/spec/containers/0/volumeDevices", json!([{"name": "agent-creds-spool", "devicePath": "/x"}])),
        (
            "/spec/containers/0/env/1",
            json!({"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": "agent-creds-identity", "path": "api-token", "key": "x"}}}),
        ),
        ("/spec/futureField", json!({"deep": [{"er": "agent-creds-spool"}]})),
    ] {
        for pod in [pod(), injected(&pod())] {
            let changed = with(pod, pointer, value.clone());
            let (reason, message) = refused(&changed);
            assert_eq!(reason, Reason::Reference, "{pointer}: {message}");
            let path = pointer[1..].split('/').next_back().unwrap();
            assert!(message.contains(path) || path == "1", "{message}");
        }
    }
}

#[test]
fn paths_in_messages_lead_to_the_field() {
    let variable = json!({"name": "X", "valueFrom": {"fileKeyRef": {"volumeName": "agent-creds-identity"}}});
    let (_, message) = refused(&with(pod(), "/spec/containers/0/env/1", variable));
    assert!(message.starts_with("spec.containers[0].env[1].valueFrom.fileKeyRef.volumeName: "), "{message}");
    let (_, message) = refused(&with(pod(), "/spec/x~1y.z", json!("agent-creds-spool")));
    assert!(message.starts_with("spec.\"x/y.z\": "), "{message}");
}

#[test]
fn a_mount_path_that_is_not_written_out_may_lead_anywhere() {
    for path in ["/run/x/../agent-creds", "run/agent-creds", "..", ""] {
        let mounts = json!([{"name": "data", "mountPath": path}]);
        let (reason, message) = refused(&with(pod(), "/spec/containers/0/volumeMounts", mounts));
        assert_eq!(reason, Reason::MountPath, "{message}");
        assert!(message.contains("write an absolute path"), "{message}");
    }
}

#[test]
fn an_agents_mount_of_the_shared_volume_is_ours_only_as_we_make_it() {
    let after = injected(&pod());
    for (pointer, value) in [
        ("/spec/containers/0/volumeMounts/0/readOnly", json!(false)),
        ("/spec/containers/0/volumeMounts/0/subPath", json!("tokens")),
        (
            "/spec/containers/0/volumeMounts/1",
            json!({"name": "agent-creds-shared", "mountPath": "/mine", "readOnly": true}),
        ),
    ] {
        let (reason, message) = refused(&with(after.clone(), pointer, value));
        assert!(matches!(reason, Reason::Reference | Reason::MountPath), "{message}");
        assert!(message.contains("volume agent-creds-shared is the sidecar's"), "{message}");
    }
    // Before the injection it is nobody's.
    let early = with(
        pod(),
        "/spec/containers/0/volumeMounts",
        after["spec"]["containers"][0]["volumeMounts"].clone(),
    );
    assert!(refused(&early).1.contains("spec.containers[0].volumeMounts[0].name: volume agent-creds-shared"));
    // A container that was not chosen gets none, even exactly as we would make it.
    let chosen = with(pod(), "/metadata/annotations/agent-creds~1containers", json!("main"));
    let mount = after["spec"]["containers"][0]["volumeMounts"].clone();
    let stolen = with(injected(&chosen), "/spec/initContainers/2/volumeMounts", mount);
    assert!(
        refused(&stolen).1.contains("spec.initContainers[2].volumeMounts[0].name: volume agent-creds-shared")
    );
}

#[test]
fn words_that_only_look_like_references_are_let_pass() {
    for (pointer, value) in [
        ("/spec/containers/0/args", json!(["agent-creds", "--dir=/run/agent-creds-spool"])),
        ("/spec/containers/0/env/1", json!({"name": "X", "value": "agent-creds"})),
        ("/spec/volumes", json!([{"name": "agent-creds-other", "emptyDir": {}}])),
        ("/metadata/ownerReferences", json!([{"name": "agent-creds-shared"}])),
        (
            "/spec/containers/0/volumeMounts",
            json!([{"name": "run", "mountPath": "/run"}, {"name": "x", "mountPath": "/run/agent-creds-x"}]),
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 9911, "protocol": "UDP"}, {"containerPort": 9913}]),
        ),
    ] {
        let pod = with(pod(), pointer, value);
        let decision = decide(&pod, &policy(), &keys(), "ops", NOW);
        assert!(matches!(decision, Decision::Injected { .. }), "{pointer}: {decision:?}");
    }
}

#[test]
fn our_variables_are_ours_to_set() {
    let variable = |value: &str| json!({"name": "AGENT_CREDS_URL", "value": value});
    // Before the first call not even the right value: nobody but us knows it.
    for value in ["http://evil", "http://127.0.0.1:9911"] {
        let pod = with(pod(), "/spec/containers/0/env/1", variable(value));
        assert_eq!(refused(&pod).0, Reason::Environment);
    }
    let after = injected(&pod());
    assert_eq!(
        refused(&with(after.clone(), "/spec/containers/0/env/4", variable("http://evil"))).0,
        Reason::Environment
    );
    assert_eq!(
        refused(&with(after, "/spec/initContainers/1/env", json!([variable("http://127.0.0.1:9911")]))).0,
        Reason::Environment
    );
}

#[test]
fn a_path_to_a_runtime_or_the_kubelet_is_refused_even_if_it_is_listed() {
    let mut listing = policy();
    listing.allow_host_paths.extend(
        ["/", "/run", "/run/docker.sock", "/var/lib/kubelet"]
            .map(|path| Directory::parse(path).expect("an absolute path")),
    );
    for (path, reached) in [
        ("/", "/etc/cni"),
        ("/run", "/run/containerd"),
        ("/var/run/", "/run/containerd"),
        ("/var/run/docker.sock", "/run/docker.sock"),
        ("//run//docker.sock/", "/run/docker.sock"),
        ("/run/k3s/containerd/containerd.sock", "/run/k3s"),
        ("/var/lib/kubelet/pods", "/var/lib/kubelet"),
    ] {
        let pod = with(pod(), "/spec/volumes", json!([{"name": "h", "hostPath": {"path": path}}]));
        let Decision::Refused(refusals) = decide(&pod, &listing, &keys(), "ops", NOW) else {
            panic!("allowed: {path}")
        };
        assert_eq!(refusals[0].reason, Reason::HostPath);
        let message = refusals[0].to_string();
        assert!(message.contains(&format!("a container reaches {reached}")), "{message}");
        assert!(!message.contains("ask the platform team"), "{message}");
    }
    let climbing = json!([{"name": "h", "hostPath": {"path": "/run/x/../docker.sock"}}]);
    let decision = decide(&with(pod(), "/spec/volumes", climbing), &listing, &keys(), "ops", NOW);
    assert_eq!(decision.reason(), Reason::HostPath);
}

#[test]
fn host_paths_of_the_list_are_read_only() {
    let volume =
        |path: &str| with(pod(), "/spec/volumes", json!([{"name": "h", "hostPath": {"path": path}}]));
    let mounted =
        |path: &str, mount: Value| with(volume(path), "/spec/containers/0/volumeMounts", json!([mount]));
    let read_only = json!({"name": "h", "mountPath": "/h", "readOnly": true});
    let allowed =
        |pod: &Value| matches!(decide(pod, &policy(), &keys(), "ops", NOW), Decision::Injected { .. });
    assert!(allowed(&mounted("/var/log/pods", read_only.clone())));
    assert_eq!(
        refused(&mounted("/var/log/pods", json!({"name": "h", "mountPath": "/h"}))).0,
        Reason::HostPath
    );
    for path in ["/var/lib/kubelet", "/var/logs", "/var/log/../lib", "/", "", "var/log"] {
        assert_eq!(refused(&mounted(path, read_only.clone())).0, Reason::HostPath, "{path}");
    }
    assert_eq!(
        refused(&with(pod(), "/spec/volumes", json!([{"name": "h", "hostPath": {}}]))).0,
        Reason::HostPath
    );
}

#[test]
fn the_platform_may_allow_one_capability_and_not_the_other() {
    let adding =
        |name: &str| with(pod(), "/spec/initContainers/0/securityContext/capabilities/add", json!([name]));
    for name in ["NET_RAW", "CHOWN"] {
        assert!(
            matches!(decide(&adding(name), &policy(), &keys(), "ops", NOW), Decision::Injected { .. }),
            "{name}"
        );
    }
    let (_, message) = refused(&adding("NET_ADMIN"));
    assert!(message.contains("allowCapabilities"), "{message}");
    for name in ["SYS_PTRACE", "ALL", "net_raw", "CAP_NET_RAW"] {
        let (reason, message) = refused(&adding(name));
        assert!(reason == Reason::Capability && !message.contains("allowCapabilities"), "{message}");
    }
}

#[test]
fn every_list_of_containers_is_looked_at() {
    let privileged = json!({"privileged": true});
    for list in ["containers", "initContainers"] {
        let (reason, message) =
            refused(&with(pod(), &format!("/spec/{list}/0/securityContext"), privileged.clone()));
        assert_eq!(reason, Reason::Privileged);
        assert!(message.starts_with(&format!("spec.{list}[0].securityContext.privileged: ")), "{message}");
    }
    let ephemeral =
        json!([{"name": "debug", "securityContext": privileged, "targetContainerName": "agent-creds"}]);
    let (_, message) = refused(&with(pod(), "/spec/ephemeralContainers", ephemeral));
    assert!(message.contains("spec.ephemeralContainers[0].securityContext.privileged"), "{message}");
    assert!(message.contains("spec.ephemeralContainers[0].targetContainerName"), "{message}");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let pod = with(pod(), "/spec/hostNetwork", json!(true));
    let pod = with(pod, "/spec/shareProcessNamespace", json!(true));
    let pod = with(pod, "/spec/containers/0/securityContext/runAsUser", json!(54911));
    let Decision::Refused(refusals) = decide(&pod, &policy(), &keys(), "ops", NOW) else { panic!("allowed") };
    let reasons: Vec<_> = refusals.iter().map(|refusal| refusal.reason).collect();
    assert_eq!(reasons, [Reason::HostNamespace, Reason::ProcessNamespace, Reason::SidecarUid]);
    for refusal in refusals {
        assert!(refusal.message.starts_with("spec.") && refusal.message.len() < 200, "{refusal}");
    }
}
