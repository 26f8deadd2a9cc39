//! Missing and invalid Secrets. The state, the reason and a message with the object and the key report each of them.
//! Nothing is presented, and the sidecar recovers without a restart when the Secret is corrected.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A mistake in a grant's Secrets: its name, which is also the grant's, a function that makes it, and words that the
/// message must contain.
pub(crate) type Row = (&'static str, fn(&World, &str), &'static [&'static str]);

/// Writes raw bytes under a key, in place of its text.
fn raw(world: &World, name: &str, key: &str, bytes: &[u8]) {
    world.secrets.unset(name, key);
    world.secrets.edit(name, |manifest| manifest["data"][key] = json!(STANDARD.encode(bytes)));
}

/// Writes a value under a key of `data` that is not base64.
fn undecodable(world: &World, name: &str, key: &str) {
    world.secrets.unset(name, key);
    world.secrets.edit(name, |manifest| manifest["data"][key] = json!("not: base64!"));
}

/// Moves the value of a key to another key.
fn renamed(world: &World, name: &str, key: &str, found: &str) {
    world.secrets.edit(name, |manifest| {
        let texts = manifest["stringData"].as_object_mut().expect("a mapping");
        let value = texts.remove(key).expect("the key");
        texts.insert(found.to_owned(), value);
    });
}

fn yaml(world: &World, name: &str, more: &str) {
    let text = format!("{}{more}\n", grant_yaml(&world.token_url()));
    world.secrets.set(name, "grant.yaml", &text);
}

fn label(world: &World, name: &str, key: &str, value: &str) {
    world.secrets.edit(name, |manifest| manifest["metadata"]["labels"] = json!({ key: value }));
}

fn issued_at(world: &World, name: &str, time: &str) {
    world.secrets.edit(name, |manifest| {
        manifest["metadata"]["annotations"] = json!({ "agent-creds/issued-at": time });
    });
}

/// Checks that each row's grant is misconfigured for this reason with its message, and gets a token after the
/// correction, without a restart.
pub(crate) async fn told_and_mended(reason: &str, rows: &[Row]) {
    let names: Vec<_> = rows.iter().map(|(name, ..)| *name).collect();
    let world = World::with(&names).await;
    let sound: Vec<_> = names
        .iter()
        .map(|name| (world.secrets.bytes(name), world.secrets.bytes(&format!("{name}-state"))))
        .collect();
    for (name, spoil, _) in rows {
        spoil(&world, name);
    }
    let mut sidecar = world.sidecar(&names).start().await;
    let mut wrong = Vec::new();
    for (name, _, words) in rows {
        let listed = sidecar.becomes(name, "misconfigured", reason).await;
        let message = listed["message"].as_str().expect("a message");
        if let Some(missing) = words.iter().chain([name]).find(|word| !message.contains(**word)) {
            wrong.push(format!("{name}: no {missing:?} in {message:?}"));
        }
        let (status, _, description) = refusal(&sidecar.token(name).await);
        assert_eq!((status, &*description), (503, message));
    }
    assert_eq!(presentations(&world.standin.log()).count(), 0, "an invalid Secret is not used");
    for (name, (grant, state)) in names.iter().zip(&sound) {
        world.secrets.write(name, grant);
        world.secrets.write(&format!("{name}-state"), state);
    }
    for name in &names {
        sidecar.becomes(name, "ready", "ok").await;
        assert_eq!(world.outcomes(name), ["granted"]);
    }
    assert!(sidecar.runs());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_missing_or_malformed_credential_is_reported_with_its_key() {
    told_and_mended(
        "grant_invalid",
        &[
            ("empty", |w, n| w.secrets.grant(n, "oauth2", &[]), &["key grant.yaml", "token_url"]),
            ("no-client-id", |w, n| w.secrets.unset(n, "client_id"), &["key client_id", "missing"]),
            ("no-secret", |w, n| w.secrets.unset(n, "client_secret"), &["key client_secret", "missing"]),
            (
                "no-refresh-token",
                |w, n| w.secrets.unset(n, "refresh_token"),
                &["key refresh_token", "missing"],
            ),
            ("blank-id", |w, n| w.secrets.set(n, "client_id", " \n"), &["key client_id", "empty"]),
            ("blank-token", |w, n| w.secrets.set(n, "refresh_token", ""), &["key refresh_token", "empty"]),
            ("spaces-in-id", |w, n| w.secrets.set(n, "client_id", "a b"), &["key client_id", "spaces"]),
            (
                "spaces-in-secret",
                |w, n| w.secrets.set(n, "client_secret", "a b"),
                &["key client_secret", "spaces"],
            ),
            (
                "spaces-in-token",
                |w, n| w.secrets.set(n, "refresh_token", "a\nb"),
                &["key refresh_token", "spaces"],
            ),
            ("bytes-in-id", |w, n| raw(w, n, "client_id", b"\xff\xfe"), &["key client_id", "UTF-8"]),
            ("bytes-in-secret", |w, n| raw(w, n, "client_secret", b"\xc3("), &["key client_secret", "UTF-8"]),
            ("bytes-in-token", |w, n| raw(w, n, "refresh_token", b"\0\x80"), &["key refresh_token", "UTF-8"]),
            ("bytes-in-file", |w, n| raw(w, n, "grant.yaml", b"\xff"), &["key grant.yaml", "UTF-8"]),
            ("twice-encoded", |w, n| raw(w, n, "client_id", "ü".as_bytes()), &["key client_id", "non-ASCII"]),
            ("other-keys", |w, n| w.secrets.set(n, "api_key", "x"), &["key api_key", "not built"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_misspelt_key_and_a_value_that_no_credential_has_are_reported() {
    told_and_mended(
        "grant_invalid",
        &[
            (
                "hyphen",
                |w, n| renamed(w, n, "client_id", "client-id"),
                &["key client_id: missing; found `client-id`: did you mean client_id?"],
            ),
            (
                "misspelt",
                |w, n| renamed(w, n, "refresh_token", "refresh_tokn"),
                &["key refresh_token: missing; found `refresh_tokn`"],
            ),
            (
                "yml",
                |w, n| renamed(w, n, "grant.yaml", "grant.yml"),
                &["key grant.yml: no such key; did you mean grant.yaml?"],
            ),
            (
                "quoted",
                |w, n| w.secrets.set(n, "refresh_token", "\"rt-good\""),
                &["key refresh_token: surrounded by quotes"],
            ),
            (
                "template",
                |w, n| w.secrets.set(n, "client_secret", "<path:secret/data/agent#hush>"),
                &["key client_secret: a placeholder"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_unknown_key_is_a_warning_in_the_log_and_in_the_message() {
    let world = World::with(&["one"]).await;
    world.secrets.set("one", "client-id", "id-old");
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "ready", "ok").await;
    let warning = "key client-id: no such key; did you mean client_id?";
    assert_eq!(listed["message"], format!("Secret one: {warning}"));
    let lines = || {
        let is_warning = |line: &&Value| line.to_string().contains("unknown key in the grant Secret");
        sidecar.log().iter().filter(is_warning).count()
    };
    assert_eq!(lines(), 1);
    world.secrets.set("one", "client-id", "id-older");
    world.secrets.set("one", "note", "x");
    eventually("the changed warning is in the message", async || {
        let listed = sidecar.grant("one").await;
        let message = listed["message"].as_str().unwrap_or_default();
        if message.ends_with("key note: no such key; remove it") { Ok(()) } else { Err(listed) }
    })
    .await;
    assert_eq!(lines(), 3, "once for each change");
}

#[tokio::test]
async fn a_mistake_in_grant_yaml_is_reported_with_its_key() {
    told_and_mended(
        "grant_invalid",
        &[
            ("no-label", |w, n| label(w, n, "app", "x"), &["label agent-creds/provider", "no such label"]),
            (
                "unknown-provider",
                |w, n| label(w, n, "agent-creds/provider", "pagerdoody"),
                &["label agent-creds/provider", "pagerdoody", "oauth2"],
            ),
            (
                "no-time",
                |w, n| issued_at(w, n, "yesterday"),
                &["annotation agent-creds/issued-at", "RFC 3339"],
            ),
            (
                "no-time-to-count-from",
                |w, n| issued_at(w, n, "9999-12-30T22:00:00Z"),
                &["annotation agent-creds/issued-at", "RFC 3339"],
            ),
            ("broken", |w, n| yaml(w, n, "scopes: ["), &["key grant.yaml", "line "]),
            ("no-mapping", |w, n| w.secrets.set(n, "grant.yaml", "- a"), &["key grant.yaml", "list"]),
            (
                "unknown-key",
                |w, n| yaml(w, n, "scope: read"),
                &["key grant.yaml", "scope: found no such key", "did you mean scopes?"],
            ),
            ("not-built", |w, n| yaml(w, n, "allow: [read]"), &["key grant.yaml", "allow", "not built"]),
            ("exposed", |w, n| yaml(w, n, "expose: [proxy]"), &["key grant.yaml", "expose[0]", "not built"]),
            (
                "unknown-flow",
                |w, n| yaml(w, n, "flow: code"),
                &["key grant.yaml", "flow", "client_credentials"],
            ),
            ("wrong-type", |w, n| yaml(w, n, "region: 1"), &["key grant.yaml", "region", "a number"]),
            ("region", |w, n| yaml(w, n, "region: eu"), &["key grant.yaml", "region"]),
            ("no-url", |w, n| w.secrets.unset(n, "grant.yaml"), &["key grant.yaml", "token_url"]),
            (
                "plain-http",
                |w, n| w.secrets.set(n, "grant.yaml", &grant_yaml("http://127.0.0.1:1/oauth/token")),
                &["key grant.yaml", "token_url", "https"],
            ),
            (
                "needless-token",
                |w, n| yaml(w, n, "flow: client_credentials"),
                &["key refresh_token", "client_credentials"],
            ),
            (
                "robot-without-secret",
                |w, n| {
                    yaml(w, n, "flow: client_credentials");
                    w.secrets.unset(n, "refresh_token");
                    w.secrets.unset(n, "client_secret");
                },
                &["key client_secret", "client_credentials"],
            ),
            ("no-yaml-manifest", |w, n| w.secrets.write(n, b"{"), &["YAML"]),
            ("config-map", |w, n| w.secrets.write(n, b"kind: ConfigMap"), &["Secret"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_value_that_is_not_base64_is_reported_with_its_key() {
    told_and_mended(
        "grant_invalid",
        &[
            ("client-id", |w, n| undecodable(w, n, "client_id"), &["client_id", "base64"]),
            ("client-secret", |w, n| undecodable(w, n, "client_secret"), &["client_secret", "base64"]),
            ("refresh-token", |w, n| undecodable(w, n, "refresh_token"), &["refresh_token", "base64"]),
            ("grant-yaml", |w, n| undecodable(w, n, "grant.yaml"), &["grant.yaml", "base64"]),
            (
                "number",
                |w, n| w.secrets.edit(n, |manifest| manifest["stringData"]["client_id"] = json!(7)),
                &["client_id", "text"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn base64_with_line_breaks_is_accepted() {
    let world = World::with(&["one"]).await;
    world.secrets.edit("one", |manifest| {
        let token = manifest["stringData"]["refresh_token"].as_str().expect("a token").to_owned();
        let encoded = STANDARD.encode(token);
        let (head, tail) = encoded.split_at(20);
        manifest["data"]["refresh_token"] = json!(format!("{head}\n{tail}\n"));
        manifest["stringData"].as_object_mut().expect("a mapping").remove("refresh_token");
    });
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn an_unknown_provider_is_null() {
    let world = World::with(&["one"]).await;
    world.secrets.remove("one");
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "misconfigured", "grant_missing").await;
    assert_eq!(listed["provider"], Value::Null);
}

#[tokio::test]
async fn a_secret_without_permission_is_reported_and_nothing_is_presented() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::with(&["one"]).await;
    let root = rustix::process::geteuid().is_root();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own file");
    };
    let setup = world.sidecar(&["one"]);
    mode(&world.secrets.manifest("one"), 0o000);
    mode(world.secrets.path(), 0o555);
    let sidecar = if root { setup.user(54_911) } else { setup }.start().await;
    let listed = sidecar.becomes("one", "misconfigured", "store_forbidden").await;
    assert!(
        listed["message"].as_str().is_some_and(|text| text.contains("Secret one: not allowed")),
        "{listed}"
    );
    mode(&world.secrets.manifest("one"), 0o444);
    eventually("the state Secret is reported", async || {
        let listed = sidecar.grant("one").await;
        let message = listed["message"].as_str().unwrap_or_default();
        if message.contains("Secret one-state: not allowed") { Ok(()) } else { Err(listed) }
    })
    .await;
    assert_eq!(world.presented("one").len(), 0, "nothing is presented that could not be stored");
    mode(world.secrets.path(), 0o755);
    sidecar.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn a_missing_secret_is_reported() {
    told_and_mended("grant_missing", &[("absent", |w, n| w.secrets.remove(n), &["does not exist"])]).await;
    told_and_mended(
        "state_missing",
        &[(
            "stateless",
            |w, n| w.secrets.remove(&format!("{n}-state")),
            &["stateless-state", "does not exist", "kubectl"],
        )],
    )
    .await;
}
