//! The sidecar's ports, taken by another container before the sidecar, beside it and after its end.

use agent_creds_tests::cluster::{eventually, get, said};
use agent_creds_tests::platform::START;
use rustix::process::Signal;
use serde_json::json;

use crate::hostile::agent::{IMAGE, NAMESPACE, agent_pod, in_pod, inside};
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::pods::{Process, gone, sidecar_status, started, would_start};

/// Serves "impostor" on both ports as soon as they are free, and logs the requests.
const SQUAT: &str = "echo impostor >/tmp/grants; mkdir -p /tmp/v1; echo impostor >/tmp/v1/grants
    for port in 9911 9912; do (while :; do httpd -f -v -p 0.0.0.0:$port -h /tmp >>/tmp/heard 2>&1; done) >/dev/null 2>&1 & done";

/// Returns a command that listens on a port.
fn listening(port: u16) -> String {
    format!("wire listen 127.0.0.1:{port}")
}

attempts! {
    /// Another container declares one of the sidecar's ports
    ports_declared {
        let declaring = |port: u16| {
            let mut pod = agent_pod("declares", NAMESPACE);
            pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": port}]);
            would_start(&pod)
        };
        control(declaring(9913));
        all(vec![
            stopped(declaring(9911), "the sidecar listens on 9911; set annotation agent-creds/port to a free port"),
            stopped(declaring(9912), "the sidecar listens on 9912; set annotation agent-creds/metrics-port to a free port"),
        ])
    }
    /// Another container listens on a port of the running sidecar, on loopback and on all addresses
    ports_taken_beside {
        control(inside(&listening(9913)));
        let everywhere = listening(9911).replace("127.0.0.1", "0.0.0.0");
        all([listening(9911), everywhere, listening(9912)].map(|script| stopped(inside(&script), "Address already in use")).into())
    }
    /// An init container that is first in the manifest takes the ports before the sidecar starts
    ports_taken_by_an_init_container {
        let mut pod = agent_pod("early", NAMESPACE);
        let script = format!("({}); ({}) && echo free", listening(9911), listening(9913));
        pod["spec"]["initContainers"] = json!([{"name": "squatter", "image": IMAGE, "command": ["sh", "-c", script]}]);
        started(&pod, "early");
        let stored = get(&["pod", "early", "--namespace", NAMESPACE]);
        assert_eq!(stored["spec"]["initContainers"][0]["name"], "agent-creds", "the sidecar is the first init container");
        let met = said(&["logs", "early", "--container", "squatter", "--namespace", NAMESPACE]);
        gone("early", NAMESPACE);
        let log = control(met);
        assert!(log.contains("free"), "the control: another port is free: {log}");
        stopped(Err(log), "Address already in use")
    }
    /// Another container takes the ports after a crash, which only the node's administrator can cause, and answers
    /// requests
    ports_taken_after_a_crash {
        started(&agent_pod("crashed", NAMESPACE), "crashed");
        let good = "wget -q -O - --header \"Authorization: Bearer $(cat $AGENT_CREDS_KEY_FILE)\" $AGENT_CREDS_URL/v1/grants";
        control(in_pod("crashed", "agent", &format!("{good} | grep pagerduty")));
        control(in_pod("crashed", "agent", SQUAT));
        Process::sidecar("crashed", NAMESPACE).kill(Signal::KILL);
        // The sidecar reports the taken port and exits repeatedly, listens on no other port, and is never started for
        // the kubelet.
        let log = eventually(START, || {
            let status = sidecar_status("crashed", NAMESPACE);
            let log = said(&["logs", "crashed", "--container", "agent-creds", "--previous", "--namespace", NAMESPACE]).unwrap_or_default();
            let taken = log.contains("another container of the pod has taken it") || status.to_string().contains("has taken it");
            if taken && status["started"] != true { Ok(log) } else { Err(format!("{status} {log}")) }
        });
        let answer = control(in_pod("crashed", "agent", good));
        assert!(answer.contains("impostor"), "the control: the impostor answers the agent, which only deceives itself: {answer}");
        // Only the agent sends requests to the impostor.
        assert!(control(in_pod("crashed", "agent", "cat /tmp/heard")).contains("127.0.0.1"), "the control: requests are logged");
        let heard = control(in_pod("crashed", "agent", "grep -v 127.0.0.1 /tmp/heard || true"));
        assert!(!heard.contains("response:"), "{heard}");
        gone("crashed", NAMESPACE);
        stopped(Err(format!("{log}has taken it")), "has taken it")
    }
    /// An impostor answers probes on both ports while the sidecar cannot start
    probes_by_an_impostor {
        let mut pod = agent_pod("probed", NAMESPACE);
        pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 8080}]);
        started(&pod, "probed");
        let sidecar = &get(&["pod", "probed", "--namespace", NAMESPACE])["spec"]["initContainers"][0];
        for probe in ["startupProbe", "livenessProbe"] {
            assert_eq!(sidecar[probe]["exec"]["command"][0], "/agent-creds-sidecar", "the probe uses the sidecar's own socket: {sidecar}");
        }
        assert_eq!(sidecar_status("probed", NAMESPACE)["started"], true, "the control: the sidecar passes its probe");
        control(in_pod("probed", "agent", SQUAT));
        Process::sidecar("probed", NAMESPACE).kill(Signal::KILL);
        eventually(START, || {
            let status = sidecar_status("probed", NAMESPACE);
            if status["restartCount"].as_i64() >= Some(2) && status["started"] != true { Ok(()) } else { Err(status.to_string()) }
        });
        let answer = control(in_pod("probed", "agent", "wget -q -O - http://127.0.0.1:9912/grants"));
        assert!(answer.contains("impostor"), "both ports answer with 200: {answer}");
        gone("probed", NAMESPACE);
        Outcome::Stopped("the kubelet's probes use a socket in a volume that only the sidecar mounts".to_owned())
    }
}
