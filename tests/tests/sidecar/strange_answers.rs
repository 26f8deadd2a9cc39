//! Answers that a token endpoint, or a proxy before it, really sends: what can be read is served, what cannot is kept in the spool
//! and told, and nothing is presented twice for it.

use agent_creds_tests::sidecar::eventually;

use super::wire::{Wire, answer, fixture};
use super::*;

const JSON: &str = "Content-Type: application/json";
const HTML: &str = "Content-Type: text/html";

/// A grant at a server that sends these answers.
struct Scene {
    wire: Wire,
    authority: Authority,
    secrets: Secrets,
}

impl Scene {
    async fn new(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::with(answers, "").await
    }

    /// A grant without a refresh token.
    async fn without_rotation(answers: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self::with(answers, "flow: client_credentials\n").await
    }

    async fn with(answers: impl IntoIterator<Item = Vec<u8>>, flow: &str) -> Self {
        let (authority, secrets) = (Authority::new(), Secrets::new());
        let wire = Wire::sends(&authority, answers).await;
        let url = wire.token_url();
        let yaml = format!(
            "{flow}token_url: {url}\nclient_auth: post\nallow_private: true\nscopes: [incidents.read]\n"
        );
        let (secret, token) = (client_secret(), "the-login-of-this-test");
        let mut keys = vec![("client_id", "one"), ("client_secret", &secret), ("grant.yaml", &yaml)];
        if flow.is_empty() {
            keys.push(("refresh_token", token));
        }
        secrets.grant("one", "oauth2", &keys);
        Self { wire, authority, secrets }
    }

    fn setup(&self) -> Setup {
        Setup::new(&self.secrets).trust(self.authority.ca_pem()).grant("one")
    }

    fn head(&self) -> Value {
        self.secrets.state("one")["refresh"]["token"].clone()
    }
}

fn good(refresh: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"access_token":"at-good","token_type":"Bearer","expires_in":3600,"refresh_token":"{refresh}","scope":"incidents.read"}}"#
    );
    answer("200 OK", &[JSON], body.as_bytes())
}

fn message(listed: &Value) -> &str {
    listed["message"].as_str().expect("a message")
}

/// The answers in the spool of the grant.
fn unread(sidecar: &Sidecar) -> Vec<Value> {
    let file = sidecar.volumes().path().join("spool/unread-one.json");
    std::fs::read(file).map(|text| serde_json::from_slice(&text).expect("JSON")).unwrap_or_default()
}

#[tokio::test]
async fn a_token_that_can_be_read_is_served_at_once() {
    let escaped = "access_token=at-%2B&expires_in=3600&refresh_token=rt2-%2B%2f%3D&scope=incidents.read";
    let utf16: Vec<u8> = r#"{"access_token":"at-16","refresh_token":"rt2-16","scope":"incidents.read"}"#
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let wrapped = r#"{"data":{"access_token":"at-w","refresh_token":"rt2-w","scope":"incidents.read"}}"#;
    let rest = r#"{"access_token":"at-r","refresh_token":"rt2-r","scope":"incidents.read"} <!-- proxy -->"#;
    let rows = [
        (fixture("gzip-unasked.http"), "rt2-gzip-unasked"),
        (fixture("form-encoded.http"), "rt2-form-encoded"),
        (fixture("bom.http"), "rt2-bom"),
        (fixture("duplicate-keys.http"), "rt2-duplicate-keys"),
        (fixture("refresh-number.http"), "12345678"),
        (answer("200 OK", &["Content-Type: text/html"], escaped.as_bytes()), "rt2-+/="),
        (answer("201 Created", &["Content-Type: application/json; charset=utf-16"], &utf16), "rt2-16"),
        (answer("200 OK", &[JSON], wrapped.as_bytes()), "rt2-w"),
        (answer("200 OK", &[JSON, "Content-Encoding: br"], rest.as_bytes()), "rt2-r"),
    ];
    for (bytes, refresh) in rows {
        let scene = Scene::new([bytes]).await;
        let sidecar = scene.setup().start().await;
        sidecar.becomes("one", "ready", "ok").await;
        assert_eq!(sidecar.token("one").await.status, 200, "{refresh}");
        assert_eq!(scene.head(), refresh);
        let requests = scene.wire.requests();
        assert_eq!(requests.len(), 1, "{refresh}");
        assert!(requests[0].to_ascii_lowercase().contains("\r\naccept-encoding: identity\r\n"));
    }
}

#[tokio::test]
async fn of_two_different_refresh_tokens_both_are_kept() {
    let two = r#"{"access_token":"at-2","refresh_token":"rt-first","refresh_token":"rt-second","scope":"incidents.read"}"#;
    let scene = Scene::new([answer("200 OK", &[JSON], two.as_bytes())]).await;
    let sidecar = scene.setup().start().await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(scene.head(), "rt-second");
    assert_eq!(scene.secrets.state("one")["spare"][0]["token"], "rt-first");
}

#[tokio::test]
async fn an_oauth_error_in_a_200_is_that_error() {
    let scene = Scene::new([fixture("200-error-github.http")]).await;
    let sidecar = scene.setup().start().await;
    let listed = sidecar.becomes("one", "reauth_required", "invalid_grant").await;
    assert!(message(&listed).contains("HTTP 200"), "{listed}");
    assert_eq!(scene.secrets.state("one")["doubt"], Value::Null);
}

#[tokio::test]
async fn a_redirect_names_its_target_and_the_slash() {
    let scene = Scene::new([fixture("301-slash.http")]).await;
    let sidecar = scene.setup().start().await;
    let listed = sidecar.becomes("one", "misconfigured", "redirected").await;
    let target = format!("HTTP 301 to {}/o/token/", scene.wire.address());
    assert!(message(&listed).contains(&target) && message(&listed).contains("slash"), "{listed}");
    assert_eq!(scene.secrets.state("one")["doubt"], Value::Null, "nothing was carried out");
}

#[tokio::test]
async fn a_redirect_that_repeats_a_credential_does_not_show_it() {
    let location = "Location: https://login.example.com/the-login-of-this-test/?t=the-login-of-this-test";
    let scene = Scene::new([answer("302 Found", &[location], b"")]).await;
    let sidecar = scene.setup().start().await;
    let listed = sidecar.becomes("one", "misconfigured", "redirected").await;
    assert!(message(&listed).ends_with("(HTTP 302)"), "{listed}");
}

#[tokio::test]
async fn a_refusal_that_is_no_oauth_answer_is_told_by_status_and_media_type() {
    for (bytes, told) in [
        (fixture("403-waf.http"), "HTTP 403 with text/html"),
        (answer("401 Unauthorized", &[HTML], b"<html>"), "HTTP 401 with text/html"),
        (answer("405 Method Not Allowed", &["Content-Type: text/plain"], b"no"), "HTTP 405 with text/plain"),
        (answer("451 Unavailable", &[], b""), "HTTP 451"),
        (answer("502 Bad Gateway", &[HTML], b"<html>"), "HTTP 502 with text/html"),
    ] {
        let scene = Scene::new([bytes.clone()]).await;
        let sidecar = scene.setup().start().await;
        let listed = sidecar.becomes("one", "pending", "in_doubt").await;
        assert!(message(&listed).contains(told) && !message(&listed).contains("missing"), "{listed}");
        assert!(unread(&sidecar).is_empty());

        let scene = Scene::without_rotation([bytes]).await;
        let sidecar = scene.setup().start().await;
        let reason = if told.contains("502") { "server_error" } else { "unexpected_answer" };
        let listed = sidecar.becomes("one", "pending", reason).await;
        assert!(message(&listed).contains(&told[..8]), "{listed}");
        assert_eq!(scene.secrets.state("one")["doubt"], Value::Null);
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_not_served_and_its_refresh_token_is_kept() {
    let scene = Scene::new([fixture("type-dpop.http")]).await;
    let sidecar = scene.setup().start().await;
    let listed = sidecar.becomes("one", "misconfigured", "unsupported_token_type").await;
    assert!(message(&listed).contains("Bearer") && message(&listed).contains("HTTP 200"), "{listed}");
    assert_eq!(sidecar.token("one").await.status, 503);
    assert_eq!(scene.head(), "rt2-type-dpop");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_kept_until_a_success() {
    let unreadable = b"\x8b\x1f\x80{encoded: rt2-unread\x03";
    let scene =
        Scene::new([answer("200 OK", &[JSON, "Content-Encoding: br"], unreadable), good("rt3")]).await;
    scene.secrets.guard("rt2-unread");
    let mut sidecar = scene.setup().start().await;
    let listed = sidecar.becomes("one", "pending", "unreadable_answer").await;
    assert!(message(&listed).contains("spool") && message(&listed).contains("HTTP 200"), "{listed}");
    let kept = unread(&sidecar);
    assert_eq!(
        (kept.len(), &kept[0]["status"], &kept[0]["content_encoding"]),
        (1, &json!(200), &json!("br"))
    );
    let logged =
        sidecar.log().iter().any(|line| line.to_string().contains("unreadable answer kept in the spool"));
    assert!(logged);

    // The next container of the pod still has it.
    sidecar.terminate();
    assert!(sidecar.ended().await.success());
    let volumes = sidecar.volumes().clone();
    drop(sidecar);
    let sidecar = scene.setup().volumes(&volumes).start().await;
    sidecar.becomes("one", "pending", "unreadable_answer").await;
    assert_eq!(unread(&sidecar), kept);
    assert_eq!(scene.wire.requests().len(), 1, "not presented again at once");
    scene.secrets.hurry("one");
    sidecar.becomes("one", "ready", "ok").await;
    eventually("the success replaces it", async || {
        let left = unread(&sidecar).len();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
}

#[tokio::test]
async fn a_later_version_saves_the_token_of_an_answer_that_an_earlier_one_could_not_read() {
    let scene = Scene::new([answer("200 OK", &[JSON, "Content-Encoding: br"], b"\x8b\x1f\x80\x03")]).await;
    let mut sidecar = scene.setup().start().await;
    sidecar.becomes("one", "pending", "unreadable_answer").await;
    sidecar.terminate();
    assert!(sidecar.ended().await.success());
    let volumes = sidecar.volumes().clone();
    // What the later version would make of it.
    let file = volumes.path().join("spool/unread-one.json");
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&file).expect("the spool")).expect("JSON");
    let body =
        r#"{"access_token":"at-l","refresh_token":"rt2-later","expires_in":3600,"scope":"incidents.read"}"#;
    kept[0]["body"] = json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body));
    kept[0]["content_encoding"] = json!("");
    std::fs::write(&file, kept.to_string()).expect("our own folder");
    drop(sidecar);
    let sidecar = scene.setup().volumes(&volumes).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!((scene.head(), scene.wire.requests().len()), (json!("rt2-later"), 1));
    assert!(unread(&sidecar).is_empty());
}

#[tokio::test]
async fn an_answer_whose_refresh_token_alone_can_be_read_is_spaced_like_a_doubt() {
    let partly = answer("200 OK", &[JSON], br#"{"access_token":true,"refresh_token":"rt2-partly"}"#);
    let scene = Scene::new([partly, good("rt3")]).await;
    let sidecar = scene.setup().start().await;
    sidecar.becomes("one", "pending", "unreadable_answer").await;
    let state = scene.secrets.state("one");
    assert_eq!((&state["refresh"]["token"], &state["doubt"]), (&json!("rt2-partly"), &Value::Null));
    let not_before: jiff::Timestamp =
        state["retry"]["not_before"].as_str().expect("a time").parse().expect("a time");
    let wait = not_before.as_second() - now();
    assert!((100..=121).contains(&wait), "not every minute, since each rotates once more: {wait}");
    scene.secrets.hurry("one");
    sidecar.becomes("one", "ready", "ok").await;
    assert!(scene.wire.requests()[1].contains("refresh_token=rt2-partly"));
}

#[tokio::test]
async fn where_nothing_rotates_a_failure_is_tried_again_when_the_server_allows() {
    let busy = |header: &str| answer("503 Service Unavailable", &[header, HTML], b"<html>");
    let date = jiff::Timestamp::from_second(now() + 3).expect("a time").strftime("%a, %d %b %Y %H:%M:%S GMT");
    let forbidden = answer("403 Forbidden", &["Retry-After: 400", HTML], b"<html>");
    let scene = Scene::without_rotation([busy(&format!("Retry-After: {date}")), forbidden, good("")]).await;
    let sidecar = scene.setup().start().await;
    let listed = sidecar.becomes("one", "pending", "server_error").await;
    assert!(message(&listed).contains("HTTP 503") && !message(&listed).contains("missing"), "{listed}");
    // After the backoff, which is longer than what the first header asks for.
    sidecar.becomes("one", "pending", "unexpected_answer").await;
    let times = scene.wire.times();
    assert!(times[1].duration_since(times[0]) >= Duration::from_secs(3));
    let state = scene.secrets.state("one");
    let not_before: jiff::Timestamp =
        state["retry"]["not_before"].as_str().expect("a time").parse().expect("a time");
    assert!((380..=400).contains(&(not_before.as_second() - now())), "{state}");
    scene.secrets.hurry("one");
    sidecar.becomes("one", "ready", "ok").await;
}
