//! Changes of a grant's Secrets, with the role `edit`, that would send long-lived credentials to the attacker's server.

use std::net::TcpListener;
use std::time::Duration;

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use agent_creds_tests::event::{fingerprint, presentations};
use agent_creds_tests::platform::GRANT;
use agent_creds_tests::standin::Provider;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::hostile::agent::{NAMESPACE, PLATFORM, agent_pod, await_ready, in_pod};
use crate::hostile::apart::STEERED;
use crate::hostile::attempt::{Outcome, attempts, control};
use crate::hostile::people::Person;

/// Creates an agent with a grant that may be broken, after a new login.
fn begin() -> Person {
    let person = Person::editor();
    kubectl(&["delete", "pod", "steered", "--namespace", NAMESPACE, "--ignore-not-found", "--now"])
        .expect("deleted");
    let login = login();
    let mut secret = get(&["secret", GRANT, "--namespace", NAMESPACE]);
    secret["metadata"] =
        json!({"name": STEERED, "namespace": NAMESPACE, "labels": secret["metadata"]["labels"]});
    secret["data"]["refresh_token"] = json!(STANDARD.encode(&login));
    pipe(&secret.to_string(), &["apply", "--server-side", "--force-conflicts"]).expect("logging in");
    start();
    await_first_use(&login);
    becomes("ready", "");
    person
}

/// A new pod with the grant as it is.
fn begin_again() {
    kubectl(&["delete", "pod", "steered", "--namespace", NAMESPACE, "--now"]).expect("deleted");
    start();
}

fn start() {
    let mut pod = agent_pod("steered", NAMESPACE);
    let annotations = &mut pod["metadata"]["annotations"];
    annotations["agent-creds/grants"] = json!("steered");
    // The pod also starts with a grant that is refused.
    annotations["agent-creds/strict-start"] = json!("false");
    pipe(&pod.to_string(), &["create"]).expect("making the pod");
    await_ready("steered", NAMESPACE);
}

/// Waits until the provider has seen the login's token. Before that, a pod can be ready with a token of the previous
/// login. A claim that the previous pod left behind is waited for.
fn await_first_use(login: &str) {
    let login = fingerprint(login);
    eventually(Duration::from_secs(120), || {
        let log = PLATFORM.standin.log();
        let used = presentations(&log).any(|seen| seen.token_sha256.as_ref() == Some(&login));
        used.then_some(()).ok_or_else(|| format!("{:?}", grant()))
    });
}

/// Creates a login and returns its refresh token.
fn login() -> String {
    PLATFORM.standin.seed(Provider::PagerDuty, NAMESPACE)
}

/// Writes data into the grant Secret, as the attacker.
fn rewrite(person: &Person, label: &str, data: &Value) {
    let patch = json!({"metadata": {"labels": {"agent-creds/provider": label}}, "stringData": data});
    control(person.run(&["patch", "secret", STEERED, "--patch", &patch.to_string()]));
}

/// Returns the grant from the sidecar.
fn grant() -> Result<Value, String> {
    let script = "wget -qO- --header \"Authorization: Bearer $(cat /run/agent-creds/caller-key)\" $AGENT_CREDS_URL/v1/grants";
    let said = in_pod("steered", "agent", script)?;
    let all: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
    Ok(all["grants"][0].clone())
}

/// Waits until the grant has this state and reason.
#[track_caller]
fn becomes(state: &str, reason: &str) -> Value {
    eventually(Duration::from_secs(60), || is(state, reason))
}

fn is(state: &str, reason: &str) -> Result<Value, String> {
    let grant = grant()?;
    let is = grant["state"] == state && (reason.is_empty() || grant["reason"] == reason);
    if is { Ok(grant) } else { Err(grant.to_string()) }
}

/// The attacker's server on the node's network; a connection to it is a success.
struct Attacker(TcpListener);

impl Attacker {
    fn listens() -> Self {
        let listener = TcpListener::bind("10.99.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("not to wait");
        Self(listener)
    }

    fn grant_yaml(&self) -> String {
        let address = self.0.local_addr().expect("an address");
        format!(
            "token_url: https://{address}/token\nclient_auth: post\nallow_private: true\nscopes: [incidents.read]\n"
        )
    }

    fn was_reached(&self) -> bool {
        self.0.accept().is_ok()
    }

    /// Waits until the grant is refused for this reason. The server must not have been reached before.
    #[track_caller]
    fn waits_in_vain(&self, reason: &str) {
        eventually(Duration::from_secs(60), || {
            assert!(!self.was_reached(), "it succeeded: the attacker's server was reached");
            is("misconfigured", reason)
        });
    }
}

attempts! {
    /// An account with `edit` sets the `token_url` of another server and a login there, so that the client secret is sent to it
    client_secret_to_another_server {
        let person = begin();
        let attacker = Attacker::listens();
        let mine = json!({"grant.yaml": attacker.grant_yaml(), "refresh_token": "first-of-the-attacker"});
        rewrite(&person, "oauth2", &mine);
        attacker.waits_in_vain("secret_bound");
        // With another client_id, which is another login where there is no refresh token.
        rewrite(&person, "oauth2", &json!({"client_id": "another"}));
        attacker.waits_in_vain("secret_bound");
        // A new pod has never seen the provider, but the state has.
        begin_again();
        attacker.waits_in_vain("secret_bound");
        // With another client secret, the new server is used.
        rewrite(&person, "oauth2", &json!({"client_secret": "of-the-attacker"}));
        eventually(Duration::from_secs(60), || attacker.was_reached().then_some(()).ok_or_else(|| format!("{:?}", grant())));
        Outcome::Stopped("secret_bound: a client secret is sent only to the server that accepted it; nothing was sent".to_owned())
    }
    /// An account with `edit` sets `token_url`, `hosts` and `client_auth` of a built-in provider in the grant Secret
    hosts_of_a_built_in_provider {
        let person = begin();
        rewrite(&person, "pagerduty", &json!({"grant.yaml": "region: eu\nscopes: [incidents.read]\n"}));
        becomes("ready", "");
        let attacker = Attacker::listens();
        let tries = [attacker.grant_yaml(), "hosts: [evil.example.com]\n".to_owned(), "client_auth: basic\n".to_owned()];
        for file in tries {
            rewrite(&person, "pagerduty", &json!({"grant.yaml": file}));
            attacker.waits_in_vain("grant_invalid");
            rewrite(&person, "pagerduty", &json!({"grant.yaml": "scopes: [incidents.read]\n"}));
            becomes("ready", "");
        }
        assert!(!attacker.was_reached());
        Outcome::Stopped("grant_invalid: no grant changes the hosts of a built-in provider; nothing was sent".to_owned())
    }
    /// An account with `edit` changes the grant to `oauth2` with another token_url, or to another client, and keeps the
    /// state
    token_url_of_another_server {
        let person = begin();
        let attacker = Attacker::listens();
        rewrite(&person, "oauth2", &json!({"grant.yaml": attacker.grant_yaml()}));
        attacker.waits_in_vain("binding_changed");
        let sound = json!({"grant.yaml": "scopes: [incidents.read]\n"});
        rewrite(&person, "pagerduty", &sound);
        becomes("ready", "");
        rewrite(&person, "pagerduty", &json!({"client_id": "another"}));
        attacker.waits_in_vain("binding_changed");
        assert!(!attacker.was_reached(), "the attacker's server was not reached");
        let log = PLATFORM.standin.log();
        let another = presentations(&log).any(|seen| seen.client_id.as_deref() == Some("another"));
        assert!(!another, "it succeeded: presented as another client");
        // With another login and client secret, the new server is used.
        let own = json!({"grant.yaml": attacker.grant_yaml(), "client_id": NAMESPACE, "client_secret": "of-the-attacker", "refresh_token": "of-the-attacker"});
        rewrite(&person, "oauth2", &own);
        eventually(Duration::from_secs(60), || attacker.was_reached().then_some(()).ok_or_else(|| format!("{:?}", grant())));
        Outcome::Stopped("binding_changed: a refresh token is presented only to the token endpoint of its login; nothing was sent".to_owned())
    }
    /// An account with `edit` writes the state of another cluster into the state Secret, so that a refresh token would
    /// be used twice
    state_of_another_cluster {
        let person = begin();
        let name = format!("{STEERED}-state");
        let replace = |change: &dyn Fn(&mut Value)| {
            // The sidecar writes too, so a conflict is tried again.
            eventually(Duration::from_secs(30), || {
                let mut secret = get(&["secret", &name, "--namespace", NAMESPACE]);
                let document = STANDARD.decode(secret["data"]["state"].as_str().expect("a state")).expect("base64");
                let mut document: Value = serde_json::from_slice(&document).expect("JSON");
                change(&mut document);
                secret["data"]["state"] = json!(STANDARD.encode(document.to_string()));
                person.pipe(&secret, &["replace"])
            });
        };
        replace(&|document| assert!(document["home"]["cluster"].is_string(), "{document}"));
        becomes("ready", "");
        replace(&|document| {
            document["home"]["cluster"] = json!("0".repeat(64));
            document["home"]["uid"] = json!("00000000-0000-0000-0000-000000000000");
        });
        let grant = eventually(Duration::from_secs(60), || {
            let grant = grant()?;
            if grant["reason"] == "foreign_state" { Ok(grant) } else { Err(grant.to_string()) }
        });
        assert!(grant["state"] != "ready", "{grant}");
        // A new login recovers the grant.
        rewrite(&person, "pagerduty", &json!({"refresh_token": login()}));
        becomes("ready", "");
        Outcome::Stopped("foreign_state: the state Secret was copied from another cluster; nothing is sent".to_owned())
    }
    /// An account with `edit` removes the label of the state Secret, so that the sidecar would write to a Secret that
    /// is not its state
    state_that_is_none {
        let person = begin();
        let name = format!("{STEERED}-state");
        let secret = ["secret", name.as_str()];
        control(person.run(&[&["label"], &secret[..], &["agent-creds/state-of-", "--overwrite"]].concat()));
        becomes("misconfigured", "state_invalid");
        let before = control(person.run(&[&["get"], &secret[..], &["--output=jsonpath={.metadata.resourceVersion}"]].concat()));
        // Until the last token has expired, a write would have happened.
        let token = "wget -qO- --header \"Authorization: Bearer $(cat /run/agent-creds/caller-key)\" $AGENT_CREDS_URL/v1/token/steered";
        eventually(Duration::from_secs(60), || match in_pod("steered", "agent", token) {
            Err(said) if said.contains(" 503 ") => Ok(()),
            met => Err(format!("{met:?}")),
        });
        let label = format!("agent-creds/state-of={STEERED}");
        let after = control(person.run(&[&["get"], &secret[..], &["--output=jsonpath={.metadata.resourceVersion}"]].concat()));
        assert_eq!(before, after);
        control(person.run(&[&["label"], &secret[..], &[label.as_str()]].concat()));
        becomes("ready", "");
        Outcome::Stopped("state_invalid: it is not overwritten".to_owned())
    }
}
