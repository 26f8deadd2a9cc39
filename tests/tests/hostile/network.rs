//! Connections of the agent over the pod network.

use agent_creds_tests::cluster::kubectl;

use crate::hostile::agent::{NAMESPACE, inside};
use crate::hostile::attempt::{Met, Outcome, all, attempts, control, stopped};
use crate::hostile::local::{request, written};
use crate::hostile::pods::NEIGHBOUR;

/// Returns the address of a pod.
fn address(pod: &str) -> String {
    kubectl(&["get", "pod", pod, "--namespace", NAMESPACE, "-o", "jsonpath={.status.podIP}"])
        .expect("its address")
}

/// Sends a plain GET.
fn fetched(address: &str, path: &str) -> Met {
    let answer = inside(&format!(
        "{} | wire send {address} 5",
        written(&request(&format!("GET {path} HTTP/1.1"), &["Host: x"]))
    ))?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(answer) } else { Err(answer) }
}

attempts! {
    /// The agent connects to the local API of another pod over the pod network
    sidecar_of_another_pod {
        let other = address(&NEIGHBOUR);
        control(fetched(&format!("{other}:9912"), "/metrics"));
        stopped(inside(&format!("wire reach {other}:9911")), "Connection refused")
    }
    /// The agent requests the API's paths on the metrics port of another pod, which is reachable over the pod network
    metrics_port_abused {
        let other = format!("{}:9912", address(&NEIGHBOUR));
        control(fetched(&other, "/metrics"));
        all(["/v1/grants", "/v1/token/pagerduty", "/", "/debug/pprof/heap", "/metrics/../v1/grants"]
            .map(|path| stopped(fetched(&other, path), "HTTP/1.1 404 Not Found"))
            .into())
    }
    /// The agent connects to ports of the control plane, of the node's container runtime, and to the kubelet's
    /// read-only port
    control_plane_ports {
        control(inside("wire reach 10.96.0.1:443 && wire reach 10.99.0.1:10250"));
        // etcd, its peer port, containerd's metrics, kubelet, scheduler, controller manager
        all([2379, 2380, 1338, 10255, 10257, 10259].map(|port| stopped(inside(&format!("wire reach 10.99.0.1:{port}")), "Connection refused")).into())
    }
    /// The agent calls the API server with an unknown token, and as an anonymous user
    api_anonymous {
        let get = "get --raw /api/v1/namespaces/hostile/pods";
        control(inside(&format!("k {get}")));
        let api = "kubectl --server=https://kubernetes.default.svc --certificate-authority=$S/ca.crt";
        all(vec![
            stopped(inside(&format!("{api} --token=none {get}")), "nauthorized"),
            stopped(inside(&format!("{api} --as=system:anonymous --token=\"$(cat $S/token)\" {get}")), "cannot impersonate"),
        ])
    }
    /// The agent looks for abstract sockets in the pod's network namespace, which need no mount
    abstract_sockets {
        let said = control(inside("cat /proc/net/unix; cat /proc/net/tcp /proc/net/tcp6"));
        assert!(said.contains("/run/agent-creds/agent.sock"), "the control: the sidecar's sockets are listed: {said}");
        assert!(said.contains("probe.sock"), "{said}");
        let named: Vec<_> = said.lines().filter_map(|line| line.split_whitespace().nth(7)).filter(|name| name.starts_with('@')).collect();
        assert!(named.is_empty(), "{named:?}");
        Outcome::Stopped("the probe socket is in a volume that the agent does not mount".to_owned())
    }
}
