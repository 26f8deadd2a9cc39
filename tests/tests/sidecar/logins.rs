//! New logins, old logins that GitOps restores, and grants that are pointed to another server.

use super::*;

/// The secret of a client of another server.
const OTHER_SECRET: &str = "the-secret-at-another-server";

async fn ready(world: &World) -> Sidecar {
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.rest("one");
    sidecar
}

fn write_token(world: &World, token: &str) {
    world.secrets.set("one", "refresh_token", token);
}

#[tokio::test]
async fn a_new_login_is_used_at_once() {
    let world = World::with(&["one"]).await;
    let sidecar = ready(&world).await;
    let old = sidecar.access_token("one").await;
    let new = world.log_in("one");
    world.presented_times("one", 2).await;
    eventually("a token of the new login", async || {
        let token = sidecar.access_token("one").await;
        if token == old { Err(()) } else { Ok(()) }
    })
    .await;
    let second = &world.presented("one")[1];
    assert_eq!((second.token_sha256.as_ref(), &*second.outcome), (Some(&fingerprint(&new)), "granted"));
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn a_trailing_newline_is_not_a_new_login() {
    let world = World::without_logins(&["one"]).await;
    let seed = world.log_in("one");
    let sidecar = ready(&world).await;
    write_token(&world, &format!("  {seed}\n"));
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn a_rejected_login_does_not_end_the_old_one() {
    let world = World::with(&["one"]).await;
    let sidecar = ready(&world).await;
    write_token(&world, "never-heard-of-this-token");
    let listed = sidecar.becomes("one", "degraded", "new_seed_rejected").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("log in again")), "{listed}");
    assert_eq!(world.outcomes("one"), ["granted", "invalid_grant"]);
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(world.presented("one").len(), 2, "a rejected login is not tried again");

    world.secrets.age("one");
    world.presented_times("one", 3).await;
    assert_eq!(world.outcomes("one"), ["granted", "invalid_grant", "granted"], "the old lineage continues");
    assert!(world.standin.is_active(&sidecar.access_token("one").await));
    assert_eq!(world.revoked(), 0);

    world.stored("one").await;
    world.secrets.rest("one");
    world.log_in("one");
    world.presented_times("one", 4).await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one")[3], "granted");
}

#[tokio::test]
async fn a_restored_old_login_changes_nothing() {
    let world = World::without_logins(&["one"]).await;
    let first = world.log_in("one");
    let sidecar = ready(&world).await;
    let second = world.log_in("one");
    world.presented_times("one", 2).await;
    world.stored("one").await;
    sidecar.becomes("one", "ready", "ok").await;
    write_token(&world, &first);
    let listed = sidecar.becomes("one", "ready", "stale_seed").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("old login")), "{listed}");
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(world.presented("one").len(), 2, "no old token is presented");

    world.secrets.age("one");
    world.presented_times("one", 3).await;
    assert_eq!(world.outcomes("one"), ["granted"; 3], "the second login continues meanwhile");
    write_token(&world, &second);
    sidecar.becomes("one", "ready", "ok").await;
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!((world.presented("one").len(), world.revoked()), (3, 0));
}

#[tokio::test]
async fn a_rotated_token_copied_into_the_grant_secret_changes_nothing() {
    let world = World::with(&["one"]).await;
    let sidecar = ready(&world).await;
    let head = world.secrets.state("one")["refresh"]["token"].clone();
    world.secrets.age("one");
    world.presented_times("one", 2).await;
    // This token is spent now.
    write_token(&world, head.as_str().expect("a refresh token"));
    sidecar.becomes("one", "ready", "stale_seed").await;
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!((world.presented("one").len(), world.revoked()), (2, 0));
}

#[tokio::test]
async fn the_current_head_copied_into_the_grant_secret_is_not_presented_twice() {
    let world = World::with(&["one"]).await;
    let sidecar = ready(&world).await;
    let head = world.secrets.state("one")["refresh"]["token"].as_str().expect("a refresh token").to_owned();
    write_token(&world, &head);
    decides_anew(&world, &sidecar, "one").await;
    for _ in 0..2 {
        world.secrets.age("one");
        eventually("another token", async || {
            let state = world.secrets.state("one");
            if state["access"]["issued_at"] == LONG_AGO { Err(()) } else { Ok(()) }
        })
        .await;
    }
    assert_eq!(world.revoked(), 0);
    let mut presented: Vec<_> = world.presented("one").into_iter().map(|seen| seen.token_sha256).collect();
    let all = presented.len();
    presented.sort();
    presented.dedup();
    assert_eq!(presented.len(), all, "one token, one presentation");
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn a_live_token_is_never_sent_to_another_server() {
    let names = ["server", "path", "host", "client"];
    let world = World::with(&names).await;
    let other = World::without_logins(&names).await;
    // The other server is trusted, and no other setting differs.
    let front = Front::before(&other.standin, &world.authority).await;
    let sidecar = world.sidecar(&names).start().await;
    let sound = names.map(|name| world.secrets.bytes(name));
    for (name, key, value) in [
        ("server", "grant.yaml", grant_yaml(&front.token_url())),
        ("path", "grant.yaml", grant_yaml(&world.token_url().replace("/oauth/token", "/elsewhere"))),
        ("host", "grant.yaml", grant_yaml(&world.token_url().replace("127.0.0.1", "localhost"))),
        ("client", "client_id", "another-client".to_owned()),
    ] {
        sidecar.becomes(name, "ready", "ok").await;
        world.secrets.set(name, key, &value);
        let listed = sidecar.becomes(name, "misconfigured", "binding_changed").await;
        let message = listed["message"].as_str().expect("a message");
        assert!(message.contains("Secret") && message.contains("refresh token"), "{message}");
        assert!(message.contains(name), "{message}");
        world.secrets.age(name);
    }
    all_decide_anew(&world, &sidecar, &names).await;
    let requests = || presentations(&world.standin.log()).count();
    assert_eq!(
        (presentations(&other.standin.log()).count(), requests()),
        (0, 4),
        "one presentation each, at the start"
    );
    for (name, manifest) in names.iter().zip(&sound) {
        assert_eq!(sidecar.token(name).await.status, 200, "the access token is still served");
        world.secrets.write(name, manifest);
    }
    for name in names {
        world.presented_times(name, 2).await;
        sidecar.becomes(name, "ready", "ok").await;
    }
    assert_eq!((requests(), world.revoked()), (8, 0));
}

#[tokio::test]
async fn a_login_at_another_server_does_not_send_the_old_token_there() {
    let world = World::with(&["one"]).await;
    let other = World::with_client_secret(&["one"], OTHER_SECRET).await;
    let front = Front::before(&other.standin, &world.authority).await;
    let sidecar = ready(&world).await;
    let own = other.standin.seed(Provider::Generic, "one");
    let point_there = |token: &str| {
        world.secrets.edit("one", |manifest| {
            manifest["stringData"]["refresh_token"] = json!(token);
            manifest["stringData"]["client_secret"] = json!(OTHER_SECRET);
            manifest["stringData"]["grant.yaml"] = json!(grant_yaml(&front.token_url()));
        });
    };
    // The other server refuses it: the old login returns, and still belongs to its own server.
    point_there("made-up-for-this-test");
    other.presented_times("one", 1).await;
    sidecar.becomes("one", "misconfigured", "binding_changed").await;
    world.secrets.age("one");
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(other.presented("one").len(), 1);
    // The other server grants it: this is the new login, which continues there.
    point_there(&own);
    other.presented_times("one", 2).await;
    world.stored("one").await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.age("one");
    other.presented_times("one", 3).await;
    let seen = other.presented("one");
    let mut children: Vec<_> = seen.iter().filter_map(|seen| seen.child_sha256.clone()).collect();
    children.extend([fingerprint("made-up-for-this-test"), fingerprint(&own)]);
    for presentation in &seen {
        let token = presentation.token_sha256.clone().expect("a refresh token");
        assert!(children.contains(&token), "only tokens of the second server are presented to it");
    }
    assert_eq!((world.presented("one").len(), world.revoked(), other.revoked()), (1, 0, 0));
}

#[tokio::test]
async fn two_grants_with_one_login_are_refused_until_one_of_them_changes_or_goes() {
    let world = World::with(&["one"]).await;
    let original = world.secrets.bytes("one");
    let copy = |name: &str| {
        let mut manifest: Value = serde_json::from_slice(&original).expect("a manifest of ours");
        manifest["metadata"]["name"] = json!(name);
        if !world.secrets.manifest(&format!("{name}-state")).exists() {
            world.secrets.empty_state(name);
        }
        world.secrets.write(name, manifest.to_string().as_bytes());
    };
    let sidecar = world.sidecar(&["one", "two"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    copy("two");
    let read_one_again = || world.secrets.write_anew("one", &original);
    let refused = async || {
        let listed = sidecar.becomes("two", "misconfigured", "shared_login").await;
        assert!(listed["message"].as_str().is_some_and(|text| text.contains("Secret one")), "{listed}");
        read_one_again();
        sidecar.becomes("one", "misconfigured", "shared_login").await;
    };
    refused().await;
    // It gets a login of its own.
    let own = world.standin.seed(Provider::Generic, "one");
    world.secrets.set("two", "refresh_token", &own);
    sidecar.becomes("two", "ready", "ok").await;
    sidecar.becomes("one", "ready", "ok").await;
    copy("two");
    refused().await;
    // It goes.
    world.secrets.remove("two");
    sidecar.becomes("two", "misconfigured", "grant_missing").await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!((world.presented("one").len(), world.revoked()), (2, 0), "once for each login");
}
