//! A directory of Secrets, with the writes of people and of tests that let time pass.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A time before every deadline.
pub const LONG_AGO: &str = "2020-01-01T00:00:00Z";
/// Keys of a grant Secret that hold long-lived credentials.
const LASTING: [&str; 2] = ["client_secret", "refresh_token"];

/// A directory of Secret manifests; clones are the same directory.
#[derive(Clone)]
pub struct Secrets {
    folder: Arc<TempDir>,
    /// All credentials that were ever in it.
    seen: Arc<Mutex<Seen>>,
}

struct Away {
    manifest: PathBuf,
    aside: PathBuf,
}

impl Drop for Away {
    fn drop(&mut self) {
        // The folder may be gone already when a test fails.
        let _ = std::fs::remove_dir(&self.manifest);
        let _ = std::fs::rename(&self.aside, &self.manifest);
    }
}

#[derive(Default)]
struct Seen {
    lasting: BTreeSet<String>,
    access: BTreeSet<String>,
}

impl Secrets {
    /// An empty directory.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder: folder.into(), seen: Arc::default() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of a Secret's manifest.
    pub fn manifest(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.yaml"))
    }

    /// Returns the content of a manifest.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.manifest(name)).expect("a manifest")
    }

    /// Writes these bytes as a manifest, atomically.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let fresh = self.path().join(format!(".{name}.test"));
        std::fs::write(&fresh, bytes).expect("writing into our own folder");
        std::fs::rename(&fresh, self.manifest(name)).expect("renaming in our own folder");
    }

    /// Writes these bytes with a comment at the end, so that the version is new.
    pub fn write_anew(&self, name: &str, bytes: &[u8]) {
        static VERSION: AtomicU32 = AtomicU32::new(0);
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        self.write(name, &[bytes, format!("\n# version {version}\n").as_bytes()].concat());
    }

    /// Removes a manifest.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.manifest(name)).expect("a manifest to remove");
    }

    /// Writes a grant Secret with these keys, and an empty state Secret if there is none yet.
    pub fn grant(&self, name: &str, provider: &str, keys: &[(&str, &str)]) {
        let data: serde_json::Map<_, _> =
            keys.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.remember(|seen| {
            let lasting = keys.iter().filter(|(key, _)| LASTING.contains(key));
            seen.lasting.extend(lasting.map(|(_, value)| (*value).to_owned()));
        });
        let labels = json!({ "agent-creds/provider": provider });
        let metadata = json!({ "name": name, "labels": labels });
        let manifest =
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data });
        self.write(name, manifest.to_string().as_bytes());
        if !self.manifest(&state_of(name)).exists() {
            self.empty_state(name);
        }
    }

    /// Writes the state Secret of a grant as the chart creates it.
    pub fn empty_state(&self, name: &str) {
        let metadata = json!({ "name": state_of(name), "labels": { "agent-creds/state-of": name } });
        let manifest = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata });
        self.write(&state_of(name), manifest.to_string().as_bytes());
    }

    /// Changes a manifest that [`Self::grant`] or a sidecar wrote.
    pub fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut manifest = self.read(name);
        change(&mut manifest);
        for key in LASTING {
            if let Some(value) = manifest["stringData"][key].as_str() {
                self.remember(|seen| seen.lasting.extend([value.to_owned()]));
            }
        }
        self.write(name, manifest.to_string().as_bytes());
    }

    /// Sets one key of a grant Secret.
    pub fn set(&self, name: &str, key: &str, value: &str) {
        self.edit(name, |manifest| manifest["stringData"][key] = json!(value));
    }

    /// Removes one key of a grant Secret.
    pub fn unset(&self, name: &str, key: &str) {
        self.edit(name, |manifest| {
            manifest["stringData"].as_object_mut().expect("a grant Secret of ours").remove(key);
        });
    }

    fn read(&self, name: &str) -> Value {
        let text = String::from_utf8(self.bytes(name)).expect("a manifest is text");
        serde_yaml::from_str(&text).expect("a manifest is YAML")
    }

    /// Returns the state document of a grant; null if there is none.
    pub fn state(&self, name: &str) -> Value {
        let manifest = self.read(&state_of(name));
        let Some(encoded) = manifest["data"]["state"].as_str() else {
            return Value::Null;
        };
        let document = STANDARD.decode(encoded.trim()).expect("data is base64");
        let document: Value = serde_json::from_slice(&document).expect("the state is a JSON document");
        self.remember(|seen| seen.note(&document));
        document
    }

    /// Changes the state document of a grant under the lock, as a replica does.
    pub fn edit_state(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let _lock = self.lock(name);
        let mut document = self.state(name);
        change(&mut document);
        let mut manifest = self.read(&state_of(name));
        manifest["data"]["state"] = json!(STANDARD.encode(document.to_string()));
        self.write(&state_of(name), manifest.to_string().as_bytes());
    }

    /// Makes the access token of a grant look old enough for a refresh; it stays valid.
    pub fn age(&self, name: &str) {
        self.edit_state(name, |document| {
            document["access"]["issued_at"] = json!(LONG_AGO);
            document["last"]["redeemed_at"] = json!(LONG_AGO);
        });
    }

    /// Dates the last redemption of a grant back, because of the least distance between two redemptions.
    pub fn rest(&self, name: &str) {
        self.edit_state(name, |document| document["last"]["redeemed_at"] = json!(LONG_AGO));
    }

    /// Ends every wait in a grant's state: backoff, doubt, the next probe of a verdict, the least distance between two
    /// redemptions.
    pub fn hurry(&self, name: &str) {
        self.edit_state(name, |document| {
            let waits = [
                ("retry", "not_before"),
                ("doubt", "first_sent_at"),
                ("doubt", "replay_not_before"),
                ("verdict", "next_probe"),
                ("last", "redeemed_at"),
            ];
            for (part, deadline) in waits {
                if document[part].is_object() {
                    document[part][deadline] = json!(LONG_AGO);
                }
            }
        });
    }

    /// Takes the lock of a grant's state until the returned file is dropped.
    pub fn lock(&self, name: &str) -> File {
        let path = self.path().join(format!(".{}.lock", state_of(name)));
        let lock = File::options().create(true).truncate(false).write(true).open(path);
        let lock = lock.expect("the lock's file");
        flock(&lock, FlockOperation::LockExclusive).expect("locking a file");
        lock
    }

    /// Makes all writes of this grant's state fail, as on a full disk.
    pub fn block(&self, name: &str) {
        std::fs::create_dir(self.blockade(name)).expect("nothing lies where the sidecar writes first");
    }

    /// Allows writes again.
    pub fn unblock(&self, name: &str) {
        std::fs::remove_dir(self.blockade(name)).expect("the folder of `block`");
    }

    /// Makes a manifest unreadable and unwritable, as in an outage, until the returned value is dropped.
    pub fn take_away(&self, name: &str) -> impl Drop + use<> {
        let away = Away { manifest: self.manifest(name), aside: self.path().join(format!(".{name}.aside")) };
        std::fs::rename(&away.manifest, &away.aside).expect("a manifest to take away");
        std::fs::create_dir(&away.manifest).expect("a folder cannot be read as a file");
        away
    }

    fn blockade(&self, name: &str) -> PathBuf {
        self.path().join(format!(".{}.new", state_of(name)))
    }

    /// Registers a long-lived secret that is in no manifest here.
    pub fn guard(&self, secret: &str) {
        self.remember(|seen| seen.lasting.extend([secret.to_owned()]));
    }

    /// Returns every refresh token and client secret that was seen here.
    pub(super) fn lasting(&self) -> Vec<String> {
        self.look_around();
        let seen = self.seen.lock().expect("no test panicked under the lock");
        seen.lasting.iter().filter(|secret| secret.len() > 7).cloned().collect()
    }

    /// Returns every access token that was seen here.
    pub(super) fn access_tokens(&self) -> Vec<String> {
        self.look_around();
        self.seen.lock().expect("no test panicked under the lock").access.iter().cloned().collect()
    }

    /// Records the tokens in the current state documents. Documents that a test has broken are skipped.
    fn look_around(&self) {
        for entry in std::fs::read_dir(self.path()).expect("our own folder").flatten() {
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            let manifest: Value = serde_yaml::from_str(&text).unwrap_or_default();
            let document =
                manifest["data"]["state"].as_str().and_then(|text| STANDARD.decode(text.trim()).ok());
            let document = document.and_then(|document| serde_json::from_slice(&document).ok());
            self.remember(|seen| seen.note(&document.unwrap_or_default()));
        }
    }

    fn remember(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.lock().expect("no test panicked under the lock"));
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new()
    }
}

impl Seen {
    fn note(&mut self, document: &Value) {
        let spares = document["spare"].as_array().into_iter().flatten();
        let refresh = spares.chain([&document["refresh"]]).filter_map(|one| one["token"].as_str());
        self.lasting.extend(refresh.filter(|token| !token.is_empty()).map(str::to_owned));
        self.access.extend(document["access"]["token"].as_str().map(str::to_owned));
    }
}

/// Gives a folder and its content to a user.
pub(super) fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).expect("only root gives files away");
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("our own folder").flatten() {
            give(&entry.path(), uid);
        }
    }
}

fn state_of(name: &str) -> String {
    format!("{name}-state")
}
