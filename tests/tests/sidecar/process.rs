//! The process: start, refusal to start, drain, exit, restart, and protection from its neighbours.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Output};

use agent_creds_tests::sidecar::ask;
use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Returns the one line on standard error of a command that failed with 1.
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).expect("a sentence");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn succeeds(output: &Output) -> bool {
    output.status.success()
}

#[tokio::test]
async fn probes_do_not_depend_on_the_provider() {
    let world = World::with(&["one"]).await;
    world.secrets.remove("one");
    let sidecar = world.sidecar(&["one", "two"]).start().await;
    for kind in ["startup", "liveness"] {
        assert!(succeeds(&sidecar.ask(&["probe", kind])), "{kind}");
    }
    sidecar.becomes("one", "misconfigured", "grant_missing").await;
    for kind in ["startup", "liveness"] {
        assert!(succeeds(&sidecar.ask(&["probe", kind])), "{kind}");
    }
    assert_eq!(sidecar.ask(&["probe", "readiness"]).status.code(), Some(2), "the probe does not exist");
}

#[tokio::test]
async fn a_strict_start_waits_for_every_grant_and_names_it() {
    let world = World::with(&["one", "two"]).await;
    let two = world.secrets.bytes("two");
    world.secrets.remove("two");
    let sidecar = world.sidecar(&["one", "two"]).argument("--strict-start").start().await;
    sidecar.becomes("one", "ready", "ok").await;
    sidecar.becomes("two", "misconfigured", "grant_missing").await;
    let sentence = failure(&sidecar.ask(&["probe", "startup"]));
    assert!(
        sentence.contains("grant two is misconfigured") && sentence.contains("does not exist"),
        "{sentence}"
    );
    assert!(succeeds(&sidecar.ask(&["probe", "liveness"])));
    world.secrets.write("two", &two);
    sidecar.becomes("two", "ready", "ok").await;
    assert!(succeeds(&sidecar.ask(&["probe", "startup"])));
}

#[test]
fn a_probe_without_a_sidecar_fails_with_a_message() {
    let empty = tempfile::tempdir().expect("a folder");
    for subcommand in [&["probe", "startup"][..], &["probe", "liveness"], &["drain"]] {
        let sentence = failure(&ask(empty.path(), subcommand));
        assert!(sentence.contains("the sidecar does not answer"), "{sentence}");
    }
}

#[tokio::test]
async fn a_drained_sidecar_claims_nothing_and_serves_tokens_of_others() {
    let world = World::with(&["one"]).await;
    let leaving = world.sidecar(&["one"]).start().await;
    leaving.becomes("one", "ready", "ok").await;
    let old = leaving.access_token("one").await;
    for _ in 0..2 {
        assert!(succeeds(&leaving.ask(&["drain"])), "also a second time");
    }
    world.secrets.age("one");
    decides_anew(&world, &leaving, "one").await;
    assert_eq!((world.presented("one").len(), leaving.access_token("one").await), (1, old.clone()));
    assert!(succeeds(&leaving.ask(&["probe", "liveness"])));

    let other = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 2).await;
    eventually("the drained one serves the other's token", async || {
        let token = leaving.access_token("one").await;
        if token == old { Err(()) } else { Ok(()) }
    })
    .await;
    assert_eq!(leaving.access_token("one").await, other.access_token("one").await);
    assert_eq!(world.outcomes("one"), ["granted"; 2]);
}

#[tokio::test]
async fn sigterm_ends_an_idle_sidecar_with_exit_code_0() {
    let world = World::with(&["one"]).await;
    let mut sidecar = world.sidecar(&["one"]).start().await;
    sidecar.becomes("one", "ready", "ok").await;
    sidecar.terminate();
    assert_eq!(sidecar.ended().await.code(), Some(0));
}

#[tokio::test]
async fn sigterm_during_a_presentation_waits_until_the_answer_is_stored() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    let mut sidecar = world.sidecar(&["one"]).start().await;
    world.presented_times("one", 1).await;
    world.secrets.block("one");
    sidecar.terminate();
    // It still serves the current state, which has no token yet.
    assert_eq!(sidecar.token("one").await.status, 503);
    front.release();
    sidecar.becomes("one", "pending", "store_unavailable").await;
    sidecar.terminate();
    assert!(sidecar.runs(), "the sidecar waits until the answer is stored");
    world.secrets.unblock("one");
    assert_eq!(sidecar.ended().await.code(), Some(0));
    let state = world.secrets.state("one");
    assert_eq!(state["refresh"]["fp"].as_str(), world.presented("one")[0].child_sha256.as_deref());
    assert_eq!((&state["claim"], world.outcomes("one").len()), (&Value::Null, 1));
}

#[tokio::test]
async fn a_thawed_sidecar_serves_no_token_that_expired_meanwhile() {
    let world = World::with(&["one"]).await;
    world.standin.set_token_life(Some(3));
    let sidecar = world.sidecar(&["one"]).start().await;
    let end = sidecar.becomes("one", "ready", "ok").await["expires_at"].as_i64().expect("a time");
    sidecar.signal(Signal::STOP);
    // The request arrives while the process is frozen, and is answered afterwards.
    let answer = sidecar.token("one");
    let wake = async {
        eventually("the token has ended", async || if now() > end { Ok(()) } else { Err(()) }).await;
        sidecar.signal(Signal::CONT);
    };
    let (answer, ()) = tokio::join!(answer, wake);
    assert!(answer.status == 503 || answer.json()["expires_at"].as_i64() > Some(end), "{:?}", answer.body);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.revoked(), 0);
}

#[tokio::test]
async fn a_thawed_sidecar_uses_the_answer_that_arrived_meanwhile() {
    let world = World::with(&["one"]).await;
    let front = Front::before(&world.standin, &world.authority).await;
    world.secrets.set("one", "grant.yaml", &grant_yaml(&front.token_url()));
    front.hold();
    // The budget for an answer is 1.5 s.
    let sidecar = world.sidecar(&["one"]).argument("--time-scale=0.1").start().await;
    world.presented_times("one", 1).await;
    sidecar.signal(Signal::STOP);
    front.release();
    let over = std::time::Instant::now() + Duration::from_secs(2);
    let over = async || if std::time::Instant::now() > over { Ok(()) } else { Err(()) };
    eventually("the time for an answer is over", over).await;
    sidecar.signal(Signal::CONT);
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(world.outcomes("one"), ["granted"]);
    assert_eq!(world.revoked(), 0);
}

#[tokio::test]
async fn a_taken_port_ends_the_sidecar_with_a_message_before_it_presents() {
    let world = World::with(&["one"]).await;
    let taken = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    for ports in [(port, 0), (0, port)] {
        let sentence = failure(&world.sidecar(&["one"]).ports(ports.0, ports.1).refused());
        assert!(sentence.contains(&port.to_string()) && sentence.contains("taken"), "{sentence}");
    }
    assert_eq!(presentations(&world.standin.log()).count(), 0);
}

#[tokio::test]
async fn after_a_restart_the_key_is_the_same_and_nothing_is_presented() {
    let world = World::with(&["one"]).await;
    let mut first = world.sidecar(&["one"]).start().await;
    first.becomes("one", "ready", "ok").await;
    let (volumes, key) = (first.volumes().clone(), first.key().to_owned());
    let token = first.access_token("one").await;
    first.terminate();
    first.ended().await;
    drop(first);
    // The second restart follows a kill, without cleanup.
    for _ in 0..2 {
        let again = world.sidecar(&["one"]).volumes(&volumes).start().await;
        again.becomes("one", "ready", "ok").await;
        assert_eq!((again.key(), again.access_token("one").await), (&*key, token.clone()));
        assert_eq!(again.get_on_socket("/v1/token/one").await.status, 200);
        assert!(succeeds(&again.ask(&["probe", "liveness"])));
    }
    assert_eq!(world.outcomes("one"), ["granted"]);
}

#[tokio::test]
async fn a_restart_gets_its_ports_back_even_if_agents_were_connected() {
    let world = World::with(&["one"]).await;
    let first = world.sidecar(&["one"]).start().await;
    first.becomes("one", "ready", "ok").await;
    let ports = (first.api().port(), first.metrics_address().port());
    let volumes = first.volumes().clone();
    // An agent keeps its connection open, as HTTP clients do.
    let agent = TcpStream::connect(first.api()).await.expect("a connection");
    drop(first);
    drop(agent);
    let again = world.sidecar(&["one"]).volumes(&volumes).ports(ports.0, ports.1).start().await;
    again.becomes("one", "ready", "ok").await;
}

#[tokio::test]
async fn a_damaged_caller_key_is_neither_used_nor_replaced() {
    let world = World::with(&["one"]).await;
    let first = world.sidecar(&["one"]).start().await;
    let (volumes, file) = (first.volumes().clone(), first.shared("caller-key"));
    drop(first);
    for damaged in ["", "short", &"g".repeat(64), &format!("{}\n", "0".repeat(64))] {
        std::fs::remove_file(&file).expect("the key");
        std::fs::write(&file, damaged).expect("writing a key");
        let sentence = failure(&world.sidecar(&["one"]).volumes(&volumes).refused());
        assert!(sentence.contains("caller key"), "{sentence}");
        assert_eq!(std::fs::read_to_string(&file).expect("the key"), damaged);
    }
}

#[tokio::test]
async fn an_interrupted_start_does_not_prevent_the_next_one() {
    let world = World::with(&["one"]).await;
    let volumes = std::sync::Arc::new(tempfile::tempdir().expect("a folder"));
    for name in ["shared", "spool"] {
        std::fs::create_dir(volumes.path().join(name)).expect("a folder");
    }
    // The process was killed between writing the key and renaming the file.
    let unfinished = volumes.path().join("shared/caller-key.new");
    std::fs::write(&unfinished, "0123").expect("half a key");
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o444)).expect("our own file");
    let setup = world.sidecar(&["one"]).volumes(&volumes);
    let setup = if rustix::process::geteuid().is_root() { setup.user(54_911) } else { setup };
    let sidecar = setup.start().await;
    sidecar.becomes("one", "ready", "ok").await;
    assert_eq!(sidecar.key().len(), 64);
}

#[tokio::test]
async fn neighbours_cannot_read_its_memory_and_there_are_no_core_files() {
    let world = World::with(&["one"]).await;
    let root = rustix::process::geteuid().is_root();
    let user = 54_911;
    let setup = world.sidecar(&["one"]);
    let sidecar = if root { setup.user(user) } else { setup }.start().await;
    sidecar.becomes("one", "ready", "ok").await;

    let process = format!("/proc/{}", sidecar.pid());
    let limits = std::fs::read_to_string(format!("{process}/limits")).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit of cores");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // Root owns the files of a process that is not dumpable.
    for file in ["environ", "mem", "maps", "fd", "cwd"] {
        let mut command = Command::new("cat");
        if root {
            command.uid(user);
        }
        let read = command.arg(format!("{process}/{file}")).output().expect("cat");
        assert!(!read.status.success() && read.stdout.is_empty(), "{file} can be read by the same user");
    }
}

#[tokio::test]
async fn the_environment_configures_nothing() {
    let world = World::with(&["one"]).await;
    let trap = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let proxy = format!("http://{}", trap.local_addr().expect("an address"));
    let roots = world.secrets.path().join("roots.pem");
    std::fs::write(&roots, world.standin.ca_pem()).expect("a file of roots");
    // Without `trust`: variables that name the CA must have no effect.
    let mut setup = Setup::new(&world.secrets).grant("one");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        setup = setup.variable(name, &proxy);
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        setup = setup.variable(name, &roots.display().to_string());
    }
    for (name, value) in [
        ("AGENT_CREDS_PORT", "tcp://10.0.0.1:1"),
        ("AGENT_CREDS_URL", "http://10.0.0.1"),
        ("AGENT_CREDS_GRANT", "two=two"),
        ("PORT", "1"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "full"),
        ("SSLKEYLOGFILE", &format!("{}/keys", world.secrets.path().display())),
        ("KUBECONFIG", "/nowhere"),
        ("TZ", "/nowhere"),
        ("CLICOLOR_FORCE", "1"),
    ] {
        setup = setup.variable(name, value);
    }
    let sidecar = setup.start().await;
    sidecar.becomes("one", "pending", "tls").await;
    let listed = sidecar.get("/v1/grants").await.json();
    assert_eq!(listed["grants"].as_array().map(Vec::len), Some(1));
    let log = sidecar.log();
    assert!(log.iter().all(|line| line["level"] != "DEBUG" && line["level"] != "TRACE"), "{log:?}");
    assert!(tokio::time::timeout(Duration::ZERO, trap.accept()).await.is_err(), "the proxy was not used");
    assert!(!world.secrets.path().join("keys").exists(), "no TLS secrets are written");
}

#[tokio::test]
async fn an_invalid_command_line_is_refused_with_a_message() {
    let world = World::with(&["one"]).await;
    for (argument, code, words) in [
        ("--identity=node", 2, &["node", "--identity", "exchange", "pod"][..]),
        ("--identity=exchange", 1, &["only for --store kubernetes"]),
        ("--grant=one=x-state", 2, &["reserved"]),
        ("--grant=One=x", 2, &["name"]),
        ("--grant=one=other", 1, &["given twice"]),
        ("--grant=two=ns/x", 1, &["no namespaces"]),
        ("--provider-roots-data=!", 1, &["--provider-roots-data", "base64"]),
        ("--provider-roots-data=", 1, &["--provider-roots-data", "no certificate"]),
        ("--token-url=https://example.com", 2, &["--token-url"]),
    ] {
        let output = Setup::new(&world.secrets).grant("one").argument(argument).refused();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{argument}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{argument}: {text}");
        assert!(!text.contains("panicked") && output.status.signal().is_none(), "{text}");
    }
}
