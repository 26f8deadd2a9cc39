//! `grant.yaml`: what a grant Secret says about itself besides the credentials. Every key that is unknown, or
//! known but not built in this version, is refused with its path, what was found and what is allowed. The text
//! of the file never gets into a message: people paste credentials into the wrong key.

use serde_json::{Map, Value};

use crate::provider::{ClientAuth, Flow};

/// Longest `grant.yaml`, in bytes.
pub const MAX_FILE: usize = 16 * 1024;
/// Most scopes of one grant.
const MAX_SCOPES: usize = 128;
/// Longest scope, account or URL.
const MAX_TEXT: usize = 512;

/// The content of `grant.yaml`; the default is what an absent file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantFile {
    /// `flow`: never guessed from the keys of the Secret.
    pub flow: Flow,
    /// `region` of providers that have regions.
    pub region: Option<String>,
    /// `site` of providers that have sites.
    pub site: Option<String>,
    /// `account`: PagerDuty's subdomain.
    pub account: Option<String>,
    /// `scopes`: what the token must carry.
    pub scopes: Vec<String>,
    /// `token_url` of provider `oauth2`.
    pub token_url: Option<String>,
    /// `client_auth` of provider `oauth2`.
    pub client_auth: Option<ClientAuth>,
    /// `allow_private` of provider `oauth2`: the token endpoint may have a private address.
    pub allow_private: bool,
    /// `revocation_url` of provider `oauth2`.
    pub revocation_url: Option<String>,
    /// `sharing`.
    pub sharing: Sharing,
}

/// Whose the access tokens of a grant are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All pods use the same one: one exchange for all of them.
    #[default]
    All,
    /// Each pod has its own, kept nowhere else and revoked when the pod ends.
    Pod,
}

impl Default for GrantFile {
    fn default() -> Self {
        Self {
            flow: Flow::RefreshToken,
            region: None,
            site: None,
            account: None,
            scopes: Vec::new(),
            token_url: None,
            client_auth: None,
            allow_private: false,
            revocation_url: None,
            sharing: Sharing::All,
        }
    }
}

/// What is wrong at one key of `grant.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: found {found}; write {allowed}")]
pub struct FileError {
    /// Path of the key, as in `scopes[2]`; `line 3, column 1` where the YAML itself is broken.
    pub path: String,
    /// The type of what was found; its value only where it is a short plain word.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

const KEYS: &str = "one of flow, region, site, account, scopes, expose, sharing, and for oauth2 token_url, client_auth, allow_private, revocation_url";
const NOT_BUILT: [&str; 3] = ["allow", "forward", "hosts"];

impl GrantFile {
    /// Reads the file.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        if text.len() > MAX_FILE {
            return Err(error("the file", &format!("{} bytes", text.len()), "at most 16384 bytes"));
        }
        let map = match document(text)? {
            Value::Null => return Ok(Self::default()),
            Value::Object(map) => map,
            other => {
                return Err(error("the file", &kind(&other), "keys and values, as in 'flow: refresh_token'"));
            }
        };
        let mut file = Self::default();
        for (key, value) in &map {
            file.set(key, value)?;
        }
        Ok(file)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), FileError> {
        match key {
            "flow" => {
                let flows =
                    [("refresh_token", Flow::RefreshToken), ("client_credentials", Flow::ClientCredentials)];
                self.flow = one_of(key, value, &flows)?;
            }
            "client_auth" => {
                let ways =
                    [("post", ClientAuth::Post), ("basic", ClientAuth::Basic), ("none", ClientAuth::None)];
                self.client_auth = Some(one_of(key, value, &ways)?);
            }
            "region" => self.region = Some(text(key, value)?),
            "site" => self.site = Some(text(key, value)?),
            "account" => self.account = Some(text(key, value)?),
            "token_url" => self.token_url = Some(text(key, value)?),
            "revocation_url" => self.revocation_url = Some(text(key, value)?),
            "sharing" => {
                self.sharing = one_of(key, value, &[("all", Sharing::All), ("pod", Sharing::Pod)])?;
            }
            "allow_private" => {
                self.allow_private =
                    value.as_bool().ok_or_else(|| error(key, &kind(value), "true or false"))?;
            }
            "scopes" => {
                self.scopes = list(key, value)?
                    .iter()
                    .enumerate()
                    .map(|(i, scope)| scope_token(&format!("scopes[{i}]"), scope))
                    .collect::<Result<_, _>>()?;
            }
            "expose" => {
                for (i, way) in list(key, value)?.iter().enumerate() {
                    exposure(&format!("expose[{i}]"), way)?;
                }
            }
            _ if NOT_BUILT.contains(&key) => {
                return Err(error(key, "a key that is not built in this version", "the grant without it"));
            }
            _ => {
                return Err(error(&word(key).unwrap_or_else(|| "a key".to_owned()), "no such key", KEYS));
            }
        }
        Ok(())
    }
}

/// Bounds for a file of a few lines: aliases and nesting have no use here.
fn document(text: &str) -> Result<Value, FileError> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! { max_nodes: 2_000, max_depth: 8, max_documents: 1, max_aliases: 0, max_anchors: 0 },
    };
    serde_yaml::from_str_with_options::<Option<Value>>(text, options).map(Option::unwrap_or_default).map_err(
        |broken| {
            let path = broken.location().map_or_else(
                || "the file".to_owned(),
                |at| format!("line {}, column {}", at.line(), at.column()),
            );
            error(
                &path,
                "something that is not YAML",
                "keys and values, each key once, as in 'flow: refresh_token'",
            )
        },
    )
}

fn error(path: &str, found: &str, allowed: &str) -> FileError {
    FileError { path: path.to_owned(), found: found.to_owned(), allowed: allowed.to_owned() }
}

fn one_of<T: Copy>(path: &str, value: &Value, allowed: &[(&str, T)]) -> Result<T, FileError> {
    let found = value.as_str().and_then(|text| allowed.iter().find(|(name, _)| *name == text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = allowed.iter().map(|(name, _)| *name).collect();
        error(path, &kind(value), &names.join(" or "))
    })
}

fn text(path: &str, value: &Value) -> Result<String, FileError> {
    match value.as_str() {
        Some(text)
            if !text.is_empty() && text.len() <= MAX_TEXT && text.chars().all(|c| c.is_ascii_graphic()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(error(path, &kind(value), "text without spaces, at most 512 characters")),
    }
}

/// A `scope-token` of RFC 6749 §3.3: printable ASCII without space, quote and backslash.
fn scope_token(path: &str, value: &Value) -> Result<String, FileError> {
    let allowed = "one scope: printable characters without space, quote and backslash";
    let scope = text(path, value).map_err(|e| error(path, &e.found, allowed))?;
    if scope.contains(['"', '\\']) { Err(error(path, &kind(value), allowed)) } else { Ok(scope) }
}

fn list<'a>(path: &str, value: &'a Value) -> Result<&'a [Value], FileError> {
    match value.as_array() {
        Some(items) if !items.is_empty() && items.len() <= MAX_SCOPES => Ok(items),
        _ => Err(error(path, &kind(value), "a list of 1 to 128 entries, as in [a, b]")),
    }
}

/// `token` is the one way that this version has.
fn exposure(path: &str, value: &Value) -> Result<(), FileError> {
    match value.as_str() {
        Some("token") => Ok(()),
        Some("proxy" | "file") => {
            Err(error(path, &format!("{}, which is not built in this version", kind(value)), "token"))
        }
        _ => Err(error(path, &kind(value), "token")),
    }
}

/// What a value is, without showing what it holds.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(_) => "a number".to_owned(),
        Value::String(text) => {
            word(text).unwrap_or_else(|| format!("a text of {} characters", text.chars().count()))
        }
        Value::Array(items) => format!("a list of {} entries", items.len()),
        Value::Object(map) => keys(map),
    }
}

fn keys(map: &Map<String, Value>) -> String {
    format!("a mapping of {} keys", map.len())
}

/// A text that may be shown: no credential is this short and without capitals or digits next to each other.
fn word(text: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || matches!(c, '_' | '-' | '.');
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let shown = !text.is_empty()
        && text.len() <= 20
        && digits <= 2
        && text.chars().all(|c| plain(c) || c.is_ascii_digit());
    shown.then(|| format!("\"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        GrantFile::parse(text).expect_err(text).to_string()
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        for text in ["", "   \n", "# nothing\n", "{}", "null"] {
            assert_eq!(GrantFile::parse(text), Ok(GrantFile::default()), "{text:?}");
        }
        assert_eq!(GrantFile::default().flow, Flow::RefreshToken);
    }

    #[test]
    fn reads_every_key_of_this_version() {
        let text = "flow: client_credentials\nregion: eu\nsite: datadoghq.eu\naccount: acme\nscopes: [incidents.read, 'a:b']\n\
                    expose: [token]\ntoken_url: https://id.example.com/token\nclient_auth: basic\nallow_private: true\n";
        let file = GrantFile::parse(text).unwrap();
        assert_eq!(file.flow, Flow::ClientCredentials);
        assert_eq!(file.scopes, ["incidents.read", "a:b"]);
        assert_eq!((file.region.as_deref(), file.account.as_deref()), (Some("eu"), Some("acme")));
        assert_eq!(file.client_auth, Some(ClientAuth::Basic));
        assert!(file.allow_private);
    }

    #[test]
    fn says_where_what_was_found_and_what_is_allowed() {
        assert_eq!(
            refused("flow: refesh_token"),
            "flow: found \"refesh_token\"; write refresh_token or client_credentials"
        );
        assert_eq!(
            refused("flow: [x]"),
            "flow: found a list of 1 entries; write refresh_token or client_credentials"
        );
        assert_eq!(refused("allow_private: 1"), "allow_private: found a number; write true or false");
        assert!(
            refused("scopes: incidents.read").starts_with("scopes: found \"incidents.read\"; write a list")
        );
        assert!(refused("scopes: [a, {b: c}]").starts_with("scopes[1]: found a mapping of 1 keys"));
        assert!(
            refused("scopes: ['a b']")
                .starts_with("scopes[0]: found a text of 3 characters; write one scope")
        );
        assert!(refused("scope: [a]").starts_with("\"scope\": found no such key; write one of flow"));
        assert!(refused("expose: [proxy]").contains("not built in this version; write token"));
        assert!(refused("- a").starts_with("the file: found a list"));
    }

    #[test]
    fn keys_of_other_versions_are_refused() {
        for key in NOT_BUILT {
            assert!(refused(&format!("{key}: [read]")).contains("not built in this version"), "{key}");
        }
    }

    #[test]
    fn no_message_shows_a_credential() {
        for secret in ["pdus+_0XYZ_9f3c-secret", "y_NbAkKc66ryYTWUXYEu", "0123456789abcdef0123456789abcdef"] {
            for text in [
                secret.to_owned(),
                format!("flow: {secret}"),
                format!("region: ['{secret}']"),
                format!("{secret}: x"),
                format!("flow: '{secret}\nbroken"),
                format!("a: 1\na: {secret}"),
                format!("scopes: [\"{secret} x\"]"),
                format!("token_url: '{secret} {secret}'"),
            ] {
                let message = refused(&text);
                assert!(!message.contains(&secret[..8]), "{message}");
            }
        }
    }

    #[test]
    fn bombs_and_broken_yaml_are_refused_with_a_place() {
        assert!(refused("flow: [").starts_with("line "));
        assert!(refused("a: &a [x]\nb: *a").contains("not YAML"));
        assert!(refused("flow: refresh_token\nflow: refresh_token").contains("each key once"));
        assert!(refused(&"[".repeat(200)).contains("not YAML"));
        assert!(refused(&"#".repeat(MAX_FILE + 1)).contains("at most 16384 bytes"));
    }
}
