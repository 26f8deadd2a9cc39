//! Identity mode `exchange`: the real sidecar beside a real API server, with real tokens from an identity server that
//! the test can stop, replace and let fail.

mod environment;
mod server;

use std::time::Duration;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::kubectl;
use agent_creds_tests::sidecar::{Sidecar, eventually};
use jiff::Timestamp;
use serde_json::Value;

use environment::Environment;
use server::Behaviour;

const EXPIRY: &str = "agent_creds_identity_expiry_timestamp_seconds";

fn issues(seconds: u64) -> Behaviour {
    Behaviour::Issues { life: Duration::from_secs(seconds) }
}

/// Registers all issued tokens for the leak check at the end of each sidecar.
fn guard(environment: &Environment) {
    for token in environment.server.issued() {
        environment.guard(&token);
    }
}

/// Returns the remaining lifetime of the sidecar's identity, in seconds.
async fn left(sidecar: &Sidecar) -> Option<f64> {
    let metrics = sidecar.metrics().await;
    metrics.get(EXPIRY).map(|end| end - Timestamp::now().as_second() as f64)
}

fn message(grant: &Value) -> &str {
    grant["message"].as_str().expect("a message")
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_token_is_exchanged_used_and_renewed() {
    let environment = Environment::ready("exchanges").await;
    environment.server.set_behaviour(issues(12));
    let sidecar = environment.sidecar().argument("--time-scale=0.1").start().await;
    eventually("the first token", async || left(&sidecar).await.filter(|left| *left <= 12.0).ok_or(())).await;
    environment.server.set_behaviour(issues(600));
    eventually("the second token", async || {
        let left = left(&sidecar).await;
        if left.is_some_and(|left| left > 500.0) { Ok(()) } else { Err(left) }
    })
    .await;
    sidecar.becomes("one", "ready", "ok").await;
    let issued = environment.server.issued();
    assert_eq!(issued.len(), 2, "the next renewal is in eight minutes");
    assert!(environment.was_used(&issued[0]));
    environment.age().await;
    eventually("requests with the second token", async || {
        environment.was_used(&issued[1]).then_some(()).ok_or(())
    })
    .await;

    let output = environment.sidecar().refresh(&[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(environment.server.requests(), 3);
    guard(&environment);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn survives_an_outage_of_the_identity_server() {
    let environment = Environment::ready("outlives").await;
    // Without a first token the sidecar is pending.
    environment.server.set_behaviour(Behaviour::Down);
    let sidecar = environment.sidecar().argument("--time-scale=0.1").start().await;
    let grant = sidecar.becomes("one", "pending", "identity_unavailable").await;
    assert!(message(&grant).starts_with("ServiceAccount outlives/agent-creds: no valid token"), "{grant}");
    assert_eq!(left(&sidecar).await, None);
    environment.server.set_behaviour(Behaviour::Status(503));
    eventually("the message contains the status", async || {
        let grant = sidecar.grant("one").await;
        if message(&grant).contains("answers 503") { Ok(()) } else { Err(grant) }
    })
    .await;
    environment.server.set_behaviour(issues(30));
    sidecar.becomes("one", "ready", "ok").await;

    // With a valid token it continues, but claims nothing that it might not be able to store.
    environment.server.set_behaviour(Behaviour::Down);
    let requests = environment.server.requests();
    let token = sidecar.access_token("one").await;
    assert!(left(&sidecar).await.is_some_and(|left| left > 12.0));
    let grant = sidecar.becomes("one", "degraded", "identity_unavailable").await;
    assert!(
        left(&sidecar).await.is_some_and(|left| left > 3.0),
        "{grant}: it is degraded two terms before the expiry"
    );
    let presented = environment.presented();
    environment.age().await;

    // After the token's expiry it serves the cached access token.
    eventually("the token expires", async || {
        let left = left(&sidecar).await;
        if left.is_some_and(|left| left < -1.0) { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(sidecar.access_token("one").await, token);
    assert_eq!(sidecar.grant("one").await["state"], "degraded");
    assert_eq!((environment.presented(), environment.server.requests()), (presented, requests));

    environment.server.set_behaviour(issues(600));
    sidecar.becomes("one", "ready", "ok").await;
    eventually("the overdue refresh", async || {
        let now = environment.presented();
        if now > presented { Ok(()) } else { Err(now) }
    })
    .await;
    guard(&environment);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn the_commands_in_each_refusal_fix_it() {
    let environment = Environment::bare("mends").await;
    environment.server.set_behaviour(Behaviour::Status(403));
    let sidecar = environment.sidecar().argument("--time-scale=0.1").start().await;
    let grant = sidecar.becomes("one", "misconfigured", "identity_refused").await;
    assert!(message(&grant).contains("refuses this pod"), "{grant}");
    environment.server.set_behaviour(issues(600));
    for (reason, about) in [
        ("assume_missing", "mends/agent: may not assume mends/agent-creds;"),
        ("mint_missing", "mends/agent-creds: the identity server may not create tokens of it;"),
        ("account_missing", "mends/agent-creds: does not exist;"),
    ] {
        let grant = sidecar.becomes("one", "misconfigured", reason).await;
        let (sentence, commands) = message(&grant).split_once(" run: ").expect("commands");
        assert_eq!(sentence, format!("ServiceAccount {about}"));
        if reason == "mint_missing" {
            assert!(commands.contains("--serviceaccount=mends:agent-creds-identity"), "{commands}");
        }
        environment.run(commands);
    }
    let grant = sidecar.becomes("one", "misconfigured", "store_forbidden").await;
    let (sentence, commands) = message(&grant).split_once(" run: ").expect("commands");
    assert_eq!(
        sentence,
        "Secret mends/one: not allowed to get it; ServiceAccount mends/agent-creds lacks the right;"
    );
    assert!(sidecar.metrics().await.contains_key(EXPIRY));
    environment.run(commands);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(environment.presented(), 1);

    // A revoked right is reported while the identity token is valid, and the access token is still served. The API server does
    // not end an open watch for it.
    eventually("the state is watched", async || {
        let log = sidecar.log();
        let restored =
            |line: &Value| line["message"] == "watch restored" && line["secret"] == "mends/one-state";
        if log.iter().any(restored) { Ok(()) } else { Err(log) }
    })
    .await;
    let state = "agent-creds-writes-one-state";
    kubectl(&["delete", "role", state, "-n", environment.namespace]).expect("revoking the right");
    eventually("the state cannot be written", async || {
        environment.age().await;
        let grant = sidecar.grant("one").await;
        if grant["reason"] == "store_forbidden" { Ok(()) } else { Err(grant) }
    })
    .await;
    let grant = sidecar.becomes("one", "misconfigured", "store_forbidden").await;
    assert!(message(&grant).starts_with("Secret mends/one-state: not allowed to"), "{grant}");
    assert!(!sidecar.access_token("one").await.is_empty());
    guard(&environment);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_refused_renewal_is_reported_while_the_token_is_valid() {
    let environment = Environment::ready("objects").await;
    environment.server.set_behaviour(issues(20));
    let sidecar = environment.sidecar().argument("--time-scale=0.05").start().await;
    sidecar.becomes("one", "ready", "ok").await;
    kubectl(&["delete", "rolebinding", "assume", "-n", environment.namespace]).expect("revoking the right");
    let grant = sidecar.becomes("one", "misconfigured", "assume_missing").await;
    assert!(left(&sidecar).await.is_some_and(|left| left > 0.0), "{grant}");
    let (_, commands) = message(&grant).split_once(" run: ").expect("commands");
    environment.run(commands);
    environment.server.set_behaviour(issues(600));
    sidecar.becomes("one", "ready", "ok").await;
    guard(&environment);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_replaced_ca_does_not_interrupt_sidecars() {
    let environment = Environment::ready("rotates").await;
    environment.server.set_behaviour(issues(12));
    let old = environment.sidecar().argument("--time-scale=0.05").start().await;
    old.becomes("one", "ready", "ok").await;
    let authority = Authority::new();
    environment.server.set_authority(&authority);
    environment.server.set_behaviour(issues(600));

    // No trusted CA has signed the new certificate, so the sidecar sends nothing to the server.
    let requests = environment.server.requests();
    let impostor = old.becomes("one", "degraded", "identity_unavailable").await;
    eventually("the message names the certificate", async || {
        let grant = old.grant("one").await;
        if message(&grant).contains("certificate") { Ok(()) } else { Err(grant) }
    })
    .await;
    assert_eq!(environment.server.requests(), requests, "{impostor}: nothing was sent to it");

    environment.publish(&authority);
    old.becomes("one", "ready", "ok").await;
    assert!(left(&old).await.is_some_and(|left| left > 500.0));
    // A sidecar that starts now knows only the new CA.
    let new = environment.sidecar().start().await;
    new.becomes("one", "ready", "ok").await;
    guard(&environment);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_recreated_account_causes_one_new_token_and_no_loop() {
    let environment = Environment::ready("revokes").await;
    let sidecar = environment.sidecar().argument("--time-scale=0.1").start().await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(environment.server.requests(), 1);
    kubectl(&["delete", "serviceaccount", "agent-creds", "-n", environment.namespace]).expect("the account");
    kubectl(&["create", "serviceaccount", "agent-creds", "-n", environment.namespace]).expect("the account");
    // The API server caches a token's validity for some seconds.
    eventually("a second token", async || {
        environment.age().await;
        let requests = environment.server.requests();
        if requests >= 2 { Ok(()) } else { Err(requests) }
    })
    .await;
    let presented = environment.presented();
    sidecar.becomes("one", "ready", "ok").await;
    environment.age().await;
    eventually("a refresh with the second token", async || {
        let now = environment.presented();
        if now > presented { Ok(()) } else { Err(now) }
    })
    .await;
    assert!(environment.server.requests() <= 3, "requests {} times", environment.server.requests());
    guard(&environment);
}
