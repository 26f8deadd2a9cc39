//! What an agent gets in normal operation, and what it must not get yet.

use std::collections::BTreeSet;

use agent_creds_tests::oidc::{self, Oidc};

use super::*;

#[tokio::test]
async fn a_token_is_served_on_loopback_with_the_key_and_on_the_socket_without() {
    let world = World::with(&["devops-agent-pagerduty"]).await;
    let setup = Setup::new(&world.secrets).trust(world.standin.ca_pem());
    let sidecar = setup.argument("--grant=pagerduty=devops-agent-pagerduty").start().await;
    sidecar.becomes("pagerduty", "ready", "ok").await;

    let answer = sidecar.token("pagerduty").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
    let body = answer.json();
    let fields: BTreeSet<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["access_token", "token_type", "expires_in", "expires_at", "scope"]));
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("read")));
    let token = body["access_token"].as_str().expect("a token");
    assert!(world.standin.is_active(token));

    let on_socket = sidecar.get_on_socket("/v1/token/pagerduty").await.json();
    assert_eq!(on_socket["access_token"], token);
    assert_eq!(world.outcomes("devops-agent-pagerduty"), ["granted"]);
}

#[tokio::test]
async fn an_independent_server_sees_each_refresh_token_once() {
    let client = oidc::Client::confidential("agent", &client_secret(), ClientAuth::Post);
    let config =
        oidc::Config { clients: vec![client], scopes: vec!["read".to_owned()], ..oidc::Config::default() };
    let server = Oidc::start(config).await.expect("the independent server");
    let seed = server.seed("agent", "openid offline_access read").await.expect("a login");
    let secrets = Secrets::new();
    let yaml = grant_yaml(&format!("{}/token", server.issuer()));
    let secret = client_secret();
    let keys =
        [("client_id", "agent"), ("client_secret", &secret), ("refresh_token", &seed), ("grant.yaml", &yaml)];
    secrets.grant("agent", "oauth2", &keys);
    let sidecar = Setup::new(&secrets).trust(server.ca_pem()).grant("agent").start().await;
    sidecar.becomes("agent", "ready", "ok").await;

    for presented in 1..=3 {
        let token = sidecar.access_token("agent").await;
        let introspected = server.introspect(&token).await.expect("an introspection");
        assert_eq!((&introspected["active"], &introspected["scope"]), (&json!(true), &json!("read")));
        let log = server.log().await.expect("a log");
        assert_eq!(presentations(&log).filter(|seen| seen.outcome == "granted").count(), presented);
        assert_eq!((presentations(&log).count(), revoked(&log).count()), (presented, 0));

        secrets.age("agent");
        eventually("another token", async || {
            let now = sidecar.access_token("agent").await;
            if now == token { Err(()) } else { Ok(()) }
        })
        .await;
    }
}

#[tokio::test]
async fn client_credentials_need_no_refresh_token_and_basic_is_the_default() {
    let world = World::without_logins(&[]).await;
    let secret = client_secret();
    let client = Client::generic("robot:1", Some(&secret), ClientAuth::Basic, &["read"]);
    let config = Config { clients: vec![client], ..Config::default() };
    let standin = Standin::start(LOOPBACK, config).await.expect("starting the stand-in");
    let url = standin.token_url(Provider::Generic);
    let yaml = format!("flow: client_credentials\ntoken_url: {url}\nallow_private: true\nscopes: [read]");
    let keys = [("client_id", "robot:1"), ("client_secret", &secret), ("grant.yaml", &yaml)];
    world.secrets.grant("robot", "oauth2", &keys);
    let sidecar = Setup::new(&world.secrets).trust(standin.ca_pem()).grant("robot").start().await;
    sidecar.becomes("robot", "ready", "ok").await;
    assert!(standin.is_active(&sidecar.access_token("robot").await));
    let log = standin.log();
    let kinds: Vec<_> = presentations(&log).map(|seen| seen.grant_type.as_deref()).collect();
    assert_eq!(kinds, [Some("client_credentials")]);
}

#[tokio::test]
async fn grants_are_listed_in_the_documented_format() {
    let world = World::with(&["good", "bad"]).await;
    world.standin.fail_next(1, &Fault::status(503).of_client("bad"));
    let sidecar = world.sidecar(&["good", "bad"]).start().await;
    sidecar.becomes("good", "ready", "ok").await;
    sidecar.becomes("bad", "pending", "in_doubt").await;

    let answer = sidecar.get("/v1/grants").await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["cache-control"]),
        (200, &"no-store".parse().expect("text"))
    );
    let listed = answer.json();
    assert_eq!(listed.as_object().map(serde_json::Map::len), Some(1));
    let grants = listed["grants"].as_array().expect("a list");
    let fields =
        ["name", "provider", "state", "reason", "message", "expires_at", "scopes", "expose", "reauth_at"];
    for grant in grants {
        let found: BTreeSet<_> = grant.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(found, BTreeSet::from(fields));
    }
    let [good, bad] = grants.as_slice() else { panic!("two grants: {listed}") };
    let life = good["expires_at"].as_i64().expect("integer seconds") - now();
    assert!((3500..=3600).contains(&life), "{life}");
    let expected = json!({ "name": "good", "provider": "oauth2", "state": "ready", "reason": "ok", "message": "",
        "expires_at": good["expires_at"], "scopes": ["read"], "expose": ["token"], "reauth_at": null });
    assert_eq!(good, &expected);
    assert_eq!(
        (&bad["expires_at"], &bad["scopes"], &bad["reauth_at"]),
        (&Value::Null, &json!([]), &Value::Null)
    );
    assert_eq!(sidecar.get_on_socket("/v1/grants").await.json(), listed);
}

#[tokio::test]
async fn expires_in_counts_from_the_time_of_the_answer() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let first = sidecar.token("one").await.json();
    let later = eventually("a second has passed", async || {
        let before = now();
        let answer = sidecar.token("one").await.json();
        let (at, left) = (answer["expires_at"].as_i64(), answer["expires_in"].as_i64());
        let (at, left) = (at.expect("an integer"), left.expect("an integer"));
        assert!((before..=now()).contains(&(at - left)), "{at} - {left} is now, {before}");
        if answer["expires_in"] == first["expires_in"] { Err(left) } else { Ok(answer) }
    })
    .await;
    assert_eq!(later["expires_at"], first["expires_at"]);
}

#[tokio::test]
async fn a_rotated_token_is_stored_before_it_is_served() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    let grant_secret = world.secrets.bytes("one");
    front.hold();
    let sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    // The provider has rotated the token, and its answer is held back.
    world.secrets.block("one");
    front.release();
    let listed = sidecar.becomes("one", "pending", "store_unavailable").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("one-state")), "{listed}");
    assert_eq!(sidecar.metrics().await["agent_creds_unpersisted_refresh_token{grant=\"one\"}"], 1.0);
    let (status, error, _) = refusal(&sidecar.token("one").await);
    assert_eq!((status, &*error), (503, "temporarily_unavailable"));
    assert_eq!(listed["expires_at"], Value::Null);

    world.secrets.unblock("one");
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(sidecar.metrics().await["agent_creds_unpersisted_refresh_token{grant=\"one\"}"], 0.0);
    assert!(world.standin.is_active(&sidecar.access_token("one").await));
    let presented = world.presented("one");
    assert_eq!(presented.len(), 1, "the answer was kept, so there is no second request: {presented:?}");
    let state = world.secrets.state("one");
    assert_eq!(state["refresh"]["fp"].as_str(), presented[0].child_sha256.as_deref());
    assert_eq!(state["gen"], 1);
    assert_eq!(world.secrets.bytes("one"), grant_secret, "the grant Secret is never written");
}

#[tokio::test]
async fn nothing_is_served_while_another_process_holds_the_states_lock() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    let sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    let lock = world.secrets.lock("one");
    front.release();
    // Once the sidecar waits for the lock, the kernel lists it as a waiter.
    eventually("the sidecar waits for the lock", async || {
        let held = std::fs::read_to_string("/proc/locks").expect("the kernel's table of locks");
        let pid = sidecar.pid().to_string();
        let waits =
            held.lines().any(|line| line.contains("->") && line.split_whitespace().any(|word| word == pid));
        if waits { Ok(()) } else { Err(held) }
    })
    .await;
    assert_eq!(sidecar.token("one").await.status, 503);
    assert_eq!(sidecar.grant("one").await["state"], "pending");
    drop(lock);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn a_503_reports_that_a_received_token_is_not_stored_yet() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    let sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    world.secrets.block("one");
    front.release();
    sidecar.becomes("one", "pending", "store_unavailable").await;
    let (_, _, description) = refusal(&sidecar.token("one").await);
    assert!(description.contains("stored"), "{description}");
}

#[tokio::test]
async fn an_expired_token_is_never_served() {
    let world = World::with(&["one"]).await;
    world.standin.set_token_life(Some(3));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    // Every later refresh fails, so the token expires.
    world.standin.fail_next(100, &Fault::oauth_error(400, "invalid_request"));
    let mut states = BTreeSet::new();
    eventually("the token expires", async || {
        let before = now();
        let answer = sidecar.token("one").await;
        if answer.status == 200 {
            let end = answer.json()["expires_at"].as_i64().expect("an integer");
            assert!(end >= before, "served at {before}, ended at {end}");
            states.insert(sidecar.grant("one").await["state"].to_string());
            return Err(end - before);
        }
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
        Ok(())
    })
    .await;
    let after = sidecar.grant("one").await;
    assert_ne!(after["state"], "ready", "{after}");
    assert!(after["expires_at"].as_i64().is_some_and(|end| end <= now()), "{after}");
}
