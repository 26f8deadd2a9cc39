//! Identity mode `exchange`: the real sidecar beside a real API server, with real tokens from an identity server that the test
//! can take away, replace and lie with.

mod server;
mod world;

use std::time::Duration;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::kubectl;
use agent_creds_tests::sidecar::{Sidecar, eventually};
use jiff::Timestamp;
use serde_json::Value;

use server::Conduct;
use world::World;

const EXPIRY: &str = "agent_creds_identity_expiry_timestamp_seconds";

fn honest(seconds: u64) -> Conduct {
    Conduct::Honest { life: Duration::from_secs(seconds) }
}

/// Nothing that was handed out may be found in what the sidecar let out; it is looked for when it ends.
fn guard(world: &World) {
    for token in world.server.minted() {
        world.guard(&token);
    }
}

/// How long the sidecar says that its identity lives.
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
    let world = World::ready("exchanges").await;
    world.server.conducts(honest(12));
    let sidecar = world.sidecar().argument("--time-scale=0.1").start().await;
    eventually("the first token", async || left(&sidecar).await.filter(|left| *left <= 12.0).ok_or(())).await;
    world.server.conducts(honest(600));
    eventually("the second", async || {
        let left = left(&sidecar).await;
        if left.is_some_and(|left| left > 500.0) { Ok(()) } else { Err(left) }
    })
    .await;
    sidecar.becomes("one", "ready", "ok").await;
    let minted = world.server.minted();
    assert_eq!(minted.len(), 2, "the next is asked for in eight minutes");
    assert!(world.was_used(&minted[0]));
    world.age().await;
    eventually("requests with the second", async || world.was_used(&minted[1]).then_some(()).ok_or(())).await;

    let output = world.sidecar().refresh(&[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.server.asked(), 3);
    guard(&world);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn an_outage_of_the_endpoint_is_lived_through() {
    let world = World::ready("outlives").await;
    // Before there ever was a token it waits.
    world.server.conducts(Conduct::Down);
    let sidecar = world.sidecar().argument("--time-scale=0.1").start().await;
    let grant = sidecar.becomes("one", "pending", "identity_unavailable").await;
    assert!(message(&grant).starts_with("ServiceAccount outlives/agent-creds: no valid token"), "{grant}");
    assert_eq!(left(&sidecar).await, None);
    world.server.conducts(Conduct::Status(503));
    eventually("it says what it was told", async || {
        let grant = sidecar.grant("one").await;
        if message(&grant).contains("answers 503") { Ok(()) } else { Err(grant) }
    })
    .await;
    world.server.conducts(honest(30));
    sidecar.becomes("one", "ready", "ok").await;

    // With a token it goes on, and claims nothing that it might not be able to store.
    world.server.conducts(Conduct::Down);
    let asked = world.server.asked();
    let token = sidecar.access_token("one").await;
    assert!(left(&sidecar).await.is_some_and(|left| left > 12.0));
    let grant = sidecar.becomes("one", "degraded", "identity_unavailable").await;
    assert!(left(&sidecar).await.is_some_and(|left| left > 3.0), "{grant}: two terms before the end");
    let presented = world.presented();
    world.age().await;

    // And after its end it serves what it has.
    eventually("the end of the token", async || {
        let left = left(&sidecar).await;
        if left.is_some_and(|left| left < -1.0) { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(sidecar.access_token("one").await, token);
    assert_eq!(sidecar.grant("one").await["state"], "degraded");
    assert_eq!((world.presented(), world.server.asked()), (presented, asked));

    world.server.conducts(honest(600));
    sidecar.becomes("one", "ready", "ok").await;
    eventually("what was due meanwhile", async || {
        let now = world.presented();
        if now > presented { Ok(()) } else { Err(now) }
    })
    .await;
    guard(&world);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn each_refusal_prints_what_is_missing_and_that_mends_it() {
    let world = World::bare("mends").await;
    world.server.conducts(Conduct::Status(403));
    let sidecar = world.sidecar().argument("--time-scale=0.1").start().await;
    let grant = sidecar.becomes("one", "misconfigured", "identity_refused").await;
    assert!(message(&grant).contains("refuses this pod"), "{grant}");
    world.server.conducts(honest(600));
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
        world.run(commands);
    }
    let grant = sidecar.becomes("one", "misconfigured", "store_forbidden").await;
    let (sentence, commands) = message(&grant).split_once(" run: ").expect("commands");
    assert_eq!(
        sentence,
        "Secret mends/one: not allowed to get it; ServiceAccount mends/agent-creds lacks the right;"
    );
    assert!(sidecar.metrics().await.contains_key(EXPIRY));
    world.run(commands);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.presented(), 1);

    // A right that is taken is told while the token is still good, and the token is served.
    let state = "agent-creds-writes-one-state";
    kubectl(&["delete", "role", state, "-n", world.namespace]).expect("taking the right");
    eventually("the state cannot be written", async || {
        world.age().await;
        let grant = sidecar.grant("one").await;
        if grant["reason"] == "store_forbidden" { Ok(()) } else { Err(grant) }
    })
    .await;
    let grant = sidecar.becomes("one", "misconfigured", "store_forbidden").await;
    assert!(message(&grant).starts_with("Secret mends/one-state: not allowed to"), "{grant}");
    assert!(!sidecar.access_token("one").await.is_empty());
    guard(&world);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_refusal_of_a_renewal_is_told_while_the_token_is_good() {
    let world = World::ready("objects").await;
    world.server.conducts(honest(20));
    let sidecar = world.sidecar().argument("--time-scale=0.05").start().await;
    sidecar.becomes("one", "ready", "ok").await;
    kubectl(&["delete", "rolebinding", "assume", "-n", world.namespace]).expect("taking the right");
    let grant = sidecar.becomes("one", "misconfigured", "assume_missing").await;
    assert!(left(&sidecar).await.is_some_and(|left| left > 0.0), "{grant}");
    let (_, commands) = message(&grant).split_once(" run: ").expect("commands");
    world.run(commands);
    world.server.conducts(honest(600));
    sidecar.becomes("one", "ready", "ok").await;
    guard(&world);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn a_ca_that_was_replaced_cuts_nobody_off() {
    let world = World::ready("rotates").await;
    world.server.conducts(honest(12));
    let old = world.sidecar().argument("--time-scale=0.05").start().await;
    old.becomes("one", "ready", "ok").await;
    let authority = Authority::new();
    world.server.is_certified_by(&authority);
    world.server.conducts(honest(600));

    // Nobody vouches for the new certificate: it is not believed, whoever it is.
    let asked = world.server.asked();
    let impostor = old.becomes("one", "degraded", "identity_unavailable").await;
    eventually("it says why", async || {
        let grant = old.grant("one").await;
        if message(&grant).contains("certificate") { Ok(()) } else { Err(grant) }
    })
    .await;
    assert_eq!(world.server.asked(), asked, "{impostor}: nothing was shown to it");

    world.publishes(&authority);
    old.becomes("one", "ready", "ok").await;
    assert!(left(&old).await.is_some_and(|left| left > 500.0));
    // One that was pending meanwhile knows the new one alone.
    let new = world.sidecar().start().await;
    new.becomes("one", "ready", "ok").await;
    guard(&world);
}

#[tokio::test]
#[ignore = "needs the API server: make test starts it"]
async fn an_account_that_was_made_anew_gets_a_new_token_and_no_loop() {
    let world = World::ready("revokes").await;
    let sidecar = world.sidecar().argument("--time-scale=0.1").start().await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.server.asked(), 1);
    kubectl(&["delete", "serviceaccount", "agent-creds", "-n", world.namespace]).expect("the account");
    kubectl(&["create", "serviceaccount", "agent-creds", "-n", world.namespace]).expect("the account");
    // The API server remembers for some seconds whose a token is.
    eventually("a second token", async || {
        world.age().await;
        let asked = world.server.asked();
        if asked >= 2 { Ok(()) } else { Err(asked) }
    })
    .await;
    let presented = world.presented();
    sidecar.becomes("one", "ready", "ok").await;
    world.age().await;
    eventually("a refresh with it", async || {
        let now = world.presented();
        if now > presented { Ok(()) } else { Err(now) }
    })
    .await;
    assert!(world.server.asked() <= 3, "asked {} times", world.server.asked());
    guard(&world);
}
