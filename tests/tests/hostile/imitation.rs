//! Pods that imitate an injected one, created with the role `edit`. The requests are dry runs that go through all of
//! admission, except where another part has to stop the attempt.

use agent_creds_tests::cluster::get;
use agent_creds_tests::platform::ACCOUNT;
use serde_json::{Value, json};

use crate::hostile::agent::{NAMESPACE, agent_pod, await_ready};
use crate::hostile::apart::{APART, CREDENTIAL, VAULT};
use crate::hostile::attempt::{Met, Outcome, all, attempts, control, stopped};
use crate::hostile::exchange::{tells, told};
use crate::hostile::people::{Person, copied, sidecar};

/// Part of the refusal of an object that has our name and differs from the injected one.
const NOT_OURS: &str = "differs from what the webhook adds under this name";

fn made(pod: &Value) -> Met {
    Person::editor().would_create(pod)
}

/// Checks that a copy of the agent's pod is refused after a change. Without the change it is admitted.
fn changed(change: impl Fn(&mut Value), words: &str) -> Outcome {
    let mut pod = copied();
    control(made(&pod));
    change(&mut pod);
    stopped(made(&pod), words)
}

attempts! {
    /// A pod has the sidecar's image, arguments and volumes, and all annotations except the seal
    imitation_without_a_seal {
        let unsealed = |pod: &mut Value| drop(pod["metadata"]["annotations"].as_object_mut().expect("annotations").remove("agent-creds/seal"));
        let forged = |pod: &mut Value| pod["metadata"]["annotations"]["agent-creds/seal"] = json!("e30.e30.AAAA");
        all(vec![
            changed(unsealed, "only the webhook adds this, together with a seal, and the pod has no seal"),
            changed(forged, "not a seal of this cluster's webhook"),
        ])
    }
    /// A pod has the seal with one letter changed in its header, its payload or its signature
    seal_forged {
        let outcomes = (0..3).map(|part| {
            changed(
                |pod| {
                    let seal = pod["metadata"]["annotations"]["agent-creds/seal"].as_str().expect("a seal").to_owned();
                    let mut parts: Vec<_> = seal.split('.').map(str::to_owned).collect();
                    let other = if parts[part].as_bytes()[9] == b'A' { "B" } else { "A" };
                    parts[part].replace_range(9..10, other);
                    pod["metadata"]["annotations"]["agent-creds/seal"] = json!(parts.join("."));
                },
                "not a seal of this cluster's webhook",
            )
        });
        all(outcomes.collect())
    }
    /// A pod has a copied seal and a sidecar with another command, other arguments, or a shell
    other_command {
        all(vec![
            changed(|pod| sidecar(pod)["command"] = json!(["/bin/sh", "-c", "cat /run/agent-creds-identity/*"]), NOT_OURS),
            changed(|pod| sidecar(pod)["args"][3] = json!("--api-server=https://evil.example.com"), NOT_OURS),
            changed(|pod| sidecar(pod)["args"].as_array_mut().expect("arguments").push(json!("--identity=pod")), NOT_OURS),
        ])
    }
    /// A pod has a copied seal and a sidecar with another image
    other_image {
        changed(|pod| sidecar(pod)["image"] = json!("localhost/hostile-agent:1"), NOT_OURS)
    }
    /// A pod has a copied seal and a sidecar with another mount, a library path, or a file as environment
    extra_mounts {
        all(vec![
            changed(
                |pod| {
                    pod["spec"]["volumes"].as_array_mut().expect("volumes").push(json!({"name": "mine", "emptyDir": {}}));
                    sidecar(pod)["volumeMounts"].as_array_mut().expect("mounts").push(json!({"name": "mine", "mountPath": "/lib"}));
                },
                NOT_OURS,
            ),
            changed(|pod| sidecar(pod)["env"] = json!([{"name": "LD_PRELOAD", "value": "/run/agent-creds/x.so"}]), NOT_OURS),
            changed(|pod| sidecar(pod)["envFrom"] = json!([{"configMapRef": {"name": "mine"}}]), NOT_OURS),
        ])
    }
    /// A pod has a copied seal and a sidecar with a program in its probes and hooks
    exec_probes {
        let run = json!({"exec": {"command": ["/agent-creds-sidecar", "serve"]}});
        all(vec![
            changed(|pod| sidecar(pod)["livenessProbe"]["exec"]["command"] = run["exec"]["command"].clone(), NOT_OURS),
            changed(|pod| sidecar(pod)["readinessProbe"] = run.clone(), "spec.initContainers[0].readinessProbe"),
            changed(|pod| sidecar(pod)["lifecycle"]["postStart"] = run.clone(), NOT_OURS),
        ])
    }
    /// A pod has a copied seal and a sidecar with another user, capabilities, a terminal, or another termination
    /// message path
    other_rights {
        all(vec![
            changed(|pod| sidecar(pod)["securityContext"]["runAsUser"] = json!(1000), NOT_OURS),
            changed(|pod| sidecar(pod)["securityContext"]["capabilities"] = json!({"add": ["SETUID"]}), NOT_OURS),
            changed(|pod| sidecar(pod)["stdin"] = json!(true), NOT_OURS),
            changed(|pod| sidecar(pod)["terminationMessagePath"] = json!("/run/agent-creds-identity/api-token"), NOT_OURS),
        ])
    }
    /// A pod has a copied seal and an identity volume with a Secret or another token
    other_volumes {
        let source = |pod: &mut Value, source: Value| {
            let mut volumes = pod["spec"]["volumes"].as_array_mut().expect("volumes").iter_mut();
            let volume = volumes.find(|volume| volume["name"] == "agent-creds-identity").expect("the volume");
            volume["projected"]["sources"].as_array_mut().expect("sources").push(source);
        };
        all(vec![
            changed(|pod| source(pod, json!({"secret": {"name": "devops-agent-pagerduty"}})), NOT_OURS),
            changed(|pod| source(pod, json!({"serviceAccountToken": {"audience": "vault", "path": "x"}})), NOT_OURS),
        ])
    }
    /// A pod has a copied seal in a namespace whose agents have other grants
    copied_seal_elsewhere {
        let mut pod = copied();
        control(made(&pod));
        pod["metadata"]["namespace"] = json!(APART);
        stopped(Person::editor_apart().would_create(&pod), "made for another pod: the namespace differs")
    }
    /// A pod has a copied seal and another account
    copied_seal_of_another_account {
        changed(|pod| pod["spec"]["serviceAccountName"] = json!("viewer"), "made for another pod: spec.serviceAccountName differs")
    }
    /// A pod has a copied seal and annotations that name other grants, or another credential account
    copied_seal_with_other_annotations {
        let words = "made for another pod: the agent-creds annotations differ";
        all(vec![
            changed(|pod| pod["metadata"]["annotations"]["agent-creds/grants"] = json!("steered"), words),
            changed(|pod| pod["metadata"]["annotations"]["agent-creds/service-account"] = json!(format!("{VAULT}/{CREDENTIAL}")), words),
        ])
    }
    /// A copy of the pod without the annotation that triggers admission runs, and its sidecar requests an identity
    imitation_past_admission {
        let mut pod = copied();
        pod["metadata"]["name"] = json!("past");
        let annotations = pod["metadata"]["annotations"].as_object_mut().expect("annotations");
        annotations.remove("agent-creds/inject");
        // A policy refuses the copy with the label and the annotations of an injected pod.
        let words = "only the webhook sets the label agent-creds/injected";
        let _ = stopped(Person::editor().pipe(&pod, &["create"]), words);
        pod["metadata"]["labels"].as_object_mut().expect("labels").remove("agent-creds/injected");
        let annotations = pod["metadata"]["annotations"].as_object_mut().expect("annotations");
        annotations.retain(|key, _| !["agent-creds/seal", "agent-creds/status"].contains(&key.as_str()));
        // With strict-start the pod never becomes ready, which the attempt does not need.
        let before = told("seal");
        control(Person::editor().pipe(&pod, &["create"]));
        tells("seal", before);
        control(Person::editor().run(&["delete", "pod", "past", "--now"]));
        // The same pod with the annotation is injected and gets its tokens.
        let mut pod = copied();
        pod["metadata"]["name"] = json!("copied");
        control(Person::editor().pipe(&pod, &["create"]));
        await_ready("copied", NAMESPACE);
        control(Person::editor().run(&["delete", "pod", "copied", "--now"]));
        Outcome::Stopped("its sidecar gets 403, in the log: seal".to_owned())
    }
    /// `kubectl debug --copy-to --share-processes` copies the agent's pod, so that its containers share processes
    debug_copy {
        control(made(&copied()));
        let debug = ["debug", "agent", "--copy-to=debugged", "--share-processes", "--image=localhost/hostile-agent:1", "--container=look"];
        let copies = [&["--attach=false"][..], &["--attach=false", "--keep-annotations", "--keep-labels"]];
        all(copies.map(|more| stopped(Person::editor().run(&[&debug[..], more].concat()), NOT_OURS)).into())
    }
    /// An annotated pod runs as the credential account, or names its own account as the credential account
    credential_account_itself {
        let mut pod = agent_pod("own", NAMESPACE);
        control(made(&pod));
        pod["metadata"]["annotations"]["agent-creds/service-account"] = json!(ACCOUNT);
        let first = stopped(made(&pod), "is the credential account, which may read the grant Secrets");
        pod["metadata"]["annotations"]["agent-creds/service-account"] = json!(CREDENTIAL);
        pod["spec"]["serviceAccountName"] = json!(CREDENTIAL);
        all(vec![first, stopped(made(&pod), "is the credential account, which may read the grant Secrets")])
    }
    /// An annotated pod of an account without the right to assume names another agent's credential account
    another_agents_grants {
        let mut pod = agent_pod("stranger", APART);
        pod["spec"]["serviceAccountName"] = json!("stranger");
        pod["metadata"]["annotations"]["agent-creds/grants"] = json!("pagerduty=devops-agent-pagerduty");
        pod["metadata"]["annotations"]["agent-creds/service-account"] = json!(format!("{VAULT}/{CREDENTIAL}"));
        let before = told("assume_missing");
        control(Person::editor_apart().pipe(&pod, &["create"]));
        tells("assume_missing", before);
        control(Person::editor_apart().run(&["delete", "pod", "stranger", "--now"]));
        // The agent that may assume the account gets the grant.
        let agent = get(&["pod", "agent", "--namespace", APART]);
        assert_eq!(agent["status"]["containerStatuses"][0]["ready"], json!(true));
        Outcome::Stopped("403, in the log: assume_missing".to_owned())
    }
    /// A pod has annotations for settings of the platform, or names Secrets that are not grants or belong to others
    annotations_that_reach_further {
        let with = |key: &str, value: &str| {
            let mut pod = agent_pod("reaches", NAMESPACE);
            pod["metadata"]["annotations"][key] = json!(value);
            made(&pod)
        };
        control(with("agent-creds/port", "9921"));
        all(vec![
            stopped(with("agent-creds/image", "evil"), "no such annotation of agent-creds"),
            stopped(with("agent-creds/identity-server", "https://evil.example.com"), "no such annotation of agent-creds"),
            stopped(with("agent-creds/seal.tolerate", "container.env=[]"), "no such annotation of agent-creds"),
            stopped(with("agent-creds/grants", "pagerduty=vault/devops-agent-pagerduty"), "annotation agent-creds/grants"),
            stopped(with("agent-creds/grants", "pagerduty=devops-agent-pagerduty-state"), "annotation agent-creds/grants"),
        ])
    }
    /// A mirror pod, which admission skips, has the sidecar and a container that mounts its volumes
    mirror_pod {
        let mut pod = copied();
        control(made(&pod));
        pod["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("0");
        pod["spec"]["nodeName"] = json!("node");
        pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().expect("mounts")
            .push(json!({"name": "agent-creds-identity", "mountPath": "/stolen"}));
        let administrator = Person::administrator(NAMESPACE);
        let first = stopped(administrator.would_create(&pod), "a mirror pod may not reference service accounts");
        let spec = pod["spec"].as_object_mut().expect("a spec");
        spec.remove("serviceAccountName");
        spec.remove("serviceAccount");
        all(vec![first, stopped(administrator.would_create(&pod), "a mirror pod may not")])
    }
}
