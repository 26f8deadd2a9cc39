//! The sidecar as a process with the identity server: with a pod's tokens and the chart's rights, in two namespaces.

use std::ffi::OsStr;

use agent_creds_core::exchange_api::{CA_CONFIG_MAP, CA_KEY};
use agent_creds_sidecar::cli::{Cli, Command};
use agent_creds_tests::cluster::{self, command, kubectl, pipe};
use agent_creds_tests::sidecar::{Secrets, Setup, one};
use agent_creds_tests::standin::Standin;
use clap::Parser as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::environment::{Environment, RELEASE, timing};

/// Writes a grant into the credential account's namespace, and starts its provider.
async fn grant(environment: &Environment, secrets: &Secrets) -> Standin {
    let standin = one::provider(None).await;
    let secret = one::grant_secret(&standin, &environment.vault, secrets);
    pipe(&secret.to_string(), &["replace"]).expect("the grant Secret");
    standin
}

/// Creates a pod whose seal names the credential account, and the files that the kubelet would project for it.
async fn projected(environment: &Environment, secrets: &Secrets) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pod = environment.pod("agent-1", environment.sealed()).await;
    check_arguments(&pod["spec"]["initContainers"][0]["args"], &format!("{}/agent-creds", environment.vault));
    for (file, token) in [
        ("identity-token", environment.token(&pod).await),
        ("api-token", environment.create_token(&json!({})).await),
    ] {
        secrets.guard(&token);
        std::fs::write(folder.path().join(file), token).expect("our own folder");
    }
    folder
}

/// Checks that the sidecar accepts the arguments that admission writes, with the intended meaning.
fn check_arguments(arguments: &Value, credential: &str) {
    let arguments = arguments.as_array().into_iter().flatten().filter_map(Value::as_str);
    let cli = Cli::try_parse_from(["agent-creds-sidecar"].into_iter().chain(arguments));
    let Command::Serve(serve) = cli.expect("arguments").command else { panic!("not serve") };
    assert_eq!(serve.validate(), Ok(()));
    let exchange = serve.grants.exchange().expect("arguments").expect("an exchange");
    assert_eq!(exchange.credential.to_string(), credential);
}

fn sidecar(environment: &Environment, standin: &Standin, secrets: &Secrets, identity: &TempDir) -> Setup {
    let server = kubectl(&["config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"]);
    Setup::new(secrets)
        .in_cluster()
        .trust(standin.ca_pem())
        .argument(&format!("--grant=one={}/one", environment.vault))
        .argument(&format!("--api-server={}", server.expect("the API server's address")))
        .argument(&format!("--api-ca-file={}", cluster::directory().join("ca.crt").display()))
        .argument(&format!("--identity-server=https://{}", environment.address()))
        .argument(&format!("--identity-ca={RELEASE}/{CA_CONFIG_MAP}"))
        .argument(&format!("--credential={}/agent-creds", environment.vault))
        .argument(&format!("--identity-dir={}", identity.path().display()))
}

/// Publishes the CA, which every ServiceAccount may read.
fn publish(ca_pem: &str) {
    let meta = json!({"name": CA_CONFIG_MAP, "namespace": RELEASE});
    let group = "rbac.authorization.k8s.io";
    let kind = |kind: &str| json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": meta});
    let (mut role, mut binding) = (kind("Role"), kind("RoleBinding"));
    role["rules"] = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [CA_CONFIG_MAP], "verbs": ["get"]}
    ]);
    binding["roleRef"] = json!({"apiGroup": group, "kind": "Role", "name": CA_CONFIG_MAP});
    binding["subjects"] = json!([{"apiGroup": group, "kind": "Group", "name": "system:serviceaccounts"}]);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {CA_KEY: ca_pem}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [map, role, binding]});
    pipe(&list.to_string(), &["apply"]).expect("the CA");
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_sidecar_gets_its_grant_and_reports_missing_rights_with_commands() {
    let environment = Environment::start("sidecar", timing()).await;
    publish(environment.ca_pem());
    let secrets = Secrets::new();
    let standin = grant(&environment, &secrets).await;
    let identity = projected(&environment, &secrets).await;
    let one = sidecar(&environment, &standin, &secrets, &identity).start().await;
    one.becomes("one", "ready", "ok").await;
    assert_eq!(environment.counted("issued").await, 1);

    // The platform team has forgotten three objects for the next sidecar.
    for (kind, name) in [
        ("rolebinding", "agent-creds-agent-creds:assume"),
        ("role", "agent-creds-agent-creds:mint"),
        ("serviceaccount", "agent-creds"),
    ] {
        kubectl(&["delete", kind, name, "--namespace", &environment.vault]).expect("deleted");
    }
    let next =
        sidecar(&environment, &standin, &secrets, &identity).argument("--time-scale=0.1").start().await;
    for reason in ["assume_missing", "mint_missing", "account_missing"] {
        let grant: Value = next.becomes("one", "misconfigured", reason).await;
        let message = grant["message"].as_str().expect("a message");
        let (_, commands) = message.split_once(" run: ").expect("commands");
        let output = command(OsStr::new("sh"), &["-c", commands], "");
        assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    }
    next.becomes("one", "ready", "ok").await;
}
