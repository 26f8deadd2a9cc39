use std::path::Path;

use serde::Deserialize;

use super::*;

/// One reading by kubectl.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    input: String,
    /// What kubectl sends, without documents that are `null`.
    #[serde(default)]
    documents: Vec<Value>,
    #[serde(default)]
    refused: bool,
    /// A known difference of the two parsers.
    #[serde(default)]
    unlike: bool,
}

/// `tests/data/kubectl-yaml.jsonl` was recorded with `NewYAMLOrJSONDecoder` of k8s.io/apimachinery v0.35.0.
#[test]
fn reads_what_kubectl_reads() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/kubectl-yaml.jsonl");
    let lines = std::fs::read_to_string(file).unwrap();
    let mut wrong = Vec::new();
    for line in lines.lines() {
        let recorded: Recorded = serde_json::from_str(line).unwrap();
        let ours = read(&recorded.input).map(|read| {
            read.into_iter().map(|d| d.value).filter(|value| !value.is_null()).collect::<Vec<_>>()
        });
        let same = match &ours {
            Ok(documents) => !recorded.refused && same(documents, &recorded.documents),
            Err(_) => recorded.refused,
        };
        if same == recorded.unlike {
            wrong.push(format!("{line}\n  {ours:?}"));
        }
    }
    assert!(lines.lines().count() > 400 && wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Compares numbers by value: Go writes some floats as whole numbers.
fn same(ours: &[Value], recorded: &[Value]) -> bool {
    ours.len() == recorded.len() && ours.iter().zip(recorded).all(|(a, b)| same_value(a, b))
}

fn same_value(ours: &Value, recorded: &Value) -> bool {
    match (ours, recorded) {
        (Value::Array(ours), Value::Array(recorded)) => same(ours, recorded),
        (Value::Object(ours), Value::Object(recorded)) => {
            ours.len() == recorded.len()
                && ours
                    .iter()
                    .all(|(key, value)| recorded.get(key).is_some_and(|other| same_value(value, other)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-15 * b.abs()
        }
        _ => ours == recorded,
    }
}

fn failed(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn errors_count_documents_and_lines_of_the_whole_input() {
    let text = "# comment\n---\na: 1\n---\r\nspec:\r\n  b: {{ x }}\r\n";
    assert!(failed(text).starts_with("document 3, line 6, in spec.b: "), "{}", failed(text));
    let text = "a: 1\n--- b: 2\n";
    assert!(failed(text).starts_with("document 1, line 2: text after the separator ---"), "{}", failed(text));
    let text = "{\"a\": 1}\n{\"b\": 2}\n}";
    assert!(failed(text).starts_with("document 3, line 3: "), "{}", failed(text));
    let text = "{\"a\": 1}\n---\n\"\n";
    assert!(failed(text).starts_with("document 2, line 3: "), "{}", failed(text));
}

#[test]
fn remarks_have_the_line_of_the_input() {
    let documents = read("a: 1\n---\nb: 1\nb: 2\n").unwrap();
    assert_eq!(documents[1].remarks, ["line 4: b is written twice; kubectl reads the last"]);
}
