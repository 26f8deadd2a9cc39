//! A token endpoint that misbehaves. The state and the reason report each answer, there is no immediate retry, and the
//! grant recovers when the provider does.

use jiff::Timestamp;
use tokio::net::TcpListener;

use super::*;

/// The outcome after the wait that the state prescribes.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// A token, after another presentation of the same refresh token.
    Ready,
    /// A token, after a presentation of the child that was saved from a broken answer.
    Saved,
    /// The provider had processed the unanswered request, so the second presentation revokes the login.
    Dead,
}

/// A grant, its fault, the state and reason that follow, and the outcome.
type Row = (&'static str, Fault, (&'static str, &'static str), End);

/// A 200 with this body.
fn body(text: &str) -> Fault {
    Fault::new(How::Status { status: 200, headers: Vec::new(), body: text.to_owned() })
        .with_header("content-type", "application/json")
}

fn page(status: u16) -> Fault {
    let body = "<html><h1>invalid_grant</h1></html>".to_owned();
    Fault::new(How::Status { status, headers: Vec::new(), body }).with_header("content-type", "text/html")
}

fn cut(at: Cut, framed: bool) -> Fault {
    Fault::new(How::Cut { at, framed })
}

/// Checks each row: the grant's first answer has the fault, and the grant then has the outcome.
async fn told_and_outlived(rows: &[Row]) {
    let names: Vec<_> = rows.iter().map(|(name, ..)| *name).collect();
    let world = World::with(&names).await;
    for (name, fault, ..) in rows {
        world.standin.fail_next(1, &fault.clone().of_client(name));
    }
    let mut sidecar = world.sidecar(&names).start().await;
    for (name, _, (state, reason), _) in rows {
        let listed = sidecar.becomes(name, state, reason).await;
        assert_ne!(listed["message"], "", "{name}");
        assert_eq!(sidecar.token(name).await.status, 503, "{name}");
        assert_eq!(world.secrets.state(name)["claim"], Value::Null, "{name}");
    }
    // Meanwhile each refresher could have presented again.
    for (name, ..) in rows {
        assert_eq!(world.presented(name).len(), 1, "{name} was presented again at once");
        world.secrets.hurry(name);
    }
    for (name, _, _, end) in rows {
        let (state, reason) =
            if *end == End::Dead { ("reauth_required", "invalid_grant") } else { ("ready", "ok") };
        sidecar.becomes(name, state, reason).await;
        let presented = world.presented(name);
        assert_eq!(presented.len(), 2, "{name}: {presented:?}");
        let same = presented[0].token_sha256 == presented[1].token_sha256;
        assert_eq!(same, *end != End::Saved, "{name}: {presented:?}");
        if *end == End::Dead {
            world.log_in(name);
            sidecar.becomes(name, "ready", "ok").await;
        }
        assert!(world.standin.is_active(&sidecar.access_token(name).await), "{name}");
    }
    assert!(sidecar.runs());
}

const DOUBT: (&str, &str) = ("pending", "in_doubt");
const UNREAD: (&str, &str) = ("pending", "unreadable_answer");

#[tokio::test]
async fn an_unclear_answer_leaves_a_doubt_and_no_replay() {
    told_and_outlived(&[
        ("html", Fault::new(How::Html), UNREAD, End::Ready),
        ("html-after-commit", Fault::new(How::Html).after_commit(), UNREAD, End::Dead),
        ("not-found", page(404), DOUBT, End::Ready),
        ("unauthorized", page(401), DOUBT, End::Ready),
        ("server-error", page(500), DOUBT, End::Ready),
        ("unavailable", page(503), DOUBT, End::Ready),
        ("unavailable-after-commit", page(503).after_commit(), DOUBT, End::Dead),
        ("server-error-json", Fault::oauth_error(500, "invalid_grant"), DOUBT, End::Ready),
        ("closed", Fault::new(How::Close), DOUBT, End::Ready),
        ("closed-after-commit", Fault::new(How::Close).after_commit(), DOUBT, End::Dead),
        ("empty", body(""), DOUBT, End::Ready),
        ("nothing-in-it", body("{}"), UNREAD, End::Ready),
        ("no-token", body("{\"access_token\":\"a\\nb\",\"expires_in\":60}"), UNREAD, End::Ready),
        ("endless", body(&format!("{{\"access_token\":\"{}\"}}", "x".repeat(200_000))), DOUBT, End::Ready),
        ("cut-off-early", cut(Cut::Bytes(5), false), DOUBT, End::Dead),
        ("cut-in-the-token", cut(Cut::InRefreshToken, false), DOUBT, End::Dead),
        ("framed-in-the-token", cut(Cut::InRefreshToken, true), UNREAD, End::Dead),
        ("cut-after-the-token", cut(Cut::AfterRefreshToken, false), DOUBT, End::Saved),
    ])
    .await;
}

#[tokio::test]
async fn an_oauth_error_is_reported_and_not_retried_at_once() {
    let oauth = |error| Fault::oauth_error(400, error);
    told_and_outlived(&[
        ("request", oauth("invalid_request"), ("misconfigured", "invalid_request"), End::Ready),
        (
            "client",
            Fault::oauth_error(401, "invalid_client"),
            ("misconfigured", "invalid_client"),
            End::Ready,
        ),
        ("flow", oauth("unsupported_grant_type"), ("misconfigured", "unsupported_grant_type"), End::Ready),
        ("refused", oauth("unauthorized_client"), ("misconfigured", "unauthorized_client"), End::Ready),
        ("scope", oauth("invalid_scope"), ("scope_denied", "invalid_scope"), End::Ready),
        ("other", oauth("slow_down"), ("pending", "oauth_error"), End::Ready),
        ("limited", Fault::status(429), ("pending", "rate_limited"), End::Ready),
        // A wrong verdict of the provider, which is probed again.
        ("grant", oauth("invalid_grant"), ("reauth_required", "invalid_grant"), End::Ready),
        (
            "grant-in-200",
            body("{\"error\":\"invalid_grant\"}"),
            ("reauth_required", "invalid_grant"),
            End::Ready,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_refresh_token_in_a_truncated_body_is_saved() {
    told_and_outlived(&[("framed-after-the-token", cut(Cut::AfterRefreshToken, true), UNREAD, End::Saved)])
        .await;
}

#[tokio::test]
async fn a_refresh_token_beside_a_malformed_access_token_is_saved() {
    let world = World::with(&["one"]).await;
    let child = "a-child-that-came-with-a-broken-body";
    let fault = body(&format!("{{\"access_token\":true,\"refresh_token\":\"{child}\"}}"));
    world.standin.fail_next(1, &fault);
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "pending", "unreadable_answer").await;
    assert_eq!(world.secrets.state("one")["refresh"]["token"], child);
}

#[tokio::test]
async fn a_message_names_the_secret_to_correct() {
    let world = World::with(&["the-secret"]).await;
    world.standin.fail_next(1, &Fault::oauth_error(401, "invalid_client"));
    let setup = Setup::new(&world.secrets).trust(world.standin.ca_pem());
    let sidecar = setup.argument("--grant=local=the-secret").start().await;
    let listed = sidecar.becomes("local", "misconfigured", "invalid_client").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("the-secret")), "{listed}");
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let world = World::with(&["hang", "silent"]).await;
    world.standin.fail_next(1, &Fault::new(How::Hang).of_client("hang"));
    // Accepts connections and sends nothing, not even TLS.
    let silent = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let url = format!("https://{}/oauth/token", silent.local_addr().expect("an address"));
    world.secrets.set("silent", "grant.yaml", &grant_yaml(&url));
    let sidecar = world.sidecar(&["hang", "silent"]).start().await;
    world.presented_times("hang", 1).await;
    assert_eq!(sidecar.grant("hang").await["reason"], "starting", "the sidecar still waits");
    assert_eq!(String::from_utf8_lossy(&sidecar.ask(&["probe", "liveness"]).stderr), "");
    let hung = sidecar.becomes("hang", "pending", "in_doubt").await;
    let unreachable = sidecar.becomes("silent", "pending", "connect").await;
    assert!(hung["message"] != "" && unreachable["message"] != "");
    assert_eq!(world.secrets.state("silent")["doubt"], Value::Null, "nothing was sent");
    world.secrets.hurry("hang");
    sidecar.becomes("hang", "ready", "ok").await;
}

#[tokio::test]
async fn retry_after_of_the_provider_is_obeyed() {
    let limited = |header: &str, value: &str| Fault::status(429).with_header(header, value);
    let date = |seconds: i64| {
        let at = Timestamp::from_second(now() + seconds).expect("a time");
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let rows = [
        ("seconds", limited("retry-after", "120"), 120),
        ("date", limited("retry-after", &date(300)), 300),
        ("reset", limited("ratelimit-reset", "77"), 77),
        ("too-long", limited("retry-after", "999999999"), 3600),
    ];
    let names = rows.each_ref().map(|(name, ..)| *name);
    let world = World::with(&names).await;
    for (name, fault, _) in &rows {
        world.standin.fail_next(1, &fault.clone().of_client(name));
    }
    let (before, sidecar) = (now(), world.sidecar(&names).start().await);
    for (name, _, wait) in rows {
        sidecar.becomes(name, "pending", "rate_limited").await;
        let retry = world.secrets.state(name)["retry"].clone();
        let not_before = retry["not_before"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let not_before = not_before.expect("a time").as_second();
        let range = before + wait - 1..=now() + wait + 1;
        assert!(range.contains(&not_before), "{name}: {not_before} is not in {range:?}");
    }
    for name in names {
        assert_eq!(world.presented(name).len(), 1, "{name}");
        world.secrets.hurry(name);
        sidecar.becomes(name, "ready", "ok").await;
    }
}

#[tokio::test]
async fn a_failure_without_a_doubt_recovers_by_itself() {
    let world = World::with(&["one"]).await;
    world.standin.fail_next(1, &Fault::status(429).with_header("retry-after", "1"));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "pending", "rate_limited").await;
    sidecar.becomes("one", "ready", "ok").await;
    let presented = world.presented("one");
    let between = presented[1].at_ms - presented[0].at_ms;
    assert!((5_000..21_000).contains(&between), "between 5 and 10 s, spread over 6 s: {between} ms");
}

#[tokio::test]
async fn missing_or_odd_expires_in_and_refresh_token_are_tolerated() {
    let rows = [
        ("no-life", Fault::new(How::NoExpiresIn), 3600),
        ("life-as-text", Fault::new(How::ExpiresInText), 3600),
        ("no-refresh-token", Fault::new(How::NoRefreshToken), 3600),
        ("odd-life", body("{\"access_token\":\"a-token-of-a-fault\",\"expires_in\":120.5}"), 120),
    ];
    let names = rows.each_ref().map(|(name, ..)| *name);
    let world = World::with(&names).await;
    for (name, fault, _) in &rows {
        world.standin.fail_next(1, &fault.clone().of_client(name));
    }
    let sidecar = world.sidecar(&names).start().await;
    for (name, _, life) in rows {
        sidecar.becomes(name, "ready", "ok").await;
        let left = sidecar.token(name).await.json()["expires_in"].as_i64().expect("an integer");
        assert!((life - 30..=life).contains(&left), "{name}: {left}");
    }
    // Without a new refresh token, the old one stays valid.
    world.secrets.age("no-refresh-token");
    world.presented_times("no-refresh-token", 2).await;
    let [first, second] = &world.presented("no-refresh-token")[..] else { panic!("two presentations") };
    assert_eq!((&first.token_sha256, &*second.outcome), (&second.token_sha256, "granted"));
}

#[tokio::test]
async fn a_token_with_fewer_scopes_is_not_served_and_not_requested_in_a_loop() {
    let world = World::with(&["one"]).await;
    world.standin.fail_next(1, &Fault::new(How::Scope("openid".to_owned())));
    let sidecar = world.sidecar(&["one"]).start().await;
    let listed = sidecar.becomes("one", "scope_denied", "scope_downgraded").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("scopes")), "{listed}");
    assert_eq!(sidecar.token("one").await.status, 503);
    decides_anew(&world, &sidecar, "one").await;
    let presented = world.presented("one");
    assert_eq!(presented.len(), 1);
    let state = world.secrets.state("one");
    assert_eq!(
        state["refresh"]["fp"].as_str(),
        presented[0].child_sha256.as_deref(),
        "the rotated token is stored"
    );

    // A corrected scope takes effect at once.
    let yaml = grant_yaml(&world.token_url()).replace("[read]", "[read, write]");
    world.secrets.set("one", "grant.yaml", &yaml);
    let listed = sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(listed["scopes"], json!(["read", "write"]));
    assert_eq!(world.outcomes("one"), ["granted"; 2]);
}

#[tokio::test]
async fn after_a_scope_downgrade_the_valid_token_is_served() {
    let world = World::with(&["one"]).await;
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    let token = sidecar.access_token("one").await;
    world.standin.fail_next(1, &Fault::new(How::Scope("openid".to_owned())));
    world.secrets.age("one");
    sidecar.becomes("one", "scope_denied", "scope_downgraded").await;
    assert_eq!(sidecar.access_token("one").await, token);
    decides_anew(&world, &sidecar, "one").await;
    assert_eq!(world.presented("one").len(), 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::with(&["one"]).await;
    let trap = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let target = format!("https://{}/oauth/token", trap.local_addr().expect("an address"));
    world.standin.fail_next(1, &Fault::status(307).with_header("location", &target));
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "misconfigured", "redirected").await;
    decides_anew(&world, &sidecar, "one").await;
    let connected = tokio::time::timeout(Duration::ZERO, trap.accept()).await;
    assert!(connected.is_err(), "the redirect was not followed");
    assert_eq!(world.presented("one").len(), 1);
}
