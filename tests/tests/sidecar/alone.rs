//! A sidecar with its own tokens: with `sharing: pod`, or during an outage of the store.

use agent_creds_tests::oidc::{self, Oidc};

use super::*;

/// Creates a client credentials grant of the independent server with `sharing: pod`.
async fn independent(secrets: &Secrets, more: &str) -> Oidc {
    let client = oidc::Client::confidential("robot", &client_secret(), ClientAuth::Post);
    let config =
        oidc::Config { clients: vec![client], scopes: vec!["read".to_owned()], ..oidc::Config::default() };
    let server = Oidc::start(config).await.expect("the independent server");
    let url = server.issuer();
    let yaml = format!(
        "flow: client_credentials\nsharing: pod\ntoken_url: {url}/token\nclient_auth: post\nallow_private: true\n\
         scopes: [read]\n{more}"
    );
    let keys = [("client_id", "robot"), ("client_secret", &client_secret()), ("grant.yaml", &yaml)];
    secrets.grant("robot", "oauth2", &keys);
    server
}

async fn active(server: &Oidc, token: &str) -> bool {
    server.introspect(token).await.expect("an introspection")["active"] == true
}

#[tokio::test]
async fn with_sharing_pod_each_pod_has_its_own_token_and_revokes_it_at_its_end() {
    let secrets = Secrets::new();
    let server = independent(&secrets, "").await;
    secrets.edit("robot", |manifest| {
        let yaml = manifest["stringData"]["grant.yaml"].as_str().expect("a text").to_owned();
        let url = server.issuer();
        manifest["stringData"]["grant.yaml"] =
            json!(format!("{yaml}revocation_url: {url}/token/revocation\n"));
    });
    // Nothing is shared, so the state Secret is not needed.
    secrets.remove("robot-state");
    let mut one = Setup::new(&secrets).trust(server.ca_pem()).grant("robot").start().await;
    let two = Setup::new(&secrets).trust(server.ca_pem()).grant("robot").start().await;
    for sidecar in [&one, &two] {
        sidecar.becomes("robot", "ready", "ok").await;
    }
    let (first, second) = (one.access_token("robot").await, two.access_token("robot").await);
    assert_ne!(first, second);
    assert!(active(&server, &first).await && active(&server, &second).await);

    one.terminate();
    assert!(one.ended().await.success());
    assert!(!active(&server, &first).await, "the ended pod's token is revoked");
    assert!(active(&server, &second).await, "no other token is revoked");
    assert_eq!(two.access_token("robot").await, second);
}

#[tokio::test]
async fn a_token_that_cannot_be_revoked_is_logged_and_the_process_ends() {
    let secrets = Secrets::new();
    let server = independent(&secrets, "").await;
    let yaml = format!(
        "flow: client_credentials\nsharing: pod\ntoken_url: {url}/token\nclient_auth: post\nallow_private: true\n\
         revocation_url: {url}/no-such-endpoint",
        url = server.issuer()
    );
    secrets.set("robot", "grant.yaml", &yaml);
    let mut sidecar = Setup::new(&secrets).trust(server.ca_pem()).grant("robot").start().await;
    sidecar.becomes("robot", "ready", "ok").await;
    let token = sidecar.access_token("robot").await;
    sidecar.terminate();
    assert!(sidecar.ended().await.success());
    let said = |line: &Value| line.to_string().contains("access token not revoked");
    assert!(sidecar.log().iter().any(said) && active(&server, &token).await);
}

#[tokio::test]
async fn sharing_can_be_changed_while_the_sidecar_serves() {
    let world = robots().await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let shared = sidecar.access_token("one").await;
    let yaml = application_yaml(&world);
    world.secrets.set("one", "grant.yaml", &format!("{yaml}sharing: pod\n"));
    let own = another_token(&sidecar, &shared).await;
    assert_eq!(world.secrets.state("one")["access"]["token"], shared, "the shared state is unchanged");
    world.secrets.set("one", "grant.yaml", &yaml);
    eventually("the shared token", async || {
        let token = sidecar.access_token("one").await;
        if token == shared { Ok(()) } else { Err(token == own) }
    })
    .await;
    assert_eq!(world.presented("one").len(), 2);
}

#[tokio::test]
async fn a_grant_that_does_not_rotate_is_refreshed_without_the_store() {
    let world = robots().await;
    world.standin.set_token_life(Some(15));
    let (one, two) = (world.sidecar(&["one"]).start().await, world.sidecar(&["one"]).start().await);
    for sidecar in [&one, &two] {
        sidecar.becomes("one", "ready", "ok").await;
    }
    let away = ["one", "one-state"].map(|name| world.secrets.take_away(name));
    let shared = world.presented("one").len();
    let before = [one.access_token("one").await, two.access_token("one").await];
    let mut own = Vec::new();
    for (sidecar, before) in [&one, &two].into_iter().zip(&before) {
        own.push(another_token(sidecar, before).await);
        sidecar.becomes("one", "degraded", "store_unavailable").await;
    }
    assert_ne!(own[0], own[1], "each sidecar has its own token");
    assert!(own.iter().all(|token| world.standin.is_active(token)));
    assert!(world.presented("one").len() >= shared + 2);
    world.standin.set_token_life(None);
    drop(away);
    eventually("all share one token again", async || {
        let (first, second) = (one.token("one").await, two.token("one").await);
        let stored = world.secrets.state("one")["access"]["token"].clone();
        let all = [first, second].map(|answer| answer.text("access_token").map(Value::from));
        if all.iter().all(|token| token.as_ref() == Some(&stored)) { Ok(()) } else { Err(()) }
    })
    .await;
    for sidecar in [&one, &two] {
        sidecar.becomes("one", "ready", "ok").await;
    }
}

#[tokio::test]
async fn a_rotating_token_is_not_presented_without_the_store() {
    let world = World::without_logins(&["rotates", "stays"]).await;
    world.log_in("rotates");
    application(&world, "stays");
    world.standin.set_token_life(Some(8));
    let sidecar = world.sidecar(&["rotates", "stays"]).start().await;
    for name in ["rotates", "stays"] {
        sidecar.becomes(name, "ready", "ok").await;
    }
    let away = ["rotates", "rotates-state", "stays", "stays-state"].map(|name| world.secrets.take_away(name));
    let presented = world.presented("rotates").len();
    sidecar.becomes("rotates", "expired", "store_unavailable").await;
    // The other grant shows that enough time has passed for a refresh on local state.
    let times = world.presented("stays").len();
    world.presented_times("stays", times + 2).await;
    sidecar.becomes("rotates", "expired", "store_unavailable").await;
    assert_eq!(world.presented("rotates").len(), presented);
    drop(away);
    sidecar.becomes("rotates", "ready", "ok").await;
    assert_eq!(world.revoked(), 0);
}

/// Creates an environment with an application `one`, which has no refresh token.
async fn robots() -> World {
    let world = World::without_logins(&["one"]).await;
    application(&world, "one");
    world
}

fn application(world: &World, name: &str) {
    let yaml = application_yaml(world);
    let keys = [("client_id", name), ("client_secret", &client_secret()), ("grant.yaml", &yaml)];
    world.secrets.grant(name, "oauth2", &keys);
}

fn application_yaml(world: &World) -> String {
    format!("flow: client_credentials\n{}", grant_yaml(&world.token_url()))
}

async fn another_token(sidecar: &Sidecar, before: &str) -> String {
    eventually("another token", async || {
        let token = sidecar.token("one").await.text("access_token");
        token.filter(|token| token != before).ok_or(())
    })
    .await
}
