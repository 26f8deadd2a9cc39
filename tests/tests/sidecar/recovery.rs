//! Corrections take effect at once, without a restart, and without a wait that belongs to the old settings.

use super::*;

/// Sets a grant's backoff into the next century, as after a long row of failures.
fn wait_for_decades(world: &World, name: &str) {
    world
        .secrets
        .edit_state(name, |document| document["retry"]["not_before"] = json!("2099-01-01T00:00:00Z"));
}

#[tokio::test]
async fn a_corrected_client_secret_is_used_at_once() {
    let world = World::with(&["one"]).await;
    world.secrets.set("one", "client_secret", "not-the-secret");
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "misconfigured", "invalid_client").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("client_secret")), "{listed}");
    wait_for_decades(&world, "one");
    world.secrets.set("one", "client_secret", &client_secret());
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one"), ["invalid_client", "granted"]);
}

#[tokio::test]
async fn a_corrected_client_auth_is_used_at_once() {
    let world = World::with(&["one"]).await;
    let sound = world.secrets.bytes("one");
    let basic = grant_yaml(&world.token_url()).replace("client_auth: post", "client_auth: basic");
    world.secrets.set("one", "grant.yaml", &basic);
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "misconfigured", "invalid_client").await;
    wait_for_decades(&world, "one");
    world.secrets.write("one", &sound);
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn a_private_address_that_becomes_allowed_is_used_at_once() {
    let world = World::with(&["one"]).await;
    let sound = world.secrets.bytes("one");
    let strict = grant_yaml(&world.token_url()).replace("allow_private: true\n", "");
    world.secrets.set("one", "grant.yaml", &strict);
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "misconfigured", "private_address").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("allow_private")), "{listed}");
    assert_eq!(presentations(&world.standin.log()).count(), 0);
    wait_for_decades(&world, "one");
    world.secrets.write("one", &sound);
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn a_private_address_behind_a_name_is_refused_too() {
    let world = World::with(&["name", "v6", "any", "mapped"]).await;
    let port = world.standin.addr().port();
    for (name, host) in
        [("name", "localhost"), ("v6", "[::1]"), ("any", "0.0.0.0"), ("mapped", "[::ffff:127.0.0.1]")]
    {
        let url = format!("https://{host}:{port}/oauth/token");
        world.secrets.set(name, "grant.yaml", &grant_yaml(&url).replace("allow_private: true\n", ""));
    }
    let sidecar = world.sidecar(&["name", "v6", "any", "mapped"]).start().await;
    for name in ["name", "v6", "any", "mapped"] {
        sidecar.becomes(name, "misconfigured", "private_address").await;
    }
    assert_eq!(presentations(&world.standin.log()).count(), 0);
}

#[tokio::test]
async fn a_secret_corrected_after_the_token_expired_is_used_at_once() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    // The client secret was changed at the provider, the refresh failed, and the token has expired meanwhile.
    world.secrets.set("one", "client_secret", "not-the-secret");
    world.secrets.age("one");
    sidecar.becomes("one", "misconfigured", "invalid_client").await;
    world.secrets.edit_state("one", |document| document["access"]["expires_at"] = json!(LONG_AGO));
    world.secrets.rest("one");
    wait_for_decades(&world, "one");
    world.secrets.set("one", "client_secret", &client_secret());
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn changed_settings_do_not_let_a_short_lived_token_expire() {
    let world = World::with(&["one"]).await;
    world.standin.set_token_life(Some(6));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let yaml = grant_yaml(&world.token_url()).replace("[read]", "[read, write]");
    world.secrets.set("one", "grant.yaml", &yaml);
    eventually("a second token", async || {
        assert_eq!(sidecar.token("one").await.status, 200);
        let presented = world.presented("one").len();
        if presented > 1 { Ok(()) } else { Err(presented) }
    })
    .await;
}

#[tokio::test]
async fn a_dead_login_needs_a_new_login_and_no_restart() {
    let world = World::without_logins(&["one"]).await;
    let seed = world.log_in("one");
    world.standin.revoke(&seed);
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "reauth_required", "invalid_grant").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("log in again")), "{listed}");
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(world.outcomes("one"), ["invalid_grant"], "presented once");
    world.log_in("one");
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one"), ["invalid_grant", "granted"]);
}

#[tokio::test]
async fn the_token_of_a_dead_login_is_served_until_it_expires() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.standin.fail_next(1, &Fault::oauth_error(400, "invalid_grant"));
    world.secrets.age("one");
    sidecar.becomes("one", "reauth_required", "spent_elsewhere").await;
    assert_eq!(sidecar.token("one").await.status, 200);
}

#[tokio::test]
async fn a_failing_grant_is_degraded_then_expired_then_ready() {
    let world = World::with(&["one"]).await;
    world.standin.set_token_life(Some(12));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    world.standin.fail_next(1, &Fault::status(429).with_header("retry-after", "600"));
    sidecar.becomes("one", "degraded", "rate_limited").await;
    assert_eq!(sidecar.token("one").await.status, 200);
    sidecar.becomes("one", "expired", "rate_limited").await;
    assert_eq!(sidecar.token("one").await.status, 503);
    world.standin.set_token_life(None);
    world.secrets.hurry("one");
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn an_untrusted_certificate_is_refused_until_it_is_changed() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &Authority::new()).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "pending", "tls").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("providerRoots")), "{listed}");
    assert_eq!(presentations(&world.standin.log()).count(), 0, "nothing was sent");
    front.is_of(&world.authority);
    world.secrets.hurry("one");
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn dns_failures_and_refused_connections_have_different_reasons() {
    let world = World::with(&["nowhere", "closed", "other-name"]).await;
    let closed =
        std::net::TcpListener::bind(LOOPBACK).expect("a free port").local_addr().expect("an address");
    let port = world.standin.addr().port();
    for (name, host) in [
        ("nowhere", "nowhere.invalid".to_owned()),
        ("closed", closed.to_string()),
        // The certificate is trusted, but not for this address.
        ("other-name", format!("127.0.0.2:{port}")),
    ] {
        world.secrets.set(name, "grant.yaml", &grant_yaml(&format!("https://{host}/oauth/token")));
    }
    let sidecar = world.sidecar(&["nowhere", "closed", "other-name"]).start().await;
    for (name, reason, word) in [
        ("nowhere", "dns", "address"),
        ("closed", "connect", "reached"),
        ("other-name", "connect", "reached"),
    ] {
        let listed = sidecar.becomes(name, "pending", reason).await;
        assert!(listed["message"].as_str().is_some_and(|text| text.contains(word)), "{listed}");
        assert_eq!(world.secrets.state(name)["doubt"], Value::Null, "nothing was sent");
    }
    assert_eq!(presentations(&world.standin.log()).count(), 0);
}
