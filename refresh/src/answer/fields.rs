//! The fields of a token answer (RFC 6749 §5), from JSON or a form, directly or within a wrapper of the vendor.

use agent_creds_core::grant::MAX_TOKEN;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::json::{self, Pairs, Value};
use crate::reply::MediaType;
use crate::token::Token;

/// Most objects and arrays around the tokens.
const MAX_DEPTH: u8 = 4;
/// Keys of an error object under which vendors write the error's name.
const ERROR_KEYS: [&str; 6] = ["error", "code", "type", "status", "name", "error_code"];
/// Most scopes of an answer that are kept: they go into the document, whose size is limited.
pub(super) const MAX_SCOPES: usize = 128;
/// Longest lifetime that is believed: ten years, in seconds.
const MAX_LIFE: i64 = 10 * 365 * 86_400;

/// The fields of an answer.
pub(super) struct Fields {
    /// The object that has the tokens, or the outermost one.
    own: Pairs,
    /// The outermost object, where it is another one.
    outer: Pairs,
}

/// The tokens under one key.
#[derive(Default)]
pub(super) struct Found {
    /// Different tokens, in the order in which they occur.
    pub(super) tokens: Vec<Token>,
    /// Whether there is a value that is no token.
    pub(super) bad: bool,
}

impl Fields {
    /// Reads a body. `whole`: nothing is missing at its end.
    pub(super) fn read(text: &str, media_type: Option<MediaType>, whole: bool) -> Option<Self> {
        let json = || json::first_value(text).and_then(|raw| Self::of_json(&raw));
        let form = || {
            let own = form(text, media_type == Some(MediaType::Form)).filter(|_| whole)?;
            Some(Self { own, outer: Vec::new() })
        };
        if text.trim_start().starts_with(['{', '[']) { json() } else { form().or_else(json) }
    }

    fn of_json(raw: &RawValue) -> Option<Self> {
        let outer = json::pairs(raw);
        if let Some(own) = outer.clone().filter(|own| has(own, "access_token") || has(own, "refresh_token")) {
            return Some(Self { own, outer: Vec::new() });
        }
        let mut wrapped = Vec::new();
        search(raw, 0, &mut wrapped);
        let first = wrapped.first().map(access);
        // Different tokens in different wrappers: nothing says which are meant.
        let is_unambiguous = wrapped.iter().all(|other| Some(access(other)) == first);
        match wrapped.into_iter().next().filter(|_| is_unambiguous) {
            Some(own) => Some(Self { own, outer: outer.unwrap_or_default() }),
            None => outer.map(|own| Self { own, outer: Vec::new() }),
        }
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Value> {
        self.own.iter().chain(&self.outer).filter(move |(name, _)| name == key).map(|(_, value)| value)
    }

    /// The tokens under a key of the object that has them.
    pub(super) fn tokens(&self, key: &str) -> Found {
        let mut found = Found::default();
        for (_, value) in self.own.iter().filter(|(name, _)| name == key) {
            let token = match value {
                Value::Null => continue,
                Value::Text(text) if text.is_empty() => continue,
                Value::Text(text) => token(text),
                // Digits are the token; a fraction or an exponent could be written in several ways.
                Value::Number(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => token(digits),
                _ => None,
            };
            found.bad |= token.is_none();
            found.tokens.extend(token.filter(|token| !found.tokens.contains(token)));
        }
        found
    }

    /// Whether the answer says `ok: false`, as Slack does in a 200.
    pub(super) fn is_failed(&self) -> bool {
        self.all("ok").any(|value| match value {
            Value::Bool(ok) => !ok,
            Value::Text(text) => text.eq_ignore_ascii_case("false"),
            _ => false,
        })
    }

    /// The name of an error: of RFC 6749 §5.2, or what an error object of the vendor has in its place.
    pub(super) fn error(&self) -> Option<String> {
        self.all("error").find_map(error).or_else(|| self.all("errors").find_map(error))
    }

    /// `expires_in` in seconds; some servers send it as text or with a fraction. Of several the shortest counts.
    pub(super) fn expires_in(&self) -> Option<i64> {
        let seconds = |value: &Value| {
            let (Value::Text(text) | Value::Number(text)) = value else { return None };
            let seconds = text.trim().parse::<f64>().ok()? as i64;
            (seconds > 0).then_some(seconds.min(MAX_LIFE))
        };
        self.all("expires_in").filter_map(seconds).min()
    }

    /// `scope`, separated by spaces (RFC 6749 §3.3); some servers use commas or a JSON array.
    pub(super) fn scopes(&self) -> Option<Vec<String>> {
        let split = |text: &str| -> Vec<String> {
            text.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
        };
        let scopes = |value: &Value| match value {
            Value::Text(text) => Some(split(text)),
            Value::Nested(raw) => {
                let items = json::items(raw)?.into_iter().filter_map(|item| match json::value(&item) {
                    Value::Text(text) => Some(split(&text)),
                    _ => None,
                });
                Some(items.flatten().collect())
            }
            _ => None,
        };
        let found = self.all("scope").filter_map(scopes).last()?;
        let bounded = |scope: &String| scope.len() <= 512 && scope.chars().all(|c| c.is_ascii_graphic());
        Some(found.into_iter().filter(bounded).take(MAX_SCOPES).collect())
    }

    /// Whether the answer names a token type that `takes` does not take; absent counts as `Bearer`.
    pub(super) fn is_of_another_type(&self, takes: impl Fn(&str) -> bool) -> bool {
        self.all("token_type").any(|value| match value {
            Value::Null => false,
            Value::Text(name) => !name.is_empty() && !takes(name),
            _ => true,
        })
    }
}

fn has(pairs: &Pairs, key: &str) -> bool {
    pairs.iter().any(|(name, value)| name == key && !matches!(value, Value::Null))
}

/// The texts under `access_token`, to compare.
fn access(pairs: &Pairs) -> Vec<&str> {
    let texts =
        pairs.iter().filter(|(name, _)| name == "access_token").filter_map(|(_, value)| match value {
            Value::Text(text) | Value::Number(text) => Some(text.as_str()),
            _ => None,
        });
    texts.collect()
}

/// Collects the objects with an access token within objects, arrays and JSON texts.
fn search(raw: &RawValue, depth: u8, found: &mut Vec<Pairs>) {
    if depth > MAX_DEPTH {
        return;
    }
    match json::value(raw) {
        Value::Text(text) if text.trim_start().starts_with(['{', '[']) => {
            if let Some(inner) = json::first_value(&text) {
                search(&inner, depth + 1, found);
            }
        }
        Value::Nested(raw) => match json::pairs(&raw) {
            Some(pairs) if has(&pairs, "access_token") => found.push(pairs),
            Some(pairs) => pairs.iter().for_each(|(_, value)| search_in(value, depth, found)),
            None => json::items(&raw).iter().flatten().for_each(|item| search(item, depth + 1, found)),
        },
        _ => {}
    }
}

fn search_in(value: &Value, depth: u8, found: &mut Vec<Pairs>) {
    match value {
        Value::Nested(raw) => search(raw, depth + 1, found),
        Value::Text(text) if text.trim_start().starts_with(['{', '[']) => {
            if let Some(inner) = json::first_value(text) {
                search(&inner, depth + 1, found);
            }
        }
        _ => {}
    }
}

/// The name in an error value; an empty one for an error without a name.
fn error(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Text(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Bool(true) | Value::Number(_) => Some(String::new()),
        Value::Nested(raw) => {
            let first = json::items(raw).and_then(|items| items.into_iter().next());
            let pairs = json::pairs(first.as_deref().unwrap_or(raw)).unwrap_or_default();
            let name = |key: &&str| {
                pairs.iter().find_map(|(name, value)| match value {
                    Value::Text(text) if name == *key => Some(text.clone()),
                    _ => None,
                })
            };
            (!pairs.is_empty()).then(|| ERROR_KEYS.iter().find_map(name).unwrap_or_default())
        }
    }
}

/// Returns the fields of a form, where the header says that it is one or it clearly is one.
fn form(text: &str, declared: bool) -> Option<Pairs> {
    let text = text.trim();
    let bare = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>{}\"".contains(&byte));
    let mut pairs = Vec::new();
    for pair in text.split('&').filter(|_| declared || bare) {
        for (key, value) in form_urlencoded::parse(pair.as_bytes()) {
            // No token has a space: a server that sends a bare plus means a plus.
            let is_token = key == "access_token" || key == "refresh_token";
            let value = if is_token && value.contains(' ') && pair.contains('+') {
                let escaped = pair.replace('+', "%2B");
                form_urlencoded::parse(escaped.as_bytes()).next().map(|(_, plus)| plus.into_owned())
            } else {
                Some(value.into_owned())
            };
            pairs.extend(value.map(|value| (key.into_owned(), Value::Text(value))));
        }
    }
    let known =
        |(key, _): &(String, Value)| ["access_token", "refresh_token", "error"].contains(&key.as_str());
    pairs.iter().any(known).then_some(pairs)
}

/// A token as RFC 6749 appendices A.12 and A.17 have it: printable ASCII, and of a bounded size.
pub(super) fn token(text: &str) -> Option<Token> {
    let good = !text.is_empty() && text.len() <= MAX_TOKEN && text.chars().all(|c| matches!(c, ' '..='~'));
    good.then(|| Token::from(text.to_owned()))
}

/// Finds the refresh token in a body that cannot be read. Only a value with its closing quote and without escapes counts, or
/// in a form one that another field follows, so that nothing is guessed.
pub(super) fn salvage(text: &str) -> Option<Token> {
    // `"refresh_token"` may also be a value, as in `"issued_token_type": "refresh_token"`.
    let quoted = text.split("\"refresh_token\"").skip(1).find_map(|after| {
        let (value, _) =
            after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"')?;
        if value.contains('\\') { None } else { token(value) }
    });
    quoted.or_else(|| {
        let (complete, _) = text.rsplit_once('&')?;
        let pairs = form(complete, false)?;
        pairs.iter().find_map(|(key, value)| match value {
            Value::Text(text) if key == "refresh_token" => token(text),
            _ => None,
        })
    })
}
