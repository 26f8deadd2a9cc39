//! The value of a credential: the bare text, or the sentence that says what it is instead. A value is refused for its whole
//! shape alone, since a generated secret may contain any printable character.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::MAX_TOKEN;
use super::error::GrantError;
use super::keys::Data;
use crate::spelling::letters;

/// References that other tools replace by a secret, by their beginning.
const REFERENCES: [&str; 4] = ["op://", "ref+", "vault:secret/", "arn:aws:secretsmanager:"];
/// Placeholders of templates and of encrypted files, by beginning and end.
const PLACEHOLDERS: [(&str, &str); 6] =
    [("<", ">"), ("${", "}"), ("$(", ")"), ("{{", "}}"), ("ENC[", "]"), ("%{", "}")];

/// Reads the text of a key.
pub(super) fn utf8<'a>(key: &str, bytes: &'a [u8]) -> Result<&'a str, GrantError> {
    let problem = "not UTF-8 text; write the value as it is, base64-encoded once";
    std::str::from_utf8(bytes).map_err(|_| GrantError::key(key, problem))
}

/// Reads one credential. A byte order mark and surrounding white space are removed: people pipe files with a newline at the
/// end into `kubectl create secret`.
pub(super) fn credential(data: &Data, key: &str) -> Result<Option<String>, GrantError> {
    let Some(bytes) = data.get(key) else {
        return Ok(None);
    };
    let text = utf8(key, bytes)?;
    let value = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    match problem(key, value) {
        None => Ok(Some(value.to_owned())),
        Some(problem) => Err(GrantError::key(key, problem)),
    }
}

/// Returns what is wrong with a value, without the value.
fn problem(key: &str, value: &str) -> Option<String> {
    let sentence = if value.is_empty() {
        "empty; write the credential or remove the key"
    } else if value.len() > MAX_TOKEN {
        return Some(format!("{} bytes; a credential has at most {MAX_TOKEN}", value.len()));
    } else if is_quoted(value) {
        "surrounded by quotes; write the bare credential"
    } else if is_placeholder(value) {
        "a placeholder that was not replaced; check the tool that renders this Secret"
    } else if is_object(value) {
        "a JSON object or list; write the bare credential"
    } else if is_line(key, value) {
        "starts with the name of the key; write the bare credential"
    } else if !value.chars().all(|c| c.is_ascii_graphic()) {
        // RFC 6749 appendix A: credentials are printable ASCII; space is allowed there, but is always a mistake.
        "contains spaces, control or non-ASCII characters; write the bare credential"
    } else if is_encoded_twice(key, value) {
        "base64-encoded twice; write the bare credential under stringData, or encode it once under data"
    } else {
        return None;
    };
    Some(sentence.to_owned())
}

fn is_quoted(value: &str) -> bool {
    let pairs = [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”'), ('‘', '’')];
    pairs.iter().any(|(first, last)| value.strip_prefix(*first).is_some_and(|rest| rest.ends_with(*last)))
}

fn is_placeholder(value: &str) -> bool {
    let is_masked = value.len() > 3 && value.chars().all(|c| matches!(c, '*' | '•'));
    let is_wrapped = PLACEHOLDERS
        .iter()
        .any(|(first, last)| value.strip_prefix(first).is_some_and(|rest| rest.ends_with(last)));
    is_masked || is_wrapped || REFERENCES.iter().any(|scheme| value.starts_with(scheme))
}

fn is_object(value: &str) -> bool {
    value.starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(value).is_ok()
}

/// Returns whether a value is a line of YAML or of an environment file: `refresh_token: …`, `CLIENT_ID=…`.
fn is_line(key: &str, value: &str) -> bool {
    value.split_once([':', '=']).is_some_and(|(name, _)| letters(name) == letters(key))
}

/// Returns whether a value is certainly base64 of a credential: what it decodes to ends in a newline, or has no characters but
/// those of tokens, and more than letters and digits. Base64 of letters and digits alone, of text with a colon, or of a UUID
/// is what some servers issue; the latter not as client identifier.
fn is_encoded_twice(key: &str, value: &str) -> bool {
    let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(decoded) = decoded.filter(|_| value.ends_with('=') || value.len() >= 16) else {
        return false;
    };
    let text = decoded.trim_end_matches(['\r', '\n']);
    // RFC 6750 §2.1, b64token.
    let is_token =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '+' | '/' | '=');
    let is_uuid = text.len() == 36 && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    let is_issued = text.chars().all(|c| c.is_ascii_alphanumeric()) || (is_uuid && key != "client_id");
    let is_text = text.len() >= 4 && text.chars().all(|c| c.is_ascii_graphic());
    is_text && (text.len() < decoded.len() || (text.chars().all(is_token) && !is_issued))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<String, String> {
        let data = Data::from([(key.to_owned(), value.as_bytes().to_vec())]);
        credential(&data, key).map(Option::unwrap_or_default).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_credentials_as_servers_issue_them() {
        for value in [
            "pdus+_0XYZ_9f3c-secret",
            "a<b>c",
            "<start",
            "end>",
            "$2a$10$abc",
            "{curly",
            "{not-json}",
            "[x",
            "it's",
            "\"",
            "'",
            "a=b:c",
            "x:y",
            "id",
            "1000.abc.def",
            "https://client.example.com/metadata.json",
            // Base64 of letters and digits, as some servers issue refresh tokens.
            "MTQ0NjJkZmQ5OTM2NDE1ZTZjNGZmZjI3",
            // Base64 of text with colons, as X issues client identifiers.
            "YWJjZGVmZ2hpamtsbW5vcDoxOmNp",
            // Base64 of a UUID.
            "NmYxZTlmNGMtOTNkMS00YjU1LTlhMGMtMGE4YTJiN2MxZDEx",
            // Random bytes in base64.
            "3q2+796tvu/erb7v3q2+7w==",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln",
        ] {
            assert_eq!(read("client_secret", value), Ok(value.to_owned()), "{value}");
        }
    }

    #[test]
    fn removes_a_byte_order_mark_and_white_space_around() {
        for value in ["abc", "abc\n", "abc\r\n", " abc\t", "\u{feff}abc\r\n"] {
            assert_eq!(read("client_id", value), Ok("abc".to_owned()), "{value:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_bare_credential_and_never_shows_it() {
        let encoded = |text: &str| STANDARD.encode(text);
        let cases = [
            (
                "surrounded by quotes",
                vec!["\"hush-good\"", "'hush-good'", "`hush-good`", "“hush-good”", "\"hush good\""],
            ),
            (
                "a placeholder",
                vec![
                    "<path:secret/data/agent#hush>",
                    "<hush good>",
                    "${HUSH}",
                    "$(HUSH)",
                    "{{ .Values.hush }}",
                    "ENC[AES256_GCM,data:hush=]",
                    "op://hush/item/field",
                    "ref+vault://hush",
                    "********",
                    "••••••••",
                ],
            ),
            ("a JSON object or list", vec!["{\"refresh_token\": \"hush\"}", "[\"hush\"]", "{}"]),
            (
                "starts with the name of the key",
                vec!["refresh_token: hush", "refresh_token=hush", "REFRESH_TOKEN=hush", "refreshToken: hush"],
            ),
            ("contains spaces", vec!["hush good", "hush\ngood", "hüsh"]),
        ];
        for (sentence, values) in cases {
            for value in values {
                let message = read("refresh_token", value).expect_err(value);
                assert!(message.starts_with(&format!("key refresh_token: {sentence}")), "{value}: {message}");
                assert!(!message.to_lowercase().contains("hush"), "{message}");
            }
        }
        for (key, text) in [
            ("refresh_token", "rt-good"),
            ("refresh_token", "pdus+_0XYZ_9f3c"),
            ("refresh_token", "rt.good\n"),
            ("refresh_token", "rtgood\n"),
            ("client_id", "6f1e9f4c-93d1-4b55-9a0c-0a8a2b7c1d11"),
        ] {
            let message = read(key, &encoded(text)).expect_err(text);
            assert!(message.starts_with(&format!("key {key}: base64-encoded twice")), "{message}");
        }
    }
}
