//! What the agent reaches over the pod network.

use agent_creds_tests::cluster::{SYSTEM, kubectl};
use serde_json::{Value, json};

use crate::agent::{NAMESPACE, agent_pod, inside};
use crate::attempt::{Met, Outcome, all, attempts, control, stopped};
use crate::local::{request, written};
use crate::pods::NEIGHBOUR;
use crate::scan::{clean, lasting};

/// The address of a pod.
fn address(pod: &str) -> String {
    kubectl(&["get", "pod", pod, "--namespace", NAMESPACE, "-o", "jsonpath={.status.podIP}"])
        .expect("its address")
}

/// What a plain GET meets.
fn fetched(address: &str, path: &str) -> Met {
    let answer = inside(&format!(
        "{} | wire send {address} 5",
        written(&request(&format!("GET {path} HTTP/1.1"), &["Host: x"]))
    ))?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(answer) } else { Err(answer) }
}

/// JSON posted over TLS to a Service of the release, as the agent; its certificate is not asked for.
fn posted(service: &str, path: &str, token: &str, body: &Value) -> Met {
    inside(&format!(
        "{} >/tmp/body; kubectl --server=https://agent-creds-{service}.{SYSTEM}.svc --insecure-skip-tls-verify --token={token} create --raw {path} -f /tmp/body",
        written(&body.to_string()),
    ))
}

/// A review as the API server sends it, posted by the agent to `path`.
fn reviewed(path: &str, pod: &Value) -> Met {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "00000000-0000-0000-0000-000000000001", "operation": "CREATE", "namespace": NAMESPACE, "name": "agent",
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "system:serviceaccount:hostile:devops-agent"}, "object": pod,
        },
    });
    posted("admit", path, "none", &review)
}

attempts! {
    /// The local API of another pod over the pod network
    sidecar_of_another_pod {
        let other = address(&NEIGHBOUR);
        control(fetched(&format!("{other}:9912"), "/metrics"));
        stopped(inside(&format!("wire reach {other}:9911")), "Connection refused")
    }
    /// The API's paths on the metrics port of another pod, which the pod network reaches
    metrics_port_abused {
        let other = format!("{}:9912", address(&NEIGHBOUR));
        control(fetched(&other, "/metrics"));
        all(["/v1/grants", "/v1/token/pagerduty", "/", "/debug/pprof/heap", "/metrics/../v1/grants"]
            .map(|path| stopped(fetched(&other, path), "HTTP/1.1 404 Not Found"))
            .into())
    }
    /// Ports of the control plane, of the node's runtime and the kubelet's old read-only one
    control_plane_ports {
        control(inside("wire reach 10.96.0.1:443 && wire reach 10.99.0.1:10250"));
        // etcd, its peers, containerd's metrics, the kubelet, scheduler, controller manager
        all([2379, 2380, 1338, 10255, 10257, 10259].map(|port| stopped(inside(&format!("wire reach 10.99.0.1:{port}")), "Connection refused")).into())
    }
    /// The API server without a token that it knows, and without any
    api_anonymous {
        let get = "get --raw /api/v1/namespaces/hostile/pods";
        control(inside(&format!("k {get}")));
        let api = "kubectl --server=https://kubernetes.default.svc --certificate-authority=$S/ca.crt";
        all(vec![
            stopped(inside(&format!("{api} --token=none {get}")), "nauthorized"),
            stopped(inside(&format!("{api} --as=system:anonymous --token=\"$(cat $S/token)\" {get}")), "cannot impersonate"),
        ])
    }
    /// POST /mutate by hand: a pod of the agent's making is judged as any, and the answer holds no secret
    admission_by_hand {
        let answer = control(reviewed("/mutate", &agent_pod("agent", NAMESPACE)));
        assert!(answer.contains("\"allowed\":true"), "the control: it is answered: {answer}");
        let review: Value = serde_json::from_str(&answer).expect("JSON");
        let patch = review["response"]["patch"].as_str().expect("a patch");
        use base64::Engine as _;
        let patch = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(patch).expect("base64")).expect("text");
        clean(&format!("{answer}{patch}"), &lasting());
        let mut pod = agent_pod("agent", NAMESPACE);
        pod["spec"]["shareProcessNamespace"] = json!(true);
        let refused = control(reviewed("/mutate", &pod));
        assert!(refused.contains("\"allowed\":false"), "{refused}");
        stopped(Err(refused), "every container could read the sidecar's memory")
    }
    /// POST /validate by hand: what it says about a pod that imitates an injected one
    validation_by_hand {
        let mut pod: Value = serde_json::from_str(&control(inside("k get pod agent -o json"))).expect("JSON");
        let answer = control(reviewed("/validate", &pod));
        assert!(answer.contains("\"allowed\":true"), "the control: the pod itself is one: {answer}");
        pod["spec"]["initContainers"][0]["args"][0] = json!("audit");
        let refused = control(reviewed("/validate", &pod));
        clean(&refused, &lasting());
        assert!(refused.contains("\"allowed\":false"), "{refused}");
        stopped(Err(refused), "args")
    }
    /// The identity server asked without a token, with the agent's own, and on other paths
    identity_by_hand {
        control(inside(&format!("wire reach agent-creds-identity.{SYSTEM}.svc:443")));
        let own = "\"$(cat $S/token)\"";
        let asking = |token: &str, path: &str| posted("identity", path, token, &json!({}));
        let met = [asking("none", "/identity"), asking(own, "/identity"), asking(own, "/")];
        for said in met.iter().map(|met| met.as_ref().unwrap_or_else(|error| error)) {
            clean(said, &lasting());
        }
        let [first, second, third] = met;
        let mut outcomes: Vec<_> = [first, second].into_iter().map(|met| stopped(met, "orbidden")).collect();
        outcomes.push(stopped(third, "could not find the requested resource"));
        all(outcomes)
    }
    /// Sockets in the pod's network namespace: abstract ones, which need no mount
    abstract_sockets {
        let said = control(inside("cat /proc/net/unix; cat /proc/net/tcp /proc/net/tcp6"));
        assert!(said.contains("/run/agent-creds/agent.sock"), "the control: the sidecar's are seen: {said}");
        assert!(said.contains("probe.sock"), "{said}");
        let named: Vec<_> = said.lines().filter_map(|line| line.split_whitespace().nth(7)).filter(|name| name.starts_with('@')).collect();
        assert!(named.is_empty(), "{named:?}");
        Outcome::Stopped("the probe socket has a path in a volume that the agent has not".to_owned())
    }
}
