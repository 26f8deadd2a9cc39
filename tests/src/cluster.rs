//! Runs helm and kubectl in the cluster that a test was started in (`tests/cluster/with api|node`), and reads the
//! manifests that the README applies.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Namespace of the release.
pub const SYSTEM: &str = "agent-creds-system";

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the content of a file in `manifests/`.
pub fn manifest(name: &str) -> String {
    std::fs::read_to_string(root().join("manifests").join(name)).expect(name)
}

/// Returns the folder of the running cluster, with its `hosts` and `audit.log`.
#[expect(clippy::disallowed_methods, reason = "tests/cluster/with sets it for the command that it runs")]
pub fn directory() -> PathBuf {
    std::env::var_os("AGENT_CREDS_CLUSTER_DIR").expect("run this under tests/cluster/with").into()
}

/// Runs a program until it ends.
pub fn command(program: &OsStr, arguments: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {program:?}; run this under tests/cluster/with: {error}"));
    // A program that fails early does not read its whole input; its status shows the failure.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    child.wait_with_output().expect("waiting for it")
}

/// Returns standard output, or standard error of a command that failed.
fn result(output: Output) -> Result<String, String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Runs helm with standard input.
#[expect(clippy::disallowed_methods, reason = "the only setting from the environment: the path of helm")]
pub fn helm(arguments: &[&str], stdin: &str) -> Result<String, String> {
    let helm = std::env::var_os("HELM").unwrap_or_else(|| "helm".into());
    result(command(&helm, arguments, stdin))
}

/// Runs kubectl.
pub fn kubectl(arguments: &[&str]) -> Result<String, String> {
    result(command(OsStr::new("kubectl"), arguments, ""))
}

/// Runs kubectl and returns both outputs, also if it fails.
pub fn said(arguments: &[&str]) -> Result<String, String> {
    let output = command(OsStr::new("kubectl"), arguments, "");
    let text =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// Asks the API server whether a user may do this. `what` has kubectl's form: `secrets/a`, or `serviceaccounts
/// --subresource=token`.
pub fn may(user: &str, verb: &str, what: &str, namespace: &str) -> bool {
    let mut arguments = vec!["auth", "can-i", verb];
    arguments.extend(what.split(' '));
    arguments.extend(["--namespace", namespace, "--as", user]);
    let answer = command(OsStr::new("kubectl"), &arguments, "");
    match String::from_utf8_lossy(&answer.stdout).trim() {
        "yes" => true,
        "no" => false,
        other => panic!("{other:?} {}", String::from_utf8_lossy(&answer.stderr)),
    }
}

/// Runs kubectl with objects on its standard input.
pub fn pipe(objects: &str, arguments: &[&str]) -> Result<String, String> {
    result(command(OsStr::new("kubectl"), &[arguments, &["-f", "-"]].concat(), objects))
}

/// Runs `kubectl get` and returns its JSON.
pub fn get(arguments: &[&str]) -> Value {
    let text = kubectl(&[&["get", "-o", "json"], arguments].concat()).expect("kubectl get");
    serde_json::from_str(&text).expect("JSON")
}

/// Calls `look` until it succeeds, and returns the result. Panics with the last `Err` after `limit`.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if Instant::now() > deadline => panic!("not within {limit:?}: {last}"),
            // The deadline and the condition decide; the pause only limits the rate of the checks.
            #[expect(clippy::disallowed_methods, reason = "a pause between two checks of another process")]
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
