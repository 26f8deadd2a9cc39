//! Pods that are deleted while they wait for the provider's answer, by a roll-out or by the eviction API. The kubelet
//! lets them finish, and their answer is stored.

use std::process::{Child, Command, Stdio};

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use serde_json::json;

use crate::e2e::agent::{document, logs, name, ready_pods, restarts};
use crate::e2e::login::{Login, Spoilt};
use crate::e2e::platform::{START, why};

/// Part of a sidecar's log line about a successful refresh.
const SUCCESS: &str = r#""outcome":"success""#;

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_roll_out_of_ten_agents_during_a_refresh_loses_nothing() {
    let login = Login::open("rolling", crate::e2e::platform::TOKEN_LIFE);
    let old = login.run(10);
    let held = login.hold();
    // The ReplicaSet controller deletes pods with the lowest cost first.
    let cost = "controller.kubernetes.io/pod-deletion-cost=-1000";
    kubectl(&["annotate", "pod", &held.holder, "--namespace", login.agent, cost])
        .expect("setting the deletion cost");
    let restart = ["rollout", "restart", "deployment/devops-agent", "--namespace", login.agent];
    leaves_with_its_answer(&login, &held, || kubectl(&restart));

    let status = ["rollout", "status", "deployment/devops-agent", "--namespace", login.agent, "--timeout=3m"];
    kubectl(&status).unwrap_or_else(|error| panic!("{error}\n{}", why(login.agent)));
    let new = ready_pods(login.agent, 10);
    assert!(new.iter().all(|pod| old.iter().all(|before| name(before) != name(pod))), "all pods are new");
    // The new pods continue the lineage, since no other is left.
    login.goes_on(2);
    login.all_serve(10);
    login.is_kept();
    assert_eq!(restarts(login.agent), [].into());
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn an_evicted_agent_stores_the_answer_it_waits_for() {
    let login = Login::open("evicted", crate::e2e::platform::TOKEN_LIFE);
    login.run(2);
    // The second time another pod may be the holder.
    for _ in 0..2 {
        let held = login.hold();
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": held.holder, "namespace": login.agent},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{}/eviction", login.agent, held.holder);
        leaves_with_its_answer(&login, &held, || pipe(&eviction.to_string(), &["create", "--raw", &path]));
        ready_pods(login.agent, 2);
    }
    login.goes_on(1);
    login.all_serve(2);
    login.is_kept();
    assert_eq!(restarts(login.agent), [].into());
}

/// Deletes the holder of a held answer. Its agent ends, its sidecar stays, and the claim stands until the answer is
/// stored. Then the sidecar exits normally.
fn leaves_with_its_answer(login: &Login, held: &Spoilt, tell: impl FnOnce() -> Result<String, String>) {
    let (agent, holder) = (login.agent, held.holder.as_str());
    let before = logs(agent, holder).matches(SUCCESS).count();
    let log = Following::the_sidecar(agent, holder);
    tell().unwrap_or_else(|error| panic!("{error}\n{}", why(agent)));
    eventually(START, || {
        let pod = get(&["pod", holder, "--namespace", agent]);
        if pod["metadata"]["deletionTimestamp"].is_null() { Err(pod.to_string()) } else { Ok(()) }
    });
    // The kubelet sends SIGTERM to the sidecar after the agent has ended.
    eventually(START, || {
        match kubectl(&["exec", holder, "--namespace", agent, "--container=agent", "--", "true"]) {
            Ok(_) => Err("the agent still runs".to_owned()),
            Err(_) => Ok(()),
        }
    });
    let metrics = format!("/api/v1/namespaces/{agent}/pods/{holder}:9912/proxy/metrics");
    kubectl(&["get", "--raw", &metrics]).unwrap_or_else(|error| panic!("{holder} has ended: {error}"));
    assert_eq!(document(agent)["claim"]["parent_fp"], held.token(), "no other replica claims");
    login.release(held);
    let log = log.ended();
    let last = log.rfind(SUCCESS).unwrap_or_default();
    assert_eq!(log.matches(SUCCESS).count(), before + 1, "the refresh succeeds: {log}");
    assert!(log[last..].contains(r#""message":"stopped""#), "the sidecar stops by itself: {log}");
}

/// Follows a sidecar's log until its pod is gone.
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
