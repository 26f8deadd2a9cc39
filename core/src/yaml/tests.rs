use serde::Deserialize;

use super::*;

#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct File {
    mode: Option<Mode>,
    on: bool,
    uid: u32,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Pod,
    Exchange,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Rule {
    method: Method,
    #[serde(default)]
    paths: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Method(String);

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, "a method in capitals, as in GET", |text| {
            let method = Self(text.to_owned());
            text.chars().all(|c| c.is_ascii_uppercase()).then_some(method)
        })
    }
}

const FORMAT: Format = Format { max_bytes: 1000, max_nodes: 50, max_depth: 6, not_built: &["proxy"] };

fn read(text: &str) -> Result<Option<File>, FieldError> {
    parse(text, FORMAT)
}

fn refused(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

#[test]
fn reads_nested_lists_of_mappings() {
    let file =
        read("mode: pod\non: true\nuid: 7\nrules:\n- {method: GET, paths: [/a]}\n- method: PUT\n").unwrap();
    let rule = |method: &str, paths: &[&str]| Rule {
        method: Method(method.to_owned()),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    };
    let rules = vec![rule("GET", &["/a"]), rule("PUT", &[])];
    assert_eq!(file, Some(File { mode: Some(Mode::Pod), on: true, uid: 7, rules }));
}

#[test]
fn an_empty_file_is_none() {
    for text in ["", " \n", "# nothing\n", "null", "---\n", "\u{feff}", "\r\n"] {
        assert_eq!(read(text), Ok(None), "{text:?}");
    }
    assert_eq!(read("{}"), Ok(Some(File::default())));
    assert_eq!(read("\u{feff}uid: 7\r\non: true\r\n").unwrap().unwrap().uid, 7);
}

#[test]
fn names_the_path_what_was_expected_and_what_to_write() {
    for (text, message) in [
        ("on: 1", "on: expected a boolean, found a number; write true or false"),
        ("on: maybe", "on: expected a boolean, found \"maybe\"; write true or false"),
        ("mode: pods", "mode: found \"pods\"; write pod or exchange"),
        ("mode: [pod]", "mode: expected a string, found a list of 1 entries; write pod or exchange"),
        ("uid: -1", "uid: found a number; write a whole number from 0 to 4294967295"),
        (
            "uid: 1.5",
            "uid: expected a whole number, found a number; write a whole number from 0 to 4294967295",
        ),
        ("rules: a", "rules: expected a list, found \"a\"; write a list, as in [a, b]"),
        ("rules: [[GET]]", "rules[0]: expected a mapping, found a list of 1 entries; write keys and values"),
        ("rules: [{}]", "rules[0].method: found nothing; write it: it is required"),
        (
            "rules: [{method: GET}, {method: 1}]",
            "rules[1].method: expected a string, found a number; write a method in capitals, as in GET",
        ),
        ("rules: [{method: get}]", "rules[0].method: found \"get\"; write a method in capitals, as in GET"),
        ("rules: [{method: GET, path: [a]}]", "rules[0].path: found no such key; did you mean paths?"),
        ("rules: [{method: GET, zzz: 1}]", "rules[0].zzz: found no such key; write one of method, paths"),
        (
            "rules: [{method: GET, Geheim99x: 1}]",
            "a key of rules[0]: found no such key; write one of method, paths",
        ),
        ("proxy: {a: b}", "proxy: found a key that is not built in this version; remove it"),
        (
            "rules: [{method: GET, paths: [a, null]}]",
            "rules[0].paths[1]: expected a string, found nothing; write a string",
        ),
        (
            "- a",
            "the file: expected keys and values, found a list of 1 entries; write each as 'key: value', with the space",
        ),
        (
            "on:true",
            "the file: expected keys and values, found a text of 7 characters; write each as 'key: value', with the space",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn names_the_line_in_words_of_its_own_where_the_yaml_is_broken() {
    for (text, problem) in [
        ("on: true\non: true", "line 2, column 1: found a key that stands there twice; write each key once"),
        ("on: [", "found something that is not YAML; write keys and values, as in 'key: value'"),
        ("a: &a [x]", "found an anchor or alias; write the value itself at each place"),
        ("a: *a", "found an anchor or alias"),
        ("on: true\n---\non: true", "found a second document; write one document, without ---"),
        ("rules:\n\t- a", "found a tab before the text; indent with spaces"),
        (
            &format!("rules: {}{}", "[".repeat(10), "]".repeat(10)),
            "found more than 6 levels of nesting; write fewer",
        ),
        (&format!("rules: [{}]", "a, ".repeat(60)), "found more than 50 keys and values; write fewer"),
        (&"#".repeat(1001), "the file: found 1001 bytes; write at most 1000 bytes"),
    ] {
        let message = refused(text);
        assert!(message.contains(problem), "{text}: {message}");
        for word in ["Policy", "Ratio", "budget", "Budget", "serde"] {
            assert!(!message.contains(word), "{message}");
        }
    }
}
