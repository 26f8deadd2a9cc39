//! Changes to a running pod: its annotations, its images, programs in the sidecar's container.
//! ValidatingAdmissionPolicies refuse them for every user.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use agent_creds_tests::cluster::kubectl;
use serde_json::json;

use crate::hostile::agent::{NAMESPACE, agent_pod, as_account, as_administrator, in_pod};
use crate::hostile::attempt::{Met, Outcome, all, attempts, control, stopped};
use crate::hostile::people::Person;

const DRY: &str = "--dry-run=server";
/// Part of the refusal of a change of annotations.
const FIXED: &str = "cannot be added, changed or removed later";

/// Forwards a port of the agent's pod, and sends this request to it.
fn forwarded(request: &str) -> Met {
    let token = kubectl(&["create", "token", "editor", "--namespace", NAMESPACE])?;
    let token = format!("--token={}", token.trim());
    let mut forward = Command::new("kubectl")
        .args([token.as_str(), "port-forward", "pod/agent", ":9911", "--namespace", NAMESPACE])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let mut line = String::new();
    // kubectl exits if its output is closed.
    let mut said = BufReader::new(forward.stdout.take().expect("piped"));
    said.read_line(&mut line).expect("its first line");
    let port =
        line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port").to_owned();
    let mut answer = String::new();
    let asked = TcpStream::connect(format!("127.0.0.1:{port}")).and_then(|mut stream| {
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    forward.kill().and_then(|()| forward.wait().map(drop)).expect("ending kubectl");
    asked.expect("an answer");
    if answer.starts_with("HTTP/1.1 200") { Ok(answer) } else { Err(answer) }
}

attempts! {
    /// Accounts with `edit` and the administrator start a program in the sidecar's container with `exec`
    exec_into_the_sidecar {
        let words = "exec and attach are denied for container agent-creds";
        let exec = |container: &'static str| ["exec", "agent", container, "--", "/agent-creds-sidecar", "probe", "liveness"];
        control(as_account("editor", &["exec", "agent", "--container=agent", "--", "true"]));
        all(vec![
            stopped(as_account("editor", &exec("--container=agent-creds")), words),
            stopped(as_administrator(&exec("--container=agent-creds")), words),
        ])
    }
    /// An account with `edit` attaches to the sidecar's process
    attach_to_the_sidecar {
        // A request for the agent's container reaches the kubelet, which refuses it because it is not a stream.
        let path = "/api/v1/namespaces/hostile/pods/agent/attach?container=agent&stdout=true";
        let met = Person::editor().pipe(&json!({}), &["create", "--raw", path]).expect_err("no stream");
        assert!(met.contains("pgrade"), "{met}");
        stopped(
            as_account("editor", &["attach", "agent", "--container=agent-creds"]),
            "exec and attach are denied for container agent-creds",
        )
    }
    /// An account with `edit` forwards the sidecar's port to another machine, without the caller key
    port_forward_to_the_sidecar {
        let ask = |key: &str| format!("GET /v1/token/pagerduty HTTP/1.1\r\nHost: localhost\r\n{key}Connection: close\r\n\r\n");
        let key = control(in_pod("agent", "agent", "cat /run/agent-creds/caller-key"));
        control(forwarded(&ask(&format!("Authorization: Bearer {}\r\n", key.trim()))));
        all(vec![
            stopped(forwarded(&ask("")), "invalid_client"),
            stopped(forwarded(&ask(&format!("Authorization: Bearer {}\r\n", "0".repeat(64)))), "invalid_client"),
        ])
    }
    /// An account with `edit` calls the sidecar's port through the API server's pod proxy
    pod_proxy_to_the_sidecar {
        let proxy = |port: u16, path: &str| format!("/api/v1/namespaces/{NAMESPACE}/pods/agent:{port}/proxy/{path}");
        let metrics = control(as_account("editor", &["get", "--raw", &proxy(9912, "metrics")]));
        assert!(metrics.contains("agent_creds_grant_state"), "{metrics}");
        stopped(as_account("editor", &["get", "--raw", &proxy(9911, "v1/grants")]), "connection refused")
    }
    /// An account with `edit` and the administrator set the sidecar's image to another one, to steal its tokens and
    /// then restore the image
    image_swapped {
        let swap = |container: &str| json!({"spec": {"initContainers": [{"name": container, "image": "localhost/hostile-agent:1"}]}}).to_string();
        let other = json!({"spec": {"containers": [{"name": "agent", "image": "localhost/hostile-agent:2"}]}}).to_string();
        control(as_account("editor", &["patch", "pod", "agent", DRY, "--patch", &other]));
        let words = "the image of container agent-creds cannot be changed in a running pod";
        all(vec![
            stopped(as_account("editor", &["patch", "pod", "agent", DRY, "--patch", &swap("agent-creds")]), words),
            stopped(as_administrator(&["patch", "pod", "agent", DRY, "--patch", &swap("agent-creds")]), words),
        ])
    }
    /// An account with `edit` uses the sidecar's image in the agent's own container
    image_taken {
        let image = |image: &str| json!({"spec": {"containers": [{"name": "agent", "image": image}]}}).to_string();
        control(as_account("editor", &["patch", "pod", "agent", DRY, "--patch", &image("localhost/hostile-agent:2")]));
        stopped(
            as_account("editor", &["patch", "pod", "agent", DRY, "--patch", &image("localhost/agent-creds/sidecar:test")]),
            "only container agent-creds may use its image",
        )
    }
    /// An account with `edit` adds, changes and removes annotations, including the seal
    annotations_changed {
        control(as_account("editor", &["annotate", "pod", "agent", DRY, "example.com/a=b"]));
        let annotate = |change: &'static str| as_account("editor", &["annotate", "pod", "agent", DRY, "--overwrite", change]);
        all([
            "agent-creds/grants=steered",
            "agent-creds/service-account=vault/devops-agent-creds",
            "agent-creds/inject-",
            "agent-creds/seal=e30.e30.AAAA",
            "agent-creds/status-",
            "agent-creds/new=1",
        ]
        .map(|change| stopped(annotate(change), FIXED))
        .into())
    }
    /// The administrator changes annotations through `pods/status`, which keeps metadata
    annotations_changed_through_status {
        let patch = |key: &str| json!({"metadata": {"annotations": {key: "steered"}}}).to_string();
        let status = |key: &str| as_administrator(&["patch", "pod", "agent", "--subresource=status", DRY, "--patch", &patch(key)]);
        control(status("example.com/a"));
        all(["agent-creds/grants", "agent-creds/seal", "agent-creds/new"].map(|key| stopped(status(key), FIXED)).into())
    }
    /// The administrator adds annotations through a Binding, from which the API server copies them to the pod
    annotations_changed_through_a_binding {
        let mut pod = agent_pod("unbound", NAMESPACE);
        pod["spec"]["schedulerName"] = json!("none");
        let administrator = Person::administrator(NAMESPACE);
        control(administrator.pipe(&pod, &["create"]));
        let bind = |key: &str| {
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "unbound", "annotations": {key: "steered"}},
                "target": {"apiVersion": "v1", "kind": "Node", "name": "node"}});
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/unbound/binding?dryRun=All");
            Person::administrator(NAMESPACE).pipe(&binding, &["create", "--raw", &path])
        };
        let allowed = bind("example.com/a");
        let words = "a Binding cannot add them";
        let outcomes = ["agent-creds/grants", "agent-creds/inject", "agent-creds/new"].map(|key| stopped(bind(key), words));
        control(administrator.run(&["delete", "pod", "unbound", "--now"]));
        control(allowed);
        all(outcomes.into())
    }
    /// An account with `edit` removes or changes the label by which monitoring finds injected pods
    label_of_injected_pods {
        control(as_account("editor", &["label", "pod", "agent", DRY, "example.com/a=b"]));
        let words = "only the webhook sets the label agent-creds/injected";
        all(["agent-creds/injected-", "agent-creds/injected=false"]
            .map(|change| stopped(as_account("editor", &["label", "pod", "agent", DRY, "--overwrite", change]), words))
            .into())
    }
    /// The agent and an account with `edit` delete the policies and the webhook configurations
    defences_taken_down {
        let kinds = ["validatingadmissionpolicy/agent-creds-exec", "validatingwebhookconfiguration/agent-creds", "mutatingwebhookconfiguration/agent-creds"];
        let mut outcomes: Vec<Outcome> = Vec::new();
        for object in kinds {
            control(as_administrator(&["delete", object, DRY]));
            outcomes.push(stopped(as_account("editor", &["delete", object]), "cannot delete resource"));
            outcomes.push(stopped(crate::hostile::agent::inside(&format!("k delete {object}")), "cannot delete resource"));
        }
        all(outcomes)
    }
}
