//! JSON as token endpoints and the proxies before them send it: with a prefix or a rest that is none, with comments, with keys that
//! occur twice, and with numbers where text is expected. Numbers stay the digits that were sent.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Longest text before the first bracket, as in `)]}',` against script inclusion, in bytes.
const MAX_PREFIX: usize = 64;

/// The fields of an object in their order. A key may occur twice.
pub(super) type Pairs = Vec<(String, Value)>;

/// The value of a field.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// `null`.
    Null,
    /// Text.
    Text(String),
    /// A number, as it was written.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// An object or an array, or text that is no Unicode.
    Nested(Box<RawValue>),
}

/// Returns the first value in a text that is an object, an array or text.
pub(super) fn first_value(text: &str) -> Option<Box<RawValue>> {
    let at = |brackets: &[char]| text.find(brackets).filter(|start| *start <= MAX_PREFIX);
    let starts = [at(&['{', '[', '"']), at(&['{'])];
    let found = |text: &str| serde_json::Deserializer::from_str(text).into_iter().next()?.ok();
    let parts = || starts.into_iter().flatten().filter_map(|start| text.get(start..));
    parts().find_map(found).or_else(|| parts().find_map(|part| found(&without_comments(part))))
}

/// Returns the value of a JSON text.
pub(super) fn value(raw: &RawValue) -> Value {
    let text = raw.get();
    match text.bytes().next() {
        Some(b'n') => Value::Null,
        Some(b't' | b'f') => Value::Bool(text == "true"),
        Some(b'-' | b'0'..=b'9') => Value::Number(text.to_owned()),
        Some(b'"') => serde_json::from_str(text).map_or_else(|_| Value::Nested(raw.to_owned()), Value::Text),
        _ => Value::Nested(raw.to_owned()),
    }
}

/// Returns the fields of an object; `None` where it is none.
pub(super) fn pairs(raw: &RawValue) -> Option<Pairs> {
    serde_json::from_str::<Object>(raw.get()).ok().map(|object| object.0)
}

/// Returns the items of an array; `None` where it is none.
pub(super) fn items(raw: &RawValue) -> Option<Vec<Box<RawValue>>> {
    serde_json::from_str(raw.get()).ok()
}

struct Object(Pairs);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    pairs.push((key, value(&raw)));
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Returns the text without comments (`/* … */`, `// …`) and without commas before a closing bracket.
fn without_comments(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '"' => string_length(rest),
            '/' if rest.starts_with("/*") => {
                rest = rest.split_once("*/").map_or("", |(_, after)| after);
                continue;
            }
            '/' if rest.starts_with("//") => {
                rest = rest.find('\n').and_then(|end| rest.get(end..)).unwrap_or_default();
                continue;
            }
            '}' | ']' => {
                clean.truncate(clean.trim_end().len());
                if clean.ends_with(',') {
                    clean.pop();
                }
                1
            }
            letter => letter.len_utf8(),
        };
        let (done, left) = rest.split_at_checked(length).unwrap_or((rest, ""));
        clean.push_str(done);
        rest = left;
    }
    clean
}

/// Returns the length in bytes of the string at the start of a text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let shown = |(key, value): (String, Value)| {
            let value = match value {
                Value::Text(text) | Value::Number(text) => text,
                other => format!("{other:?}"),
            };
            (key, value)
        };
        pairs(&first_value(text)?).map(|pairs| pairs.into_iter().map(shown).collect())
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn ignores_text_around_the_object_and_comments_between_its_fields() {
        let expected = Some(vec![pair("a", "x"), pair("b", "1")]);
        for text in [
            r#"{"a":"x","b":1}"#,
            "  \n{\"a\":\"x\",\"b\":1}\n\n",
            r#"{"a":"x","b":1} <!-- proxy -->"#,
            r#"{"a":"x","b":1}{"a":"y"}"#,
            ")]}',\n{\"a\":\"x\",\"b\":1}",
            r#"while(1);{"a":"x","b":1}"#,
            r#"<!-- proxy --> {"a":"x","b":1}"#,
            r#"{"a":"x",/* a note, "b":2 */"b":1}"#,
            "{ // a note\n\"a\":\"x\",\"b\":1, }",
            r#"/* a note */ {"a":"x","b":1,}"#,
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for text in ["", "a", "<html>", "{", r#"{"a":"x""#, r#"{"a":"x"/*}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_comment_in_a_string_is_text() {
        let text = r#"{"url":"https://a/*b*/c","quote":"\"//,}",}"#;
        assert_eq!(read(text), Some(vec![pair("url", "https://a/*b*/c"), pair("quote", "\"//,}")]));
    }

    #[test]
    fn keys_that_occur_twice_and_digits_of_any_number_are_kept() {
        let digits = "123456789012345678901234567890";
        assert_eq!(
            read(&format!(r#"{{"a":{digits},"a":1e400}}"#)),
            Some(vec![pair("a", digits), pair("a", "1e400")])
        );
    }
}
