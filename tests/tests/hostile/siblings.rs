//! Containers beside the sidecar that use its resources: in the pod's own manifest, from a later webhook, and as
//! ephemeral containers.

use serde_json::{Value, json};

use crate::hostile::agent::{IMAGE, NAMESPACE, agent_pod};
use crate::hostile::apart::APART;
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::mutator::Mutator;
use crate::hostile::people::Person;

const ALONE: &str = "is the sidecar's alone";

/// Checks that an agent's pod is refused after a change. `allowed` is a similar change that is admitted.
fn changed(allowed: impl Fn(&mut Value), change: impl Fn(&mut Value), words: &str) -> Outcome {
    let mut pod = agent_pod("sibling", APART);
    pod["metadata"]["annotations"]["agent-creds/service-account"] = json!("vault/devops-agent-creds");
    pod["spec"]["volumes"] = json!([{"name": "own", "emptyDir": {}}]);
    let (mut good, mut bad) = (pod.clone(), pod);
    allowed(&mut good);
    control(Person::editor_apart().would_create(&good));
    change(&mut bad);
    stopped(Person::editor_apart().would_create(&bad), words)
}

/// Checks that the change is refused only because of the sidecar: the same pod without the annotation is admitted.
fn forbidden(change: impl Fn(&mut Value), words: &str) -> Outcome {
    let plain = |pod: &mut Value| {
        change(pod);
        pod["metadata"].as_object_mut().expect("metadata").remove("annotations");
    };
    changed(plain, &change, words)
}

fn mount(pod: &mut Value, volume: &str) {
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": volume, "mountPath": "/stolen"}]);
}

/// Sends a PUT of the agent's pod with an additional ephemeral container.
fn joined(container: &Value) -> Result<String, String> {
    let administrator = Person::administrator(NAMESPACE);
    let mut pod = agent_creds_tests::cluster::get(&["pod", "agent", "--namespace", NAMESPACE]);
    let spec = pod["spec"].as_object_mut().expect("a spec");
    let list = spec.entry("ephemeralContainers").or_insert_with(|| json!([]));
    list.as_array_mut().expect("a list").push(container.clone());
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/agent/ephemeralcontainers?dryRun=All");
    administrator.pipe(&pod, &["replace", "--raw", &path])
}

attempts! {
    /// The agent's container, an init container or a sub path mounts the sidecar's volumes, including the tokens
    volume_of_the_sidecar {
        let outcomes = ["agent-creds-identity", "agent-creds-spool", "agent-creds-shared"].map(|volume| {
            changed(|pod| mount(pod, "own"), |pod| mount(pod, volume), ALONE)
        });
        let init = |volume: &'static str| move |pod: &mut Value| {
            pod["spec"]["initContainers"] = json!([{"name": "init", "image": IMAGE, "command": ["true"],
                "volumeMounts": [{"name": volume, "mountPath": "/stolen", "subPath": "identity-token"}]}]);
        };
        all(outcomes.into_iter().chain([changed(init("own"), init("agent-creds-identity"), ALONE)]).collect())
    }
    /// A container reads a file of the sidecar's volume into its environment, without a mount (EnvFiles)
    file_of_the_sidecar_as_environment {
        let from = |volume: &'static str| move |pod: &mut Value| {
            pod["spec"]["containers"][0]["env"] = json!([{"name": "STOLEN", "valueFrom": {"fileKeyRef": {
                "volumeName": volume, "path": "identity-token", "key": "token", "optional": true}}}]);
        };
        changed(from("own"), from("agent-creds-identity"), ALONE)
    }
    /// An annotated pod has its own volume with a token of our audience
    own_token_of_our_audience {
        let source = |audience: &'static str| move |pod: &mut Value| {
            pod["spec"]["volumes"] = json!([{"name": "own", "projected": {"sources": [
                {"serviceAccountToken": {"audience": audience, "path": "token"}}]}}]);
            mount(pod, "own");
        };
        changed(source("vault"), source("agent-creds"), "tokens of audience agent-creds are the sidecar's alone")
    }
    /// The pod's author defines a volume with a name of the sidecar's: a claim that outlives the pod, in place of
    /// memory
    volume_of_the_sidecars_name {
        let named = |name: &'static str| move |pod: &mut Value| pod["spec"]["volumes"] = json!([{"name": name, "persistentVolumeClaim": {"claimName": "mine"}}]);
        changed(named("mine"), named("agent-creds-spool"), "the pod has no seal; apply the original manifest")
    }
    /// The agent's container mounts a volume over the sidecar's directories
    mount_over_our_directories {
        let at = |path: &'static str| move |pod: &mut Value| {
            pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "own", "mountPath": path}]);
        };
        changed(at("/run/mine"), at("/run/agent-creds/tokens"), "is a directory of the sidecar; choose a path outside")
    }
    /// A pod shares the sidecar's processes: one process namespace for the pod, or the node's
    processes_of_the_sidecar {
        all(vec![
            forbidden(|pod| pod["spec"]["shareProcessNamespace"] = json!(true), "every container could read the sidecar's memory through /proc"),
            forbidden(|pod| pod["spec"]["hostPID"] = json!(true), "spec.hostPID: the pod would share a namespace of the node"),
        ])
    }
    /// A pod uses the node's network and IPC
    network_of_the_node {
        all(vec![
            forbidden(|pod| pod["spec"]["hostNetwork"] = json!(true), "spec.hostNetwork: the pod would share a namespace of the node"),
            forbidden(|pod| pod["spec"]["hostIPC"] = json!(true), "spec.hostIPC: the pod would share a namespace of the node"),
        ])
    }
    /// A pod mounts the node's files: the kubelet's directory with the tokens of all pods, and /proc
    files_of_the_node {
        let path = |path: &'static str| move |pod: &mut Value| {
            pod["spec"]["volumes"] = json!([{"name": "own", "hostPath": {"path": path}}]);
            mount(pod, "own");
        };
        let attempts = [
            ("/var/lib/kubelet/pods", "a container reaches /var/lib/kubelet"),
            ("/proc", "a container reaches /proc"),
            ("/", "a container reaches /etc/cni"),
        ];
        all(attempts.map(|(directory, words)| forbidden(path(directory), words)).into())
    }
    /// A container is privileged, or has more capabilities or an unconfined profile
    rights_over_the_node {
        let context = |context: Value| move |pod: &mut Value| pod["spec"]["containers"][0]["securityContext"] = context.clone();
        all(vec![
            forbidden(context(json!({"privileged": true})), "a privileged container has full access to the node"),
            forbidden(context(json!({"capabilities": {"add": ["SYS_PTRACE"]}})), "is outside the Pod Security baseline"),
            forbidden(context(json!({"capabilities": {"add": ["SYS_ADMIN"]}})), "is outside the Pod Security baseline"),
            forbidden(context(json!({"seccompProfile": {"type": "Unconfined"}})), "write RuntimeDefault or Localhost"),
        ])
    }
    /// A container uses the sidecar's user id, whose processes can signal and trace each other
    user_of_the_sidecar_chosen {
        let user = |id: u32| move |pod: &mut Value| pod["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": id});
        let all_of_them = |pod: &mut Value| pod["spec"]["securityContext"] = json!({"runAsUser": 54911});
        all(vec![
            changed(user(54912), user(54911), "is the sidecar's user; choose another one"),
            forbidden(all_of_them, "is the sidecar's user; choose another one"),
        ])
    }
    /// The pod's author sets the variables that lead the agent to its sidecar
    variables_of_the_sidecar {
        let set = |name: &'static str| move |pod: &mut Value| pod["spec"]["containers"][0]["env"] = json!([{"name": name, "value": "http://10.0.0.1"}]);
        all(["AGENT_CREDS_URL", "AGENT_CREDS_SOCKET", "AGENT_CREDS_KEY_FILE"].map(|name| changed(set("MY_URL"), set(name), "remove it here")).into())
    }
    /// A later webhook mounts the sidecar's tokens in the agent's container
    later_mutator_mounts {
        let mount = json!({"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": {"name": "agent-creds-identity", "mountPath": "/stolen"}});
        let harmless = json!({"op": "add", "path": "/metadata/labels/harmless", "value": "1"});
        Mutator::compared(&[mount], &[harmless], ALONE)
    }
    /// A later webhook gives the sidecar another image, another user or a shell as command
    later_mutator_changes_the_sidecar {
        let replaced = |path: &str, value: Value| json!({"op": "replace", "path": format!("/spec/initContainers/0/{path}"), "value": value});
        // The API server's own plugins make this change to every container, so it is allowed.
        let harmless = replaced("imagePullPolicy", json!("Always"));
        all(vec![
            Mutator::compared(&[replaced("image", json!(IMAGE))], std::slice::from_ref(&harmless), "differs from what the webhook adds"),
            Mutator::compared(&[replaced("command", json!(["/bin/sh"]))], std::slice::from_ref(&harmless), "differs from what the webhook adds"),
            Mutator::compared(&[json!({"op": "remove", "path": "/spec/initContainers/0/securityContext"})], &[harmless], "another admission webhook removed this"),
        ])
    }
    /// An ephemeral container mounts the sidecar's volumes
    ephemeral_container_mounts {
        let container = |volume: &str| json!({"name": "debugger-1", "image": IMAGE, "volumeMounts": [{"name": volume, "mountPath": "/stolen"}]});
        control(joined(&json!({"name": "debugger-1", "image": IMAGE})));
        all(["agent-creds-identity", "agent-creds-spool"].map(|volume| stopped(joined(&container(volume)), ALONE)).into())
    }
    /// An ephemeral container shares the sidecar's processes (`kubectl debug --target=agent-creds`)
    ephemeral_container_targets {
        let container = |target: &str| json!({"name": "debugger-2", "image": IMAGE, "targetContainerName": target});
        control(joined(&container("agent")));
        stopped(joined(&container("agent-creds")), "an ephemeral container cannot target container agent-creds")
    }
    /// An ephemeral container has the sidecar's image, its user, or additional capabilities
    ephemeral_container_imitates {
        control(joined(&json!({"name": "debugger-3", "image": IMAGE})));
        let with = |context: Value| joined(&json!({"name": "debugger-3", "image": IMAGE, "securityContext": context}));
        all(vec![
            stopped(
                joined(&json!({"name": "debugger-3", "image": "localhost/agent-creds/sidecar:test"})),
                "only container agent-creds may use its image",
            ),
            stopped(with(json!({"runAsUser": 54911})), "is the sidecar's user; choose another one"),
            stopped(with(json!({"capabilities": {"add": ["SYS_PTRACE"]}})), "non-default capabilities"),
        ])
    }
}
