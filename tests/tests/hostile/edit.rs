//! Attempts with the built-in roles `view` and `edit`, in the namespace of the grants and in another one. `edit` may
//! read Secrets, create pods and tokens, and impersonate accounts, so it has access to the grants in its namespace.

use agent_creds_tests::platform::GRANT;
use serde_json::json;

use crate::hostile::agent::{NAMESPACE, as_account, in_pod_of};
use crate::hostile::apart::{APART, CREDENTIAL, VAULT};
use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::people::Person;

const REMEDY: &str = "edit may read every Secret of its namespace; keep the grants in another one \
                      (agent-creds/service-account: other-namespace/name), where no agent's team has rights";

attempts! {
    /// An account with the role `view` reads both Secrets, creates a token of the credential account, and impersonates
    /// it
    view_near_the_grants {
        let credential = format!("--as=system:serviceaccount:hostile:{CREDENTIAL}");
        control(as_account("editor", &["get", "secret", GRANT]));
        control(as_account("viewer", &["get", "pods"]));
        all(vec![
            stopped(as_account("viewer", &["get", "secret", GRANT]), "cannot get resource \"secrets\""),
            stopped(as_account("viewer", &["get", "secrets"]), "cannot list resource \"secrets\""),
            stopped(as_account("viewer", &["create", "token", CREDENTIAL]), "cannot create resource \"serviceaccounts/token\""),
            stopped(as_account("viewer", &["get", "secret", GRANT, &credential]), "cannot impersonate resource"),
            stopped(as_account("viewer", &["exec", "agent", "--container=agent", "--", "true"]), "cannot create resource \"pods/exec\""),
        ])
    }
    /// An account with the role `edit` in the namespace of the grants reads both Secrets
    edit_beside_the_grants {
        let state = format!("{GRANT}-state");
        for name in [GRANT, &state] {
            assert!(control(as_account("editor", &["get", "secret", name, "--output=yaml"])).contains("data:"));
        }
        // A policy refuses tokens of the credential account; impersonating it is not refused.
        let token = as_account("editor", &["create", "token", CREDENTIAL]);
        let _ = stopped(token, "only the identity server and the kubelet may create tokens of a credential account");
        let credential = format!("--as=system:serviceaccount:{NAMESPACE}:{CREDENTIAL}");
        control(as_account("editor", &["get", "secret", &state, &credential]));
        Outcome::Documented(REMEDY.to_owned())
    }
    /// An account with `edit` in the agent's namespace reads grants in another namespace: directly, by a token, by
    /// impersonation, by a pod there
    edit_apart_from_the_grants {
        let editor = Person::editor_apart();
        let credential = format!("--as=system:serviceaccount:{VAULT}:{CREDENTIAL}");
        let there = ["--namespace", VAULT];
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own"}, "spec": {"serviceAccountName": CREDENTIAL, "containers": [{"name": "a", "image": "x"}]}});
        control(as_account("editor", &["get", "secret", GRANT]));
        control(editor.run(&["get", "secrets"]));
        all(vec![
            stopped(editor.run(&[&there[..], &["get", "secret", GRANT]].concat()), "cannot get resource \"secrets\""),
            stopped(editor.run(&[&there[..], &["get", "secrets"]].concat()), "cannot list resource \"secrets\""),
            stopped(
                editor.run(&[&there[..], &["create", "token", CREDENTIAL]].concat()),
                "cannot create resource \"serviceaccounts/token\"",
            ),
            stopped(editor.run(&[&there[..], &["get", "secret", GRANT, &credential]].concat()), "cannot impersonate resource"),
            stopped(editor.pipe(&pod, &[&there[..], &["create"]].concat()), "cannot create resource \"pods\""),
        ])
    }
    /// An account with `edit` in the agent's namespace creates a pod that mounts the grant Secret, or reads it into its
    /// environment
    secret_mounted_apart {
        let pod = |name: &str, namespace: &str| json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "a", "image": "localhost/hostile-agent:1", "command": ["sleep", "1000"],
                    "env": [{"name": "R", "valueFrom": {"secretKeyRef": {"name": GRANT, "key": "refresh_token"}}}]}],
            },
        });
        let (near, apart) = (Person::editor(), Person::editor_apart());
        control(near.pipe(&pod("reads", NAMESPACE), &["create"]));
        control(near.run(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/reads"]));
        control(in_pod_of(NAMESPACE, "reads", "a", "test -n \"$R\""));
        control(apart.pipe(&pod("reads", APART), &["create"]));
        let path = "{.status.containerStatuses[0].state.waiting.message}";
        let waits = format!("--for=jsonpath={path}=secret \"{GRANT}\" not found");
        let stuck = apart.run(&["wait", &waits, "--timeout=60s", "pod/reads"]);
        for editor in [near, apart] {
            control(editor.run(&["delete", "pod", "reads", "--now"]));
        }
        stuck.expect("the pod waits for a Secret in its own namespace");
        Outcome::Stopped(format!("secret \"{GRANT}\" not found: a pod can read only Secrets of its own namespace"))
    }
    /// An account with `edit` runs `exec` in the agent's own container, and requests a token from there
    edit_inside_the_agent {
        let editor = Person::editor_apart();
        let script = "wget -qO- --header \"Authorization: Bearer $(cat /run/agent-creds/caller-key)\" $AGENT_CREDS_URL/v1/token/pagerduty";
        let said = control(editor.run(&["exec", "agent", "--container=agent", "--", "sh", "-c", script]));
        assert!(said.contains("access_token") && !said.contains("refresh_token"), "{said}");
        let viewer = as_account("viewer", &["exec", "agent", "--container=agent", "--", "sh", "-c", script]);
        let _ = stopped(viewer, "cannot create resource \"pods/exec\"");
        Outcome::Documented(
            "an account that may exec into the agent gets its short-lived tokens, and no long-lived credential; grant edit or \
             pods/exec in an agent's namespace only to people who may use the agent's grants"
                .to_owned(),
        )
    }
    /// An account with `nodes/proxy`, which is root on the node, runs a program in the sidecar's container, past the
    /// API server's admission
    nodes_proxy_right {
        let run = |container: &str, program: &str| {
            let path = format!("/api/v1/nodes/node/proxy/run/hostile/agent/{container}?cmd={program}");
            Person::administrator(NAMESPACE).pipe(&json!({}), &["create", "--raw", &path])
        };
        // The program runs and prints its usage.
        let said = run("agent-creds", "/agent-creds-sidecar").unwrap_or_else(|said| said);
        assert!(said.contains("Usage") || said.contains("usage"), "{said}");
        Outcome::Documented("nodes/proxy is root on every node, past admission; grant it only to monitoring that you trust with all Secrets".to_owned())
    }
}
