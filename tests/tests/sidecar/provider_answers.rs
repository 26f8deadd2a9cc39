//! A token endpoint that misbehaves: each answer is told by its state and reason, is not asked for again at once, and
//! the grant goes on by itself when the provider does.

use jiff::Timestamp;
use tokio::net::TcpListener;

use super::*;

/// How it ends, once the wait that the state prescribes is over.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// A token, by presenting the same refresh token again.
    Ready,
    /// A token, by presenting the child that was saved from a broken answer.
    Saved,
    /// The provider had carried out what it did not answer: a replay, so the login is dead.
    Dead,
}

/// A grant, its fault, the state and reason that follow, and the end.
type Row = (&'static str, Fault, (&'static str, &'static str), End);

/// A 200 with a body of its own.
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

/// Each grant's first answer is spoilt as its row says.
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
    // All have had their chance to present again while the others were looked at.
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
async fn an_answer_that_says_nothing_leaves_a_doubt_and_no_replay() {
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
async fn an_error_of_the_rfc_is_told_and_not_repeated_at_once() {
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
        // A verdict that was a mistake of the provider: it is probed again.
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
async fn a_refresh_token_in_a_body_that_is_broken_elsewhere_is_saved() {
    told_and_outlived(&[("framed-after-the-token", cut(Cut::AfterRefreshToken, true), UNREAD, End::Saved)])
        .await;
}

#[tokio::test]
async fn a_refresh_token_beside_an_access_token_of_another_type_is_saved() {
    let world = World::with(&["one"]).await;
    let child = "a-child-that-came-with-a-broken-body";
    let fault = body(&format!("{{\"access_token\":true,\"refresh_token\":\"{child}\"}}"));
    world.standin.fail_next(1, &fault);
    let sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "pending", "unreadable_answer").await;
    assert_eq!(world.secrets.state("one")["refresh"]["token"], child);
}

#[tokio::test]
async fn a_sentence_names_the_secret_that_has_to_be_mended() {
    let world = World::with(&["the-secret"]).await;
    world.standin.fail_next(1, &Fault::oauth_error(401, "invalid_client"));
    let setup = Setup::new(&world.secrets).trust(world.standin.ca_pem());
    let sidecar = setup.argument("--grant=local=the-secret").start().await;
    let listed = sidecar.becomes("local", "misconfigured", "invalid_client").await;
    assert!(listed["message"].as_str().is_some_and(|text| text.contains("the-secret")), "{listed}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_a_while() {
    let world = World::with(&["hang", "silent"]).await;
    world.standin.fail_next(1, &Fault::new(How::Hang).of_client("hang"));
    // Takes connections, and says nothing, not even TLS.
    let silent = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let url = format!("https://{}/oauth/token", silent.local_addr().expect("an address"));
    world.secrets.set("silent", "grant.yaml", &grant_yaml(&url));
    let sidecar = world.sidecar(&["hang", "silent"]).start().await;
    world.presented_times("hang", 1).await;
    assert_eq!(sidecar.grant("hang").await["reason"], "starting", "still waited for");
    assert_eq!(String::from_utf8_lossy(&sidecar.ask(&["probe", "liveness"]).stderr), "");
    let hung = sidecar.becomes("hang", "pending", "in_doubt").await;
    let unreachable = sidecar.becomes("silent", "pending", "connect").await;
    assert!(hung["message"] != "" && unreachable["message"] != "");
    assert_eq!(world.secrets.state("silent")["doubt"], Value::Null, "nothing was sent");
    world.secrets.hurry("hang");
    sidecar.becomes("hang", "ready", "ok").await;
}

#[tokio::test]
async fn the_provider_says_when_to_come_back() {
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
async fn trouble_without_a_doubt_is_over_by_itself() {
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
async fn lives_and_refresh_tokens_that_are_missing_or_odd_are_borne() {
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
    // The old refresh token stays good where no other came.
    world.secrets.age("no-refresh-token");
    world.presented_times("no-refresh-token", 2).await;
    let [first, second] = &world.presented("no-refresh-token")[..] else { panic!("two presentations") };
    assert_eq!((&first.token_sha256, &*second.outcome), (&second.token_sha256, "granted"));
}

#[tokio::test]
async fn a_token_with_fewer_scopes_is_not_served_and_not_asked_for_in_a_loop() {
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
    assert_eq!(state["refresh"]["fp"].as_str(), presented[0].child_sha256.as_deref(), "what rotated is kept");

    // A person corrects the scopes: at once.
    let yaml = grant_yaml(&world.token_url()).replace("[read]", "[read, write]");
    world.secrets.set("one", "grant.yaml", &yaml);
    let listed = sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(listed["scopes"], json!(["read", "write"]));
    assert_eq!(world.outcomes("one"), ["granted"; 2]);
}

#[tokio::test]
async fn a_downgrade_leaves_the_token_that_is_still_valid() {
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
    assert!(connected.is_err(), "somebody came");
    assert_eq!(world.presented("one").len(), 1);
}
