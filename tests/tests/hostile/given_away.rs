//! What the agent may read, and what may be in it: every secret that there is, searched for in everything that is said.

use std::sync::LazyLock;

use agent_creds_tests::cluster::{SYSTEM, eventually, kubectl, pipe};
use agent_creds_tests::platform::START;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::hostile::agent::{CARELESS, NAMESPACE, agent_pod, in_pod, inside};
use crate::hostile::attempt::{Outcome, attempts, control};
use crate::hostile::local::{LOOPBACK, bearer, request, token_with, written};
use crate::hostile::pods::{NEIGHBOUR, Process, gone, sidecar_status, started};
use crate::hostile::scan::{access_token, clean, lasting};

/// Values of a grant Secret that nobody can use, as a person writes them by mistake: swapped, cut off, in the wrong place.
const MISPLACED: [&str; 3] =
    ["misplaced-client-secret-8c1f", "misplaced-refresh-token-77aa", "misplaced-in-the-grant-file-55bb"];

/// A pod whose second grant is wrong in this way.
static CARELESS_POD: LazyLock<&str> = LazyLock::new(|| {
    let _ = &*NEIGHBOUR;
    let [client_secret, refresh_token, misplaced] = MISPLACED;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": CARELESS, "namespace": NAMESPACE, "labels": {"agent-creds/provider": "pagerduty"}},
        "stringData": {"client_id": NAMESPACE, "client_secret": client_secret, "refresh_token": refresh_token,
            "grant.yaml": format!("flow: refresh_token\n{misplaced}: [")},
    });
    pipe(&secret.to_string(), &["apply"]).expect("a careless grant");
    let mut pod = agent_pod("careless", NAMESPACE);
    let annotations = &mut pod["metadata"]["annotations"];
    annotations["agent-creds/grants"] = json!("pagerduty,careless");
    annotations["agent-creds/strict-start"] = json!("false");
    let pod = started(&pod, "careless");
    eventually(START, || {
        let grants = grants_of(pod)?;
        if grants.contains("misconfigured") && grants.contains("\"ready\"") { Ok(()) } else { Err(grants) }
    });
    pod
});

fn grants_of(pod: &str) -> Result<String, String> {
    let asked = request("GET /v1/grants HTTP/1.1", &["Host: localhost"]);
    in_pod(pod, "agent", &format!("{} | wire send unix:/run/agent-creds/agent.sock 3", written(&asked)))
}

/// All secrets, and what a careless person wrote.
fn everything() -> Vec<String> {
    let _ = &*CARELESS_POD;
    let mut secrets = lasting();
    secrets.extend(MISPLACED.map(str::to_owned));
    secrets
}

/// The same, and the access token: for what others than the agent read.
fn and_the_token() -> Vec<String> {
    let mut secrets = everything();
    secrets.push(access_token());
    secrets
}

attempts! {
    /// Logs of the sidecars, read with the agent's own right to look at its namespace
    logs {
        let secrets = and_the_token();
        let pods = ["agent", "careless"].map(|pod| control(inside(&format!("k logs {pod} -c agent-creds"))));
        assert!(pods.iter().all(|log| log.contains("\"outcome\"") || log.contains("serving")), "the control: {pods:?}");
        clean(&pods.concat(), &secrets);
        Outcome::Stopped("not one of them is in a log, as it is or encoded".to_owned())
    }
    /// Logs of the roles, which the agent could only get at through a reader of them
    logs_of_the_roles {
        let secrets = and_the_token();
        let logs: String = ["admit", "identity", "manage"]
            .map(|role| kubectl(&["logs", "--namespace", SYSTEM, &format!("deployment/agent-creds-{role}"), "--all-pods"]).unwrap_or_else(|error| panic!("{error}")))
            .concat();
        assert!(logs.contains("\"level\""), "the control: {logs}");
        clean(&logs, &secrets);
        Outcome::Stopped("not one of them is in a log, as it is or encoded".to_owned())
    }
    /// Metrics of the sidecars, its own and others', read over the pod network
    metrics {
        let secrets = and_the_token();
        let pods = ["neighbour", "careless"].map(|pod| control(inside(&format!("wget -q -O - http://$(k get pod {pod} -o jsonpath='{{.status.podIP}}'):9912/metrics"))));
        assert!(pods.iter().all(|text| text.contains("agent_creds_grant_state")), "the control: {pods:?}");
        clean(&pods.concat(), &secrets);
        Outcome::Stopped("names and numbers".to_owned())
    }
    /// Metrics and every other path of the roles' unprotected port
    metrics_of_the_roles {
        let secrets = and_the_token();
        let list = kubectl(&["get", "pods", "--namespace", SYSTEM, "-o", "jsonpath={range .items[*]}{.status.podIP} {end}"]).expect("the roles' pods");
        let script = format!("for ip in {list}; do for path in metrics healthz livez readyz debug/pprof/ config environ; do echo; echo $path; wget -q -O - http://$ip:8080/$path; done; done; true");
        let said = control(inside(&script));
        assert!(said.contains("agent_creds_"), "the control: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("names and numbers".to_owned())
    }
    /// Events of the namespace
    events {
        let secrets = and_the_token();
        let said = control(inside("k get events -o json; k get events.events.k8s.io -o json"));
        assert!(said.contains("devops-agent"), "the control: there are some about the grants: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("Events name the Secret and the reason".to_owned())
    }
    /// The list of grants, with a grant that is wrong because a secret stands where a key should
    list_of_grants {
        let secrets = and_the_token();
        let said = control(grants_of(&CARELESS_POD));
        assert!(said.contains("grant_invalid"), "the control: it is told what is wrong: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("messages name the key, never its value".to_owned())
    }
    /// Every error that the local API has
    errors {
        let secrets = and_the_token();
        let lines = ["GET / HTTP/1.1", "POST /v1/grants HTTP/1.1", "GET /v1/token/none HTTP/1.1", "GET /v1/token/pagerduty?rejected=x HTTP/1.1", "BAD", "CONNECT localhost:1 HTTP/1.1"];
        let mut asked: String = lines.iter().map(|line| format!("{} | wire send {LOOPBACK} 2; echo; ", written(&request(line, &["Host: localhost", &bearer()])))).collect();
        asked += &format!("{} | wire send {LOOPBACK} 2; {} | wire send {LOOPBACK} 2", written(&token_with(&["Host: evil"])), written(&token_with(&["Host: localhost"])));
        let said = control(inside(&asked));
        let unavailable = control(in_pod(&CARELESS_POD, "agent", &format!("{} | wire send unix:/run/agent-creds/agent.sock 3", written(&request("GET /v1/token/careless HTTP/1.1", &["Host: localhost"])))));
        for status in ["400", "401", "404", "405", "421"] {
            assert!(said.contains(&format!("HTTP/1.1 {status} ")), "{status}: {said}");
        }
        assert!(unavailable.contains("HTTP/1.1 503 "), "{unavailable}");
        clean(&format!("{said}{unavailable}"), &secrets);
        Outcome::Stopped("a fixed word and a sentence; nothing of a request or a Secret comes back".to_owned())
    }
    /// The pod as the agent reads it from the API: arguments, annotations, the seal, status
    pod_object {
        let secrets = and_the_token();
        let said = control(inside("k get pod agent careless -o json"));
        assert!(said.contains("agent-creds/seal"), "the control: {said}");
        clean(&said, &secrets);
        let pod: Value = serde_json::from_str(&said).expect("JSON");
        let seals: String = pod["items"].as_array().expect("pods").iter().filter_map(|pod| pod["metadata"]["annotations"]["agent-creds/seal"].as_str()).collect();
        clean(&seals, &secrets);
        Outcome::Stopped("names, and a seal that says what was injected".to_owned())
    }
    /// Termination messages, after a death by signal and after an orderly end
    termination_messages {
        let secrets = and_the_token();
        started(&agent_pod("ends", NAMESPACE), "ends");
        // The first process of a container obeys no other signal.
        for (times, signal) in [Signal::KILL, Signal::TERM].into_iter().enumerate() {
            let before = sidecar_status("ends", NAMESPACE);
            Process::of(&before).kill(signal);
            eventually(START, || {
                let now = sidecar_status("ends", NAMESPACE);
                if now["restartCount"].as_u64() > Some(times as u64) && now["state"]["running"].is_object() { Ok(()) } else { Err(now.to_string()) }
            });
            clean(&control(inside("k get pod ends -o json; k logs ends -c agent-creds --previous; k get events -o json")), &secrets);
        }
        gone("ends", NAMESPACE);
        Outcome::Stopped("a message says how it ended, and the log before it is clean".to_owned())
    }
    /// Every file in the shared volume
    shared_files {
        let secrets = and_the_token();
        let said = control(inside("ls -la /run/agent-creds; for f in $(find /run/agent-creds -type f); do echo $f; cat $f; echo; done"));
        assert!(said.contains("caller-key"), "the control: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("the caller key, and a socket".to_owned())
    }
    /// Everything that is served to others on the node: the discovery, the version, the API's open paths, as the agent
    open_paths_of_the_api {
        let secrets = and_the_token();
        let said = control(inside("k get --raw /version; k get --raw /openapi/v2 | head -c 200000; k get --raw /apis; k get configmaps,endpointslices,services -o json"));
        assert!(said.contains("gitVersion"), "the control: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("nothing of ours is in what the role view reads".to_owned())
    }
}
