//! Pods that are told to go while they wait for the provider's answer: by a roll-out, or by the eviction API. The kubelet
//! lets them finish, and what they received is not lost.

use std::process::{Child, Command, Stdio};

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use serde_json::json;

use crate::e2e::agent::{document, logs, name, ready_pods, restarts};
use crate::e2e::platform::{START, why};
use crate::e2e::scene::{Scene, Spoilt};

/// What a sidecar says of a refresh that it made.
const SUCCESS: &str = r#""outcome":"success""#;

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_roll_out_of_ten_agents_during_a_refresh_loses_nothing() {
    let scene = Scene::open("rolling", crate::e2e::platform::TOKEN_LIFE);
    let old = scene.run(10);
    let held = scene.hold();
    // Of those that may go, the ReplicaSet's controller takes the cheapest first.
    let cost = "controller.kubernetes.io/pod-deletion-cost=-1000";
    kubectl(&["annotate", "pod", &held.holder, "--namespace", scene.agent, cost]).expect("making it cheap");
    let restart = ["rollout", "restart", "deployment/devops-agent", "--namespace", scene.agent];
    leaves_with_its_answer(&scene, &held, || kubectl(&restart));

    let status = ["rollout", "status", "deployment/devops-agent", "--namespace", scene.agent, "--timeout=3m"];
    kubectl(&status).unwrap_or_else(|error| panic!("{error}\n{}", why(scene.agent)));
    let new = ready_pods(scene.agent, 10);
    assert!(new.iter().all(|pod| old.iter().all(|before| name(before) != name(pod))), "all are new");
    // By those that are new, since no other is left.
    scene.goes_on(2);
    scene.all_serve(10);
    scene.is_kept();
    assert_eq!(restarts(scene.agent), [].into());
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn an_evicted_agent_stores_the_answer_it_waits_for() {
    let scene = Scene::open("evicted", crate::e2e::platform::TOKEN_LIFE);
    scene.run(2);
    // And again, by one that was not there the first time, or by one that saw it.
    for _ in 0..2 {
        let held = scene.hold();
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": held.holder, "namespace": scene.agent},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{}/eviction", scene.agent, held.holder);
        leaves_with_its_answer(&scene, &held, || pipe(&eviction.to_string(), &["create", "--raw", &path]));
        ready_pods(scene.agent, 2);
    }
    scene.goes_on(1);
    scene.all_serve(2);
    scene.is_kept();
    assert_eq!(restarts(scene.agent), [].into());
}

/// The holder of a held answer is told to go: its agent ends, its sidecar stays, and the claim stands, until the answer
/// is there and stored. Then it ends as one that has finished.
fn leaves_with_its_answer(scene: &Scene, held: &Spoilt, tell: impl FnOnce() -> Result<String, String>) {
    let (agent, holder) = (scene.agent, held.holder.as_str());
    let before = logs(agent, holder).matches(SUCCESS).count();
    let log = Following::the_sidecar(agent, holder);
    tell().unwrap_or_else(|error| panic!("{error}\n{}", why(agent)));
    eventually(START, || {
        let pod = get(&["pod", holder, "--namespace", agent]);
        if pod["metadata"]["deletionTimestamp"].is_null() { Err(pod.to_string()) } else { Ok(()) }
    });
    // SIGTERM comes to the sidecar when the agent has ended, and it is not yet the end.
    eventually(START, || {
        match kubectl(&["exec", holder, "--namespace", agent, "--container=agent", "--", "true"]) {
            Ok(_) => Err("the agent still runs".to_owned()),
            Err(_) => Ok(()),
        }
    });
    let metrics = format!("/api/v1/namespaces/{agent}/pods/{holder}:9912/proxy/metrics");
    kubectl(&["get", "--raw", &metrics]).unwrap_or_else(|error| panic!("{holder} does not wait: {error}"));
    assert_eq!(document(agent)["claim"]["parent_fp"], held.token(), "nobody else goes on meanwhile");
    scene.release(held);
    let said = log.ended();
    let last = said.rfind(SUCCESS).unwrap_or_default();
    assert_eq!(said.matches(SUCCESS).count(), before + 1, "what it waited for has come: {said}");
    assert!(said[last..].contains(r#""message":"stopped""#), "it was let finish: {said}");
}

/// What a sidecar says until its pod is gone.
struct Following(Child);

impl Following {
    fn the_sidecar(namespace: &str, pod: &str) -> Self {
        let arguments = ["logs", "--follow", pod, "--namespace", namespace, "--container=agent-creds"];
        let kubectl = Command::new("kubectl").args(arguments).stdout(Stdio::piped()).spawn();
        Self(kubectl.expect("starting kubectl"))
    }

    fn ended(mut self) -> String {
        use std::io::Read as _;
        let mut said = String::new();
        let mut stdout = self.0.stdout.take().expect("piped");
        stdout.read_to_string(&mut said).expect("text");
        said
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
