//! Secrets as manifests in a directory, for laptops, Compose and the demo: `DIR/<name>.yaml`. Compare-and-swap as in the cluster: a
//! lock on `DIR/.<name>.lock`, a hash of the bytes as version (people edit by hand), and a write by rename, so that a reader
//! never sees half a file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, StreamExt as _};
use serde_json::{Map, Value, json};

use super::{Object, STATE_KEY, Store, StoreError};
use agent_creds_core::names::ObjectName;
use agent_creds_refresh::fingerprint::hex;

/// Interval at which a manifest is read.
const POLL: Duration = Duration::from_millis(500);
/// Largest manifest, in bytes: the API server's limit for a Secret, base64-encoded.
const MAX_FILE: u64 = 2 * 1024 * 1024;

/// A directory of Secret manifests.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// SHA-256 of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Version([u8; 32]);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Directory {
    /// Uses the directory at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn manifest(&self, name: &ObjectName) -> PathBuf {
        self.path.join(format!("{}.yaml", name.name))
    }

    fn read_now(&self, name: &ObjectName) -> Result<Option<(Object<Version>, Value)>, StoreError> {
        let Some(bytes) = load(&self.manifest(name))? else {
            return Ok(None);
        };
        let manifest = parse(&bytes)?;
        let version = Version(hash(&bytes));
        let labels = strings(manifest.pointer("/metadata/labels"))?;
        let annotations = strings(manifest.pointer("/metadata/annotations"))?;
        let mut data = BTreeMap::new();
        for (key, value) in strings(manifest.get("data"))? {
            // Line breaks are allowed, as in the API server.
            let compact: String = value.split_ascii_whitespace().collect();
            let decoded = STANDARD.decode(compact);
            let value = decoded.map_err(|_| StoreError::Malformed(format!("{}: not base64", named(&key))))?;
            data.insert(key, value);
        }
        // `stringData` wins, as in the API server.
        data.extend(
            strings(manifest.get("stringData"))?.into_iter().map(|(key, value)| (key, value.into_bytes())),
        );
        Ok(Some((Object { version, uid: None, created_at: None, labels, annotations, data }, manifest)))
    }

    fn write_now(
        &self,
        name: &ObjectName,
        expected: &Version,
        document: &[u8],
    ) -> Result<Object<Version>, StoreError> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.join(format!(".{}.lock", name.name)))
            .map_err(failure)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|_| StoreError::Unavailable("lock"))?;
        let (mut object, mut manifest) = self.read_now(name)?.ok_or(StoreError::NotFound)?;
        if object.version != *expected {
            return Err(StoreError::Conflict);
        }
        set_document(&mut manifest, document)?;
        // One line per value, so that a shell can read it.
        let plain = serde_yaml::ser_options! { prefer_block_scalars: false };
        let text = serde_yaml::to_string_with_options(&manifest, plain).map_err(|_| malformed("manifest"))?;
        self.replace(name, text.as_bytes()).map_err(failure)?;
        object.version = Version(hash(text.as_bytes()));
        object.data.insert(STATE_KEY.to_owned(), document.to_vec());
        Ok(object)
    }

    /// Replaces a manifest. It is durable when this returns: file, name and directory are synchronised.
    fn replace(&self, name: &ObjectName, text: &[u8]) -> std::io::Result<()> {
        let fresh = self.path.join(format!(".{}.new", name.name));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, self.manifest(name))?;
        File::open(&self.path)?.sync_all()
    }
}

impl Store for Directory {
    type Version = Version;

    async fn read(&self, name: &ObjectName) -> Result<Option<Object<Version>>, StoreError> {
        let (this, name) = (self.clone(), name.clone());
        blocking(move || this.read_now(&name).map(|found| found.map(|(object, _)| object))).await
    }

    async fn write(
        &self,
        name: &ObjectName,
        version: &Version,
        document: Vec<u8>,
    ) -> Result<Object<Version>, StoreError> {
        let (this, name, version) = (self.clone(), name.clone(), version.clone());
        blocking(move || this.write_now(&name, &version, &document)).await
    }

    async fn watch(
        &self,
        name: &ObjectName,
    ) -> Result<impl Stream<Item = Option<Version>> + Send, StoreError> {
        let path = self.manifest(name);
        type Poll = (Option<Version>, Option<Written>);
        let polls = futures_util::stream::unfold(None, move |last: Option<Poll>| {
            let path = path.clone();
            async move {
                if last.is_some() {
                    tokio::time::sleep(POLL).await;
                }
                let poll = blocking(move || {
                    let version = load(&path)?.map(|bytes| Version(hash(&bytes)));
                    Ok((version, written(&path)))
                });
                let poll = poll.await.unwrap_or_default();
                // A file that was changed and changed back between two polls may have been read in between: the unknown
                // version in front has it read again.
                let unknown = last.is_some_and(|last| last != poll && last.0 == poll.0).then_some(None);
                Some((unknown.into_iter().chain([poll.0.clone()]), Some(poll)))
            }
        });
        Ok(polls.flat_map(futures_util::stream::iter))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Unavailable("task")))
}

/// Which file it is and when it was written, in nanoseconds: different after each write.
type Written = (u64, i64, i64);

fn written(path: &Path) -> Option<Written> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec()))
}

fn load(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failure(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failure)?;
    if bytes.len() as u64 > MAX_FILE { Err(malformed("larger than 2 MiB")) } else { Ok(Some(bytes)) }
}

fn parse(bytes: &[u8]) -> Result<Value, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("not UTF-8"))?;
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! { max_nodes: 5_000, max_depth: 16, max_documents: 1 },
    };
    let manifest: Value =
        serde_yaml::from_str_with_options(text, options).map_err(|_| malformed("not YAML"))?;
    if manifest.get("kind").and_then(Value::as_str) == Some("Secret") {
        Ok(manifest)
    } else {
        Err(malformed("kind: not Secret"))
    }
}

/// Returns a key as errors name it. An unknown key is not shown: where the space after a colon is missing, it holds the value.
fn named(key: &str) -> String {
    let known = ["client_id", "client_secret", "refresh_token", "grant.yaml", STATE_KEY];
    if known.contains(&key) { format!("key {key}") } else { "a key that is not ours".to_owned() }
}

/// Reads a mapping of texts. An error names known keys alone and never a value.
fn strings(value: Option<&Value>) -> Result<BTreeMap<String, String>, StoreError> {
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(key, value)| match value.as_str() {
                Some(text) => Ok((key.clone(), text.to_owned())),
                None => Err(StoreError::Malformed(format!("{}: not text", named(key)))),
            })
            .collect(),
        Some(_) => Err(malformed("labels, data or stringData: not a mapping of text, so not text")),
    }
}

fn malformed(problem: &str) -> StoreError {
    StoreError::Malformed(problem.to_owned())
}

fn set_document(manifest: &mut Value, document: &[u8]) -> Result<(), StoreError> {
    let root = manifest.as_object_mut().ok_or(malformed("kind: not Secret"))?;
    if let Some(Value::Object(plain)) = root.get_mut("stringData") {
        plain.remove(STATE_KEY);
    }
    let data = root.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = Value::Object(Map::new());
    }
    let data = data.as_object_mut().ok_or(malformed("data"))?;
    data.insert(STATE_KEY.to_owned(), Value::String(STANDARD.encode(document)));
    Ok(())
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[expect(clippy::needless_pass_by_value, reason = "an adapter for map_err")]
fn failure(error: std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::Forbidden { verb: "access" }
        }
        _ => StoreError::Unavailable("file system"),
    }
}

#[cfg(test)]
mod tests;
