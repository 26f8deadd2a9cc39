//! Checks that long-lived secrets never leave the sidecar towards the pod (invariant I3): not in plain text, not
//! encoded, not as a fingerprint. Access tokens may appear in answers to the agent, and not in logs or metrics.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Secrets;
use crate::event::fingerprint;
use crate::https::encode;

/// All output of a sidecar.
pub(super) struct Outlet {
    pub(super) log: Vec<u8>,
    pub(super) metrics: Vec<u8>,
    pub(super) heard: Vec<u8>,
    pub(super) arguments: Vec<u8>,
    pub(super) files: Vec<u8>,
}

impl Outlet {
    pub(super) fn check(&self, secrets: &Secrets) {
        let Self { log, metrics, heard, arguments, files } = self;
        look_in(&[log, metrics, heard, arguments, files], &secrets.lasting());
        look_in(&[log, metrics, arguments, files], &secrets.access_tokens());
    }
}

/// Panics if one of these secrets is found, without showing it.
#[track_caller]
pub fn look_in(places: &[&[u8]], secrets: &[String]) {
    let places: Vec<_> = places.iter().map(|place| String::from_utf8_lossy(place)).collect();
    for (number, secret) in secrets.iter().enumerate() {
        let forms = [
            ("in plain text", secret.clone()),
            ("form-encoded", encode(&[("", secret)])[1..].to_owned()),
            ("in base64", STANDARD_NO_PAD.encode(secret)),
            ("in URL-safe base64", URL_SAFE_NO_PAD.encode(secret)),
            ("as a fingerprint", fingerprint(secret)),
        ];
        for (form, text) in forms {
            let found = places.iter().find_map(|place| place.find(&text).map(|at| &place[..at]));
            if let Some(before) = found {
                let near: String = before.chars().rev().take(200).collect();
                let near: String = near.chars().rev().collect();
                panic!("secret number {number} leaked {form}, after: {near}");
            }
        }
    }
}

/// Returns the content of all files in a folder.
pub(super) fn files(folder: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    // The socket in it cannot be read.
    entries.flat_map(|entry| std::fs::read(entry.path()).unwrap_or_default()).collect()
}
