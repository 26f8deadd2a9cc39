//! Everything that the agent may read, searched for every secret.

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

/// Unusable values in a grant Secret, as a person writes them by mistake: swapped, truncated, in the wrong place.
const MISPLACED: [&str; 3] =
    ["misplaced-client-secret-8c1f", "misplaced-refresh-token-77aa", "misplaced-in-the-grant-file-55bb"];

/// A pod whose second grant has such mistakes.
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

/// Returns all secrets, with the misplaced values.
fn everything() -> Vec<String> {
    let _ = &*CARELESS_POD;
    let mut secrets = lasting();
    secrets.extend(MISPLACED.map(str::to_owned));
    secrets
}

/// Returns the same with the access token, for data that others than the agent can read.
fn and_the_token() -> Vec<String> {
    let mut secrets = everything();
    secrets.push(access_token());
    secrets
}

attempts! {
    /// The agent reads the logs of sidecars with its own right to view its namespace
    logs {
        let secrets = and_the_token();
        let pods = ["agent", "careless"].map(|pod| control(inside(&format!("k logs {pod} -c agent-creds"))));
        assert!(pods.iter().all(|log| log.contains("\"outcome\"") || log.contains("serving")), "the control: {pods:?}");
        clean(&pods.concat(), &secrets);
        Outcome::Stopped("no secret is in a log, neither in plain text nor encoded".to_owned())
    }
    /// The logs of the roles are searched, which the agent could get only from a person who may read them
    logs_of_the_roles {
        let secrets = and_the_token();
        let logs: String = ["admit", "identity", "manage"]
            .map(|role| kubectl(&["logs", "--namespace", SYSTEM, &format!("deployment/agent-creds-{role}"), "--all-pods"]).unwrap_or_else(|error| panic!("{error}")))
            .concat();
        assert!(logs.contains("\"level\""), "the control: {logs}");
        clean(&logs, &secrets);
        Outcome::Stopped("no secret is in a log, neither in plain text nor encoded".to_owned())
    }
    /// The agent reads the metrics of its own and other sidecars over the pod network
    metrics {
        let secrets = and_the_token();
        let pods = ["neighbour", "careless"].map(|pod| control(inside(&format!("wget -q -O - http://$(k get pod {pod} -o jsonpath='{{.status.podIP}}'):9912/metrics"))));
        assert!(pods.iter().all(|text| text.contains("agent_creds_grant_state")), "the control: {pods:?}");
        clean(&pods.concat(), &secrets);
        Outcome::Stopped("names and numbers only".to_owned())
    }
    /// The agent reads the metrics and every other path of the roles' unauthenticated port
    metrics_of_the_roles {
        let secrets = and_the_token();
        let list = kubectl(&["get", "pods", "--namespace", SYSTEM, "-o", "jsonpath={range .items[*]}{.status.podIP} {end}"]).expect("the roles' pods");
        let script = format!("for ip in {list}; do for path in metrics healthz livez readyz debug/pprof/ config environ; do echo; echo $path; wget -q -O - http://$ip:8080/$path; done; done; true");
        let said = control(inside(&script));
        assert!(said.contains("agent_creds_"), "the control: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("names and numbers only".to_owned())
    }
    /// The agent reads the Events of its namespace
    events {
        let secrets = and_the_token();
        let said = control(inside("k get events -o json; k get events.events.k8s.io -o json"));
        assert!(said.contains("devops-agent"), "the control: there are Events about the grants: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("Events name the Secret and the reason".to_owned())
    }
    /// The agent reads the list of grants, with an invalid grant that has a secret in place of a key
    list_of_grants {
        let secrets = and_the_token();
        let said = control(grants_of(&CARELESS_POD));
        assert!(said.contains("grant_invalid"), "the control: the message names the mistake: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("messages name the key, never its value".to_owned())
    }
    /// The agent causes every error of the local API
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
        Outcome::Stopped("answers contain a fixed word and a sentence, and nothing of a request or a Secret".to_owned())
    }
    /// The agent reads its pod from the API: arguments, annotations, seal, status
    pod_object {
        let secrets = and_the_token();
        let said = control(inside("k get pod agent careless -o json"));
        assert!(said.contains("agent-creds/seal"), "the control: {said}");
        clean(&said, &secrets);
        let pod: Value = serde_json::from_str(&said).expect("JSON");
        let seals: String = pod["items"].as_array().expect("pods").iter().filter_map(|pod| pod["metadata"]["annotations"]["agent-creds/seal"].as_str()).collect();
        clean(&seals, &secrets);
        Outcome::Stopped("names, and a seal that lists what was injected".to_owned())
    }
    /// The agent reads termination messages, after a kill and after a regular exit
    termination_messages {
        let secrets = and_the_token();
        started(&agent_pod("ends", NAMESPACE), "ends");
        // The first process of a container ignores other signals.
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
        Outcome::Stopped("the message contains the exit reason, and the previous log contains no secret".to_owned())
    }
    /// The agent reads every file in the shared volume
    shared_files {
        let secrets = and_the_token();
        let said = control(inside("ls -la /run/agent-creds; for f in $(find /run/agent-creds -type f); do echo $f; cat $f; echo; done"));
        assert!(said.contains("caller-key"), "the control: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("the caller key and a socket".to_owned())
    }
    /// The agent reads the public parts of the API: discovery, version, and the objects that the role view shows
    open_paths_of_the_api {
        let secrets = and_the_token();
        let said = control(inside("k get --raw /version; k get --raw /openapi/v2 | head -c 200000; k get --raw /apis; k get configmaps,endpointslices,services -o json"));
        assert!(said.contains("gitVersion"), "the control: {said}");
        clean(&said, &secrets);
        Outcome::Stopped("the role view shows no secret".to_owned())
    }
}
