//! The command `inject` on the manifests in `tests/data/manifests`: what it prints on stdout and stderr, and its exit code.
//!
//! `NAME.yaml` is an input and `NAME.expected.yaml` its outcome: the `exit` code; the lines on `stderr` after the notes about
//! missing arguments; the pods that are `injected`, as pointers that begin with the number of the document; and values that
//! the output `holds`. Documents without injected pods are printed as kubectl reads them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent_creds_webhook::manifests;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    exit: i32,
    stderr: Vec<String>,
    #[serde(default)]
    injected: Vec<String>,
    #[serde(default)]
    holds: BTreeMap<String, Value>,
}

struct Outcome {
    exit: i32,
    stdout: String,
    stderr: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/manifests")
}

fn run(file: &str, input: &str) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-creds-webhook"));
    command.args(["inject", "-f", file]).current_dir(folder());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that reads a file may be gone by now.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let stderr = text(output.stderr);
    let (general, lines): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| {
        line.starts_with("note: without --") || line.starts_with("note: a preview has no seal")
    });
    assert_eq!(general.len(), 3, "{stderr}");
    Outcome {
        exit: output.status.code().expect("an exit code"),
        stdout: text(output.stdout),
        stderr: lines.into_iter().map(str::to_owned).collect(),
    }
}

fn documents(text: &str) -> Vec<Value> {
    let read = manifests::read(text).expect("YAML");
    read.into_iter().map(|document| document.value).filter(|value| !value.is_null()).collect()
}

fn check(name: &str, input: &str, expected: &Expected) {
    let Outcome { exit, stdout, stderr } = run(&format!("{name}.yaml"), "");
    assert_eq!((exit, &stderr), (expected.exit, &expected.stderr), "{name}");
    let from_stdin = run("-", input);
    assert_eq!((exit, &stdout), (from_stdin.exit, &from_stdin.stdout), "{name} from standard input");
    if exit != 0 {
        assert!(stdout.is_empty(), "{name}: {stdout}");
        return;
    }
    let printed = Value::Array(documents(&stdout));
    let original = Value::Array(documents(input));
    assert_eq!(printed.as_array().map(Vec::len), original.as_array().map(Vec::len), "{name}");
    for pointer in &expected.injected {
        let sidecar = printed.pointer(&format!("{pointer}/spec/initContainers/0/name"));
        assert_eq!(sidecar, Some(&"agent-creds".into()), "{name}: {pointer}");
    }
    assert_eq!(stdout.matches("name: agent-creds\n").count(), expected.injected.len(), "{name}");
    for (pointer, value) in &expected.holds {
        assert_eq!(printed.pointer(pointer), Some(value), "{name}: {pointer}");
    }
    for (number, document) in printed.as_array().into_iter().flatten().enumerate() {
        let untouched =
            !expected.injected.iter().any(|pointer| pointer.split('/').nth(1) == Some(&number.to_string()));
        assert!(!untouched || *document == original[number], "{name}: document {number}");
    }
}

#[test]
fn prints_what_is_expected_of_each_manifest() {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder()).expect("the manifests") {
        let file = entry.expect("an entry").file_name().into_string().expect("a name");
        let name = file.strip_suffix(".yaml").expect("a manifest");
        if name.ends_with(".expected") {
            continue;
        }
        let read =
            |name: &str| std::fs::read_to_string(folder().join(name)).unwrap_or_else(|_| panic!("{name}"));
        let expected = read(&format!("{name}.expected.yaml"));
        let expected = serde_yaml::from_str(&expected).unwrap_or_else(|error| panic!("{name}: {error}"));
        check(name, &read(&file), &expected);
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}
