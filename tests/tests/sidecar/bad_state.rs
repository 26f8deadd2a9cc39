//! State Secrets that are missing, foreign, broken or of another version. The sidecar overwrites nothing in them, and
//! serves what it can.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::bad_input::{Row, told_and_mended};
use super::*;

#[tokio::test]
async fn a_foreign_or_broken_state_secret_is_neither_used_nor_overwritten() {
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

    // The same again, with a comparison of the files.
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
async fn an_unreadable_state_secret_is_reported_as_the_state_secret() {
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
async fn a_state_of_a_newer_version_is_served_and_not_written() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.edit_state("one", |document| document["min_writer"] = json!(99));
    world.secrets.age("one");
    let before = world.secrets.bytes("one-state");
    let listed = sidecar.becomes("one", "misconfigured", "state_newer").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("one")), "{listed}");
    assert_eq!(sidecar.token("one").await.status, 200, "the token is still valid");
    assert_eq!((world.outcomes("one").len(), world.secrets.bytes("one-state")), (1, before));
}

#[tokio::test]
async fn unknown_fields_of_the_state_are_kept() {
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
    assert_eq!(inner, (&json!(LONG_AGO), &json!("x")), "also inside known fields");
}

#[tokio::test]
async fn without_its_grant_secret_the_token_is_served_until_it_expires() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let token = sidecar.access_token("one").await;
    world.secrets.remove("one");
    world.secrets.age("one");
    sidecar.becomes("one", "misconfigured", "grant_missing").await;
    assert_eq!(sidecar.access_token("one").await, token);
    world.secrets.edit_state("one", |document| document["access"]["expires_at"] = json!(LONG_AGO));
    eventually("the token expires", async || {
        let answer = sidecar.token("one").await;
        if answer.status == 503 { Ok(()) } else { Err(answer.status) }
    })
    .await;
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn an_emptied_state_is_restored_from_memory_without_a_presentation() {
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
async fn a_state_emptied_during_a_presentation_does_not_lose_the_login() {
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
