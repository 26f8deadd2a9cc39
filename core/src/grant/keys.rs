//! The keys of a grant Secret: which are known, and which a misspelt one was probably meant to be.

use std::collections::BTreeMap;

use super::error::GrantError;
use crate::provider::Credential;
use crate::spelling::{distance, letters, nearest};

/// Key with the settings of a grant.
pub const FILE_KEY: &str = "grant.yaml";
/// Keys that belong to providers of other versions.
pub(super) const NOT_BUILT: [&str; 4] = ["api_key", "app_key", "private_key", "access_token"];
/// Other names of credentials, as [`letters`] returns them.
const ALIASES: [(&str, Credential); 7] = [
    ("token", Credential::RefreshToken),
    ("refresh", Credential::RefreshToken),
    ("id", Credential::ClientId),
    ("client", Credential::ClientId),
    ("username", Credential::ClientId),
    ("secret", Credential::ClientSecret),
    ("password", Credential::ClientSecret),
];
/// Other names of `grant.yaml`, as [`letters`] returns them.
const FILES: [&str; 4] = ["grant", "grants", "grantjson", "grantyamltxt"];

/// The data of a Secret.
pub(super) type Data = BTreeMap<String, Vec<u8>>;

/// Refuses keys that are not built in this version, and a misspelt `grant.yaml`: without it the login would be used with the
/// default settings, such as at the default site of the provider.
pub(super) fn check(data: &Data) -> Result<(), GrantError> {
    if let Some(key) = NOT_BUILT.into_iter().find(|key| data.contains_key(*key)) {
        return Err(GrantError::key(key, "not built in this version of agent-creds; remove the key"));
    }
    match unknown(data).find(|key| meant(key) == Some(FILE_KEY)) {
        Some(key) if !data.contains_key(FILE_KEY) => {
            let problem = format!(
                "no such key; did you mean {FILE_KEY}? Its settings would be ignored; rename or remove it"
            );
            Err(GrantError::key(key, problem))
        }
        _ => Ok(()),
    }
}

/// Returns a key of the Secret that was probably meant to be this one.
pub(super) fn misspelt<'a>(data: &'a Data, key: &str) -> Option<&'a str> {
    unknown(data).find(|found| meant(found) == Some(key))
}

/// Returns a sentence for each unknown key.
pub(super) fn warnings(data: &Data) -> Vec<String> {
    // Enough for a person, and a limit for the log.
    const MOST: usize = 8;
    let sentence = |key: &str| match meant(key) {
        Some(meant) => format!("key {key}: no such key; did you mean {meant}?"),
        None if is_plain(key) => format!("key {key}: no such key; remove it"),
        None => "a key that is not one of a grant Secret; remove it".to_owned(),
    };
    let mut sentences: Vec<_> = unknown(data).map(sentence).collect();
    sentences.dedup();
    sentences.truncate(MOST);
    sentences
}

fn unknown(data: &Data) -> impl Iterator<Item = &str> {
    let is_known = |key: &str| key == FILE_KEY || Credential::ALL.iter().any(|known| known.key() == key);
    data.keys().map(String::as_str).filter(move |key| !is_known(key))
}

/// Returns the key that an unknown one was probably meant to be.
fn meant(key: &str) -> Option<&'static str> {
    let found = letters(key);
    if FILES.contains(&found.as_str()) || distance(&found, &letters(FILE_KEY)) <= 2 {
        return Some(FILE_KEY);
    }
    let is_part = |known: &Credential| found.ends_with(&letters(known.key()));
    let part = Credential::ALL.into_iter().find(is_part).map(Credential::key);
    let alias = || ALIASES.into_iter().find(|(alias, _)| *alias == found).map(|(_, known)| known.key());
    part.or_else(alias).or_else(|| nearest(key, Credential::ALL.map(Credential::key)))
}

/// Returns whether a key may be shown: no credential that got in front of the colon has only small letters.
fn is_plain(key: &str) -> bool {
    key.len() <= 20 && key.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_' | '.'))
}
