//! A person requests a refresh: `request` in the state document.

use super::*;

fn request(world: &World) {
    world.secrets.edit_state("one", |document| {
        document["request"] = json!({ "id": "5f0c", "at": "2026-01-31T12:00:00Z" });
    });
}

/// Waits until the grant has been refreshed `times` times and the request is removed.
async fn granted(world: &World, times: usize) {
    eventually("the request is carried out", async || {
        let state = world.secrets.state("one");
        let done = state["request"].is_null() && state["claim"].is_null();
        if done && world.outcomes("one") == vec!["granted"; times] {
            Ok(())
        } else {
            Err(state["retry"].clone())
        }
    })
    .await;
}

#[tokio::test]
async fn is_carried_out_once_for_all_replicas_and_removed() {
    let world = World::with(&["one"]).await;
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(world.sidecar(&["one"]).start().await);
    }
    for sidecar in &sidecars {
        sidecar.becomes("one", "ready", "ok").await;
    }
    let token = sidecars[0].access_token("one").await;
    world.secrets.rest("one");
    request(&world);
    granted(&world, 2).await;
    world.secrets.rest("one");
    for sidecar in &sidecars {
        eventually("all serve the new token", async || {
            let served = sidecar.access_token("one").await;
            if served == token { Err(()) } else { Ok(()) }
        })
        .await;
        decides_anew(&world, sidecar, "one").await;
    }
    granted(&world, 2).await;
    // The next request is a separate one.
    request(&world);
    granted(&world, 3).await;
}

#[tokio::test]
async fn is_kept_while_the_provider_is_unreachable() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.rest("one");
    front.is_of(&Authority::new());
    request(&world);
    sidecar.becomes("one", "degraded", "tls").await;
    assert_eq!(world.secrets.state("one")["request"]["id"], "5f0c", "nothing was presented for it");
    front.is_of(&world.authority);
    world.secrets.hurry("one");
    granted(&world, 2).await;
}

#[tokio::test]
async fn is_kept_while_the_provider_is_rate_limited() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.rest("one");
    world.standin.fail_next(1, &Fault::status(429));
    request(&world);
    sidecar.becomes("one", "degraded", "rate_limited").await;
    assert_eq!(world.secrets.state("one")["request"]["id"], "5f0c", "the provider did not process it");
    world.secrets.hurry("one");
    eventually("the request is carried out", async || {
        let request = world.secrets.state("one")["request"].clone();
        if request.is_null() { Ok(()) } else { Err(request) }
    })
    .await;
    assert_eq!(world.outcomes("one").len(), 3);
}
