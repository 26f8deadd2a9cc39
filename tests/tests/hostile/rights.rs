//! The rights of the agent's account: writes that would echo a Secret, impersonation, and escalation.

use agent_creds_tests::cluster::SYSTEM;
use agent_creds_tests::platform::GRANT;
use serde_json::json;

use crate::hostile::agent::{NAMESPACE, as_account, as_administrator, inside};
use crate::hostile::apart::CREDENTIAL;
use crate::hostile::attempt::{all, attempts, control, stopped};
use crate::hostile::people::Person;

attempts! {
    /// The agent writes to the grant Secret in ways whose answer would echo it: PUT, DELETE and apply
    secrets_echoed_by_a_write {
        let path = format!("/api/v1/namespaces/hostile/secrets/{GRANT}");
        let manifest = format!(
            r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"{GRANT}","namespace":"hostile"}}}}"#
        );
        let echoed = control(as_administrator(&["label", "secret", GRANT, "echo=1", "--dry-run=server", "--output=yaml"]));
        assert!(echoed.contains("refresh_token"), "{echoed}");
        all(vec![
            stopped(inside(&format!("echo '{manifest}' | k replace --raw {path} -f -")), "cannot update resource \"secrets\""),
            stopped(inside(&format!("k delete --raw {path}")), "cannot delete resource \"secrets\""),
            stopped(
                inside(&format!("echo '{manifest}' | k apply --server-side --force-conflicts -o yaml -f -")),
                "cannot patch resource \"secrets\"",
            ),
        ])
    }
    /// The agent creates a token of the credential account
    token_of_the_credential_account {
        // The identity server may create one; a policy refuses it to other accounts with the right.
        let server = "--as=system:serviceaccount:agent-creds-system:agent-creds-identity";
        control(as_administrator(&["create", "token", CREDENTIAL, server]));
        let words = "only the identity server and the kubelet may create tokens of a credential account";
        let _ = stopped(as_administrator(&["create", "token", CREDENTIAL]), words);
        // The agent may assume the account, a verb that only the identity server checks.
        control(inside(&format!("k auth can-i assume serviceaccounts/{CREDENTIAL} -n hostile")));
        stopped(inside(&format!("k create token {CREDENTIAL} -n hostile")), "cannot create resource \"serviceaccounts/token\"")
    }
    /// The agent impersonates the credential account, the identity server and system:masters
    impersonation {
        let be = |user: &str| format!("get --raw /api/v1/namespaces/hostile/secrets/{GRANT} {user}");
        let credential = format!("--as=system:serviceaccount:hostile:{CREDENTIAL}");
        control(as_administrator(&["get", "secret", GRANT, &credential]));
        all(vec![
            stopped(inside(&format!("k {}", be(&credential))), "cannot impersonate resource \"serviceaccounts\""),
            stopped(
                inside(&format!("k {}", be("--as=system:serviceaccount:agent-creds-system:agent-creds-identity"))),
                "cannot impersonate resource \"serviceaccounts\"",
            ),
            stopped(inside(&format!("k {}", be("--as=root --as-group=system:masters"))), "cannot impersonate resource"),
        ])
    }
    /// The agent creates a pod that mounts the grant Secret, or that runs as the credential account
    pod_of_ones_own {
        let pod = |spec: serde_json::Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "own", "namespace": NAMESPACE}, "spec": spec});
        let container = json!([{"name": "a", "image": "localhost/hostile-agent:1"}]);
        let pods = [
            pod(json!({"containers": container, "volumes": [{"name": "s", "secret": {"secretName": GRANT}}]})),
            pod(json!({"containers": container, "serviceAccountName": CREDENTIAL})),
        ];
        control(Person::editor().would_create(&pods[0]));
        // A policy refuses this one also to accounts that may create pods.
        let words = "only the keep-alive pods of agent-creds may run as one";
        let _ = stopped(Person::editor().would_create(&pods[1]), words);
        all(pods
            .map(|pod| stopped(inside(&format!("echo '{pod}' | k create -f -")), "cannot create resource \"pods\""))
            .into())
    }
    /// The agent and an account with `edit` bind the credential account's Role, or cluster-admin, to themselves
    rights_taken {
        let escalations = [
            format!("create rolebinding mine --role=agent-creds-{CREDENTIAL} --serviceaccount=hostile:devops-agent"),
            "create clusterrolebinding mine --clusterrole=cluster-admin --serviceaccount=hostile:devops-agent".to_owned(),
            "create role mine --verb=get --resource=secrets".to_owned(),
        ];
        let mut outcomes = Vec::new();
        for escalation in escalations {
            let words: Vec<_> = escalation.split(' ').chain(["--dry-run=server"]).collect();
            control(as_administrator(&words));
            outcomes.push(stopped(inside(&format!("k {escalation} -n hostile")), "is forbidden"));
            outcomes.push(stopped(as_account("editor", &words), "is forbidden"));
        }
        all(outcomes)
    }
    /// The agent and an account with `edit` read the seal keys, the CA's key and the release's other Secrets
    keys_of_the_release {
        let names = ["agent-creds-seal", "agent-creds-certificates"];
        let mut outcomes = Vec::new();
        for name in names {
            control(as_administrator(&["get", "secret", name, "--namespace", SYSTEM]));
            let words = "cannot get resource \"secrets\"";
            outcomes.push(stopped(inside(&format!("k get secret {name} -n {SYSTEM}")), words));
            outcomes.push(stopped(as_account("editor", &["get", "secret", name, "--namespace", SYSTEM]), words));
        }
        all(outcomes)
    }
    /// The agent replaces the identity server's CA, so that the sidecar sends its token to another server
    ca_of_the_identity_server_replaced {
        control(inside(&format!("k get configmap agent-creds-ca -n {SYSTEM}")));
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "agent-creds-ca", "namespace": SYSTEM}, "data": {"ca.crt": "mine"}});
        control(Person::administrator(NAMESPACE).pipe(&manifest, &["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--namespace", SYSTEM]));
        let words = "cannot patch resource \"configmaps\"";
        let apply = ["apply", "--server-side", "--force-conflicts", "--namespace", SYSTEM];
        all(vec![
            stopped(inside(&format!("echo '{manifest}' | k apply --server-side --force-conflicts -f -")), words),
            stopped(Person::editor().pipe(&manifest, &apply), words),
        ])
    }
    /// The agent uses the kubelet through the API server's proxy: its list of pods, and a program in the sidecar
    node_proxy {
        control(as_administrator(&["get", "--raw", "/api/v1/nodes/node/proxy/pods"]));
        all(vec![
            stopped(inside("k get --raw /api/v1/nodes/node/proxy/pods"), "cannot get resource \"nodes/proxy\""),
            stopped(
                inside("echo | k create --raw '/api/v1/nodes/node/proxy/run/hostile/agent/agent-creds?cmd=/agent-creds-sidecar' -f -"),
                "cannot create resource \"nodes/proxy\"",
            ),
        ])
    }
    /// The agent uses the kubelet's own port on the node, with its token and without one
    kubelet_port {
        let kubelet = |token: &str, verb: &str| format!("kubectl --server=https://10.99.0.1:10250 --insecure-skip-tls-verify {token} {verb}");
        // The port is reachable: the kubelet itself refuses.
        control(inside("echo hello hello | nc -w 5 10.99.0.1 10250"));
        control(as_administrator(&["get", "--raw", "/api/v1/nodes/node/proxy/pods"]));
        let mine = "--token=\"$(cat $S/token)\"";
        all(vec![
            stopped(inside(&kubelet(mine, "get --raw /pods")), "Forbidden (user=system:serviceaccount:hostile:devops-agent"),
            stopped(
                inside(&format!("echo | {}", kubelet(mine, "create --raw '/run/hostile/agent/agent-creds?cmd=/agent-creds-sidecar' -f -"))),
                "Forbidden (user=system:serviceaccount:hostile:devops-agent",
            ),
            stopped(inside(&kubelet("--token=none", "get --raw /pods")), "the server has asked for the client to provide credentials"),
        ])
    }
}
