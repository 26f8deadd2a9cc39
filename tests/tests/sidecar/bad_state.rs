//! State Secrets that are missing, not ours, broken or of another version: nothing in them is overwritten, and what
//! can be served is served.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::bad_input::{Row, told_and_mended};
use super::*;

#[tokio::test]
async fn a_state_secret_that_is_not_ours_is_neither_used_nor_overwritten() {
    fn state(world: &World, name: &str, labels: &Value, document: &str) {
        let metadata = json!({ "name": format!("{name}-state"), "labels": labels });
        let data = json!({ "state": STANDARD.encode(document) });
        let manifest = json!({ "kind": "Secret", "metadata": metadata, "data": data });
        world.secrets.write(&format!("{name}-state"), manifest.to_string().as_bytes());
    }
    fn garbage(world: &World, name: &str, document: &str) {
        state(world, name, &json!({ "agent-creds/state-of": name }), document);
    }
    let rows: &[Row] = &[
        (
            "unlabelled",
            |w, n| state(w, n, &json!({}), ""),
            &["unlabelled-state", "label agent-creds/state-of"],
        ),
        (
            "anothers",
            |w, n| state(w, n, &json!({ "agent-creds/state-of": "x" }), ""),
            &["anothers-state", "label agent-creds/state-of", "another value"],
        ),
        ("garbage", |w, n| garbage(w, n, "\u{0}garbage"), &["garbage-state", "key state"]),
        ("a-list", |w, n| garbage(w, n, "[1]"), &["a-list-state", "key state"]),
        ("cut-off", |w, n| garbage(w, n, "{\"v\":1,\"gen\":"), &["cut-off-state", "key state"]),
        ("wrong-type", |w, n| garbage(w, n, "{\"gen\":\"x\"}"), &["wrong-type-state", "key state"]),
    ];
    told_and_mended("state_invalid", rows).await;

    // The same again, and this time with a look at the files.
    let names: Vec<_> = rows.iter().map(|(name, ..)| *name).collect();
    let world = World::with(&names).await;
    for (name, spoil, _) in rows {
        spoil(&world, name);
    }
    let files =
        || -> Vec<_> { names.iter().map(|name| world.secrets.bytes(&format!("{name}-state"))).collect() };
    let before = files();
    let sidecar = world.sidecar(&names).start().await;
    for name in &names {
        sidecar.becomes(name, "misconfigured", "state_invalid").await;
    }
    all_decide_anew(&world, &sidecar, &names).await;
    assert_eq!(files(), before);
}

#[tokio::test]
async fn a_state_secret_that_cannot_be_read_is_not_taken_for_a_wrong_grant() {
    told_and_mended(
        "state_invalid",
        &[
            ("broken", |w, n| w.secrets.write(&format!("{n}-state"), b"{"), &["broken-state"]),
            (
                "no-secret",
                |w, n| w.secrets.write(&format!("{n}-state"), b"kind: ConfigMap"),
                &["no-secret-state"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_newer_state_is_served_from_and_not_written() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.edit_state("one", |document| document["min_writer"] = json!(99));
    world.secrets.age("one");
    let before = world.secrets.bytes("one-state");
    let listed = sidecar.becomes("one", "misconfigured", "state_newer").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("one")), "{listed}");
    assert_eq!(sidecar.token("one").await.status, 200, "the token is as good as before");
    assert_eq!((world.outcomes("one").len(), world.secrets.bytes("one-state")), (1, before));
}

#[tokio::test]
async fn what_another_version_has_written_into_the_state_survives() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.edit_state("one", |document| {
        document["future"] = json!({ "deep": [1, null] });
        document["seed"]["issued_at"] = json!(LONG_AGO);
        document["seed"]["future"] = json!("x");
    });
    world.secrets.age("one");
    world.presented_times("one", 2).await;
    let state = eventually("the second token is stored", async || {
        let state = world.secrets.state("one");
        if state["gen"] == 2 { Ok(state) } else { Err(state["gen"].clone()) }
    })
    .await;
    assert_eq!(state["future"], json!({ "deep": [1, null] }));
    let inner = (&state["seed"]["issued_at"], &state["seed"]["future"]);
    assert_eq!(inner, (&json!(LONG_AGO), &json!("x")), "also inside the parts that this version knows");
}

#[tokio::test]
async fn while_the_grant_secret_is_gone_the_token_is_served_to_its_end() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let token = sidecar.access_token("one").await;
    world.secrets.remove("one");
    world.secrets.age("one");
    sidecar.becomes("one", "misconfigured", "grant_missing").await;
    assert_eq!(sidecar.access_token("one").await, token);
    world.secrets.edit_state("one", |document| document["access"]["expires_at"] = json!(LONG_AGO));
    eventually("the token ends", async || {
        let answer = sidecar.token("one").await;
        if answer.status == 503 { Ok(()) } else { Err(answer.status) }
    })
    .await;
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn a_state_that_is_emptied_under_a_live_sidecar_is_written_back_and_nothing_is_presented() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let before = world.secrets.state("one");
    world.secrets.empty_state("one");
    world.secrets.write_anew("one-state", &world.secrets.bytes("one-state"));
    eventually("the state is back", async || {
        let state = world.secrets.state("one");
        if state["refresh"] == before["refresh"] { Ok(()) } else { Err(state) }
    })
    .await;
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(world.outcomes("one"), ["granted"]);
    world.secrets.age("one");
    world.presented_times("one", 2).await;
    assert_eq!((world.outcomes("one")[1].as_str(), world.revoked()), ("granted", 0));
}

#[tokio::test]
async fn a_state_that_is_emptied_during_a_presentation_does_not_cost_the_login() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    let sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    world.secrets.empty_state("one");
    front.release();
    sidecar.becomes("one", "ready", "ok").await;
    decides_anew(&world, &sidecar, "one").await;
    let (seen, state) = (world.presented("one"), world.secrets.state("one"));
    assert_eq!((seen.len(), world.revoked()), (1, 0), "{seen:?}");
    assert_eq!(state["refresh"]["fp"].as_str(), seen[0].child_sha256.as_deref());
}
