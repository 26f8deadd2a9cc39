//! What a grant is bound to: a client secret to the server that accepted it, a login to the server and client that accepted it, and
//! a login that no server accepted to nothing.

use super::wire::{Wire, answer};
use super::*;

/// A world whose grant is ready, another server that knows the same client, and a login of a person there.
struct Scene {
    world: World,
    other: World,
    front: Front,
    sidecar: Sidecar,
}

impl Scene {
    async fn new() -> Self {
        let scene = Self::with(&["one"], |world| drop(world.log_in("one"))).await;
        scene.world.secrets.rest("one");
        scene
    }

    async fn with(names: &[&str], log_in: impl FnOnce(&World)) -> Self {
        let world = World::without_logins(names).await;
        log_in(&world);
        // The other server is trusted, and its client has the same secret.
        let other = World::without_logins(names).await;
        let front = Front::before(&other.standin, &world.authority).await;
        let sidecar = world.sidecar(&["one"]).start().await;
        sidecar.becomes("one", "ready", "ok").await;
        Self { world, other, front, sidecar }
    }

    /// Points the grant at the other server, with a login there.
    fn steer(&self) -> String {
        let login = self.other.standin.seed(Provider::Generic, "one");
        self.world.secrets.edit("one", |manifest| {
            manifest["stringData"]["refresh_token"] = json!(login);
            manifest["stringData"]["grant.yaml"] = json!(grant_yaml(&self.front.token_url()));
        });
        login
    }

    fn reached_the_other(&self) -> usize {
        presentations(&self.other.standin.log()).count()
    }

    async fn restart(&mut self) {
        self.sidecar.terminate();
        assert!(self.sidecar.ended().await.success());
        self.sidecar = self.world.sidecar(&["one"]).start().await;
    }
}

#[tokio::test]
async fn a_client_secret_is_not_steered_to_another_server() {
    let mut scene = Scene::new().await;
    let sound = scene.world.secrets.bytes("one");
    scene.steer();
    let listed = scene.sidecar.becomes("one", "misconfigured", "secret_bound").await;
    let message = listed["message"].as_str().expect("a sentence");
    assert!(message.contains("client_secret") && message.contains("docs/grants.md"), "{message}");
    assert_eq!(scene.sidecar.token("one").await.status, 200, "the access token is the agent's as before");
    // Neither at once nor later nor in another process.
    scene.world.secrets.age("one");
    decides_anew(&scene.world, &scene.sidecar, "one").await;
    scene.restart().await;
    scene.sidecar.becomes("one", "misconfigured", "secret_bound").await;
    decides_anew(&scene.world, &scene.sidecar, "one").await;
    assert_eq!(scene.reached_the_other(), 0);

    // The lineage before is alive.
    scene.world.secrets.write("one", &sound);
    scene.world.presented_times("one", 2).await;
    scene.sidecar.becomes("one", "ready", "ok").await;
    assert_eq!((scene.world.outcomes("one"), scene.world.revoked()), (vec!["granted".to_owned(); 2], 0));
}

#[tokio::test]
async fn a_person_confirms_that_a_client_moves() {
    let scene = Scene::new().await;
    let login = scene.steer();
    scene.sidecar.becomes("one", "misconfigured", "secret_bound").await;
    scene.world.secrets.edit_state("one", |document| {
        document.as_object_mut().expect("a document").remove("clients");
    });
    scene.other.presented_times("one", 1).await;
    scene.sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(scene.other.presented("one")[0].token_sha256, Some(fingerprint(&login)));
    assert_eq!(scene.world.presented("one").len(), 1);
}

#[tokio::test]
async fn the_state_of_the_version_before_binds_its_client_secret_too() {
    let mut scene = Scene::new().await;
    scene.world.secrets.edit_state("one", |document| {
        document.as_object_mut().expect("a document").remove("clients");
    });
    scene.restart().await;
    eventually("the client secret is recorded", async || {
        let clients = scene.world.secrets.state("one")["clients"].clone();
        if clients.is_array() { Ok(()) } else { Err(clients) }
    })
    .await;
    assert_eq!(scene.world.presented("one").len(), 1, "without a redemption");
    scene.steer();
    scene.sidecar.becomes("one", "misconfigured", "secret_bound").await;
    assert_eq!(scene.reached_the_other(), 0);
}

#[tokio::test]
async fn the_client_secret_of_an_application_is_not_steered_either() {
    for sharing in ["all", "pod"] {
        let scene = Scene::with(&["one", "two"], |world| {
            let yaml = application_yaml(&world.token_url(), sharing);
            let keys = [("client_id", "one"), ("client_secret", &client_secret()), ("grant.yaml", &yaml)];
            world.secrets.grant("one", "oauth2", &keys);
        });
        let mut scene = scene.await;
        eventually("the client secret is recorded", async || {
            let clients = scene.world.secrets.state("one")["clients"].clone();
            if clients.is_array() { Ok(()) } else { Err(clients) }
        })
        .await;
        scene.world.secrets.edit("one", |manifest| {
            // With another client it is another login.
            manifest["stringData"]["client_id"] = json!("two");
            manifest["stringData"]["grant.yaml"] = json!(application_yaml(&scene.front.token_url(), sharing));
        });
        scene.sidecar.becomes("one", "misconfigured", "secret_bound").await;
        // Nor by a new pod, which has never seen the first server.
        scene.restart().await;
        scene.sidecar.becomes("one", "misconfigured", "secret_bound").await;
        assert_eq!(scene.reached_the_other(), 0, "{sharing}");
    }
}

#[tokio::test]
async fn a_pods_own_token_is_not_revoked_at_a_server_that_it_is_not_from() {
    let revocable = |token_url: &str| {
        let revocation = token_url.replace("/oauth/token", "/oauth/revoke");
        format!("{}revocation_url: {revocation}\n", application_yaml(token_url, "pod"))
    };
    let mut scene = Scene::with(&["one"], |world| {
        let yaml = revocable(&world.token_url());
        let keys = [("client_id", "one"), ("client_secret", &client_secret()), ("grant.yaml", &yaml)];
        world.secrets.grant("one", "oauth2", &keys);
    })
    .await;
    scene.world.secrets.set("one", "grant.yaml", &revocable(&scene.front.token_url()));
    scene.sidecar.becomes("one", "misconfigured", "binding_changed").await;
    scene.sidecar.terminate();
    assert!(scene.sidecar.ended().await.success());
    let said = |line: &Value| line.to_string().contains("access token not revoked");
    assert!(scene.sidecar.log().iter().any(said));
    assert_eq!(scene.reached_the_other(), 0, "neither the token nor the client secret");
}

fn application_yaml(token_url: &str, sharing: &str) -> String {
    format!("flow: client_credentials\nsharing: {sharing}\n{}", grant_yaml(token_url))
}

#[tokio::test]
async fn a_login_that_no_server_accepted_goes_on_when_its_settings_are_corrected() {
    let names = ["client", "path", "page", "server", "slash"];
    let world = World::with(&names).await;
    let page = answer("404 Not Found", &["Content-Type: text/html"], b"<html>no such page</html>");
    let dead =
        answer("400 Bad Request", &["Content-Type: application/json"], b"{\"error\":\"invalid_grant\"}");
    let slash = answer("301 Moved Permanently", &["Location: /o/token/"], b"");
    let wires = [
        Wire::sends(&world.authority, [page]).await,
        Wire::sends(&world.authority, [dead]).await,
        Wire::sends(&world.authority, [slash]).await,
    ];
    let right = grant_yaml(&world.token_url());
    world.secrets.set("client", "client_id", "clinet");
    world.secrets.set("path", "grant.yaml", &right.replace("/oauth/token", "/oauth/tokn"));
    for (name, wire) in ["page", "server", "slash"].iter().zip(&wires) {
        world.secrets.set(name, "grant.yaml", &grant_yaml(&wire.token_url()));
    }
    let sidecar = world.sidecar(&names).start().await;
    for (name, state, reason) in [
        ("client", "misconfigured", "invalid_client"),
        ("path", "pending", "oauth_error"),
        ("page", "pending", "in_doubt"),
        ("server", "reauth_required", "invalid_grant"),
        ("slash", "misconfigured", "redirected"),
    ] {
        sidecar.becomes(name, state, reason).await;
    }
    world.secrets.set("client", "client_id", "client");
    for name in &names[1..] {
        world.secrets.set(name, "grant.yaml", &right);
    }
    for name in names {
        sidecar.becomes(name, "ready", "ok").await;
        assert!(world.standin.is_active(&sidecar.access_token(name).await), "{name}");
    }
    assert_eq!(world.revoked(), 0);
}

#[tokio::test]
async fn a_login_whose_answer_is_missing_may_have_been_accepted_and_stays_where_it_is() {
    let world = World::with(&["one"]).await;
    world.standin.fail_next(1, &Fault::new(How::Close).after_commit());
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "pending", "in_doubt").await;
    let other = World::without_logins(&["one"]).await;
    let front = Front::before(&other.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    sidecar.becomes("one", "misconfigured", "binding_changed").await;
    world.secrets.hurry("one");
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!((other.presented("one").len(), world.presented("one").len()), (0, 1));
}

#[tokio::test]
async fn a_new_login_that_was_refused_with_wrong_settings_is_tried_again_with_the_right_ones() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.secrets.rest("one");
    let dead =
        answer("400 Bad Request", &["Content-Type: application/json"], b"{\"error\":\"invalid_grant\"}");
    let wire = Wire::sends(&world.authority, [dead]).await;
    let login = world.standin.seed(Provider::Generic, "one");
    // At another server a client has another secret.
    world.secrets.edit("one", |manifest| {
        manifest["stringData"]["refresh_token"] = json!(login);
        manifest["stringData"]["client_secret"] = json!("a-secret-for-the-wrong-server");
        manifest["stringData"]["grant.yaml"] = json!(grant_yaml(&wire.token_url()));
    });
    sidecar.becomes("one", "misconfigured", "binding_changed").await;
    assert_eq!(wire.requests().len(), 1, "refused, so the login before is back");
    world.secrets.edit("one", |manifest| {
        manifest["stringData"]["client_secret"] = json!(client_secret());
        manifest["stringData"]["grant.yaml"] = json!(grant_yaml(&world.token_url()));
    });
    world.secrets.rest("one");
    world.presented_times("one", 2).await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.presented("one")[1].token_sha256, Some(fingerprint(&login)));
}
