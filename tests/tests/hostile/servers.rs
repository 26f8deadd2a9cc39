//! Overload of the identity server and of admission from the cluster's network while other clients use them, and direct
//! calls of admission.

use serde_json::{Value, json};

use crate::hostile::agent::{NAMESPACE, agent_pod, as_administrator, in_pod_of};
use crate::hostile::apart::APART;
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::exchange::{SERVER, claims, genuine, mounted, post, shown_in, signed, strangers_key};
use crate::hostile::people::Person;
use crate::hostile::tunnel::{request, said, said_from_the_node};

const ADMIT: &str = "agent-creds-admit.agent-creds-system.svc";

/// Sends many requests with this body on each of a few connections, and returns the statuses of all answers.
fn flood(body: &str) -> Vec<String> {
    let mut bytes = request(SERVER, "/identity", "keep-alive", body).repeat(60);
    bytes.extend(request(SERVER, "/identity", "close", body));
    let connection = || said(NAMESPACE, SERVER, &bytes);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(connection)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    answers.concat().split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

/// Checks that a server of the release answers these bytes with this status.
#[track_caller]
fn answered(host: &str, bytes: &[u8], status: &str) -> Outcome {
    let said = said_from_the_node(host, bytes);
    assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {said}");
    Outcome::Stopped(status.to_owned())
}

/// Returns an AdmissionReview of a pod, as an API server sends it.
fn review(pod: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": "CREATE", "namespace": NAMESPACE, "object": pod, "userInfo": {}},
    })
    .to_string()
}

attempts! {
    /// The agent sends 240 forged tokens, which name another agent's pod, while that pod renews its identity
    flood_of_identity {
        let victim = mounted(APART, "agent", "agent-creds-identity");
        let mut forged = claims();
        forged["kubernetes.io"] = json!({"namespace": APART, "serviceaccount": {"name": "devops-agent", "uid": "0"},
            "pod": {"name": "agent", "uid": agent_creds_tests::cluster::get(&["pod", "agent", "--namespace", APART])["metadata"]["uid"]}});
        let body = json!({"token": signed(&forged, &strangers_key())}).to_string();
        let statuses = flood(&body);
        let count = |status: &str| statuses.iter().filter(|found| *found == status).count();
        assert!(count("429") > 50 && count("403") > 0 && count("200") == 0, "{statuses:?}");
        // Several requests, so that each of the two servers answers.
        for _ in 0..4 {
            control(shown_in(APART, &victim));
        }
        let grants = control(in_pod_of(APART, "agent", "agent", "wget -qO- --header \"Authorization: Bearer $(cat /run/agent-creds/caller-key)\" $AGENT_CREDS_URL/v1/grants"));
        assert!(grants.contains("\"state\":\"ready\""), "{grants}");
        Outcome::Stopped("429 for the flooding address; the named pod still renews".to_owned())
    }
    /// The agent sends bodies of 9 MiB, of another type, and without meaning to the identity server
    bodies_to_identity {
        control(post(SERVER, "/identity", &format!("{{\"token\":\"{}\"}}", genuine())));
        let send = |length: usize, kind: &str, status: &str| {
            let head = format!("POST /identity HTTP/1.1\r\nHost: {SERVER}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
            answered(SERVER, &[head.as_bytes(), &vec![b'0'; length.min(16 * 1024 + 1)]].concat(), status)
        };
        all(vec![
            send(9 << 20, "application/json", "413 Payload Too Large"),
            send(100, "text/plain", "415 Unsupported Media Type"),
            send(100, "application/json", "400 Bad Request"),
        ])
    }
    /// The agent sends four bodies of 9 MiB at once to admission, which is reachable in the cluster, while a pod is
    /// created
    flood_of_admission {
        control(post(ADMIT, "/mutate", &review(&agent_pod("asked", NAMESPACE))));
        let flooding = std::thread::spawn(|| {
            let body = " ".repeat(9 << 20);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| answered(ADMIT, &request(ADMIT, "/mutate", "close", &body), "413 Payload Too Large"));
                }
            });
        });
        let mut made = 0;
        while !flooding.is_finished() {
            control(Person::administrator(NAMESPACE).would_create(&agent_pod("meanwhile", NAMESPACE)));
            made += 1;
        }
        flooding.join().expect("each was answered");
        assert!(made > 0);
        Outcome::Stopped("413 Payload Too Large, and pods are admitted meanwhile".to_owned())
    }
    /// The agent requests a seal directly from admission, past the API server, for a pod that would be refused
    seal_asked_of_admission {
        let said = control(post(ADMIT, "/mutate", &review(&agent_pod("asked", NAMESPACE))));
        assert!(said.contains("\"patch\""), "{said}");
        let refused = |change: &dyn Fn(&mut Value), words: &str| {
            let mut pod = agent_pod("asked", NAMESPACE);
            change(&mut pod);
            let said = control(post(ADMIT, "/mutate", &review(&pod)));
            let met = if said.contains("\"patch\"") { Ok(said) } else { Err(said) };
            stopped(met, words)
        };
        all(vec![
            refused(&|pod| pod["spec"]["shareProcessNamespace"] = json!(true), "every container could read the sidecar's memory"),
            refused(&|pod| pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "agent-creds-identity", "mountPath": "/x"}]), "is the sidecar's alone"),
        ])
    }
    /// The agent requests other paths and methods of both servers
    paths_of_the_servers {
        control(post(SERVER, "/identity", &format!("{{\"token\":\"{}\"}}", genuine())));
        let asked = |host: &str, line: &str, status: &str| {
            answered(host, format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes(), status)
        };
        all(vec![
            asked(SERVER, "GET /identity", "405 Method Not Allowed"),
            asked(SERVER, "GET /debug/pprof", "404 Not Found"),
            asked(SERVER, "GET /identity/../metrics", "404 Not Found"),
            asked(ADMIT, "GET /mutate", "405 Method Not Allowed"),
            asked(ADMIT, "POST /identity", "404 Not Found"),
        ])
    }
    /// `seal.tolerate`, meant for fields of a newer Kubernetes, names fields that would change the sidecar
    tolerated_fields {
        let policy = |entry: &str| {
            let map = agent_creds_tests::cluster::get(&["configmap", "agent-creds-policy", "--namespace", "agent-creds-system"]);
            let mut policy: Value = serde_yaml::from_str(map["data"]["policy.yaml"].as_str().expect("a policy")).expect("YAML");
            policy["seal"] = json!({"tolerate": [entry]});
            let ca = control(as_administrator(&["get", "configmap", "kube-root-ca.crt", "--output=jsonpath={.data.ca\\.crt}"]));
            agent_creds_webhook::policy::Policy::parse(&policy.to_string(), ca.as_bytes()).map(|_| String::new()).map_err(|error| error.to_string())
        };
        control(policy("container.newField=\"x\""));
        let words = "which no version of Kubernetes adds by itself";
        all([
            "container.env=[]",
            "container.lifecycle.postStart={\"exec\":{\"command\":[\"x\"]}}",
            "container.readinessProbe={\"exec\":{\"command\":[\"x\"]}}",
            "container.securityContext.capabilities.add=[\"SYS_PTRACE\"]",
            "container.stdin=true",
            "volumes[agent-creds-identity].projected.sources[].secret={\"name\":\"x\"}",
        ]
        .map(|entry| stopped(policy(entry), words))
        .into())
    }
}
