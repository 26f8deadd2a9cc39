//! The seal keys, read from a directory again and again: the manager creates them after the installation, rotates them
//! on request, and a person withdraws one by removing it. They are compared by content, as certificates are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::pod::seal_keys::Keys;

/// Name of the file, and of the key in the Secret, with the key that makes seals.
pub const CURRENT: &str = "current";
/// Name of the file, and of the key in the Secret, with the other key that verifies seals.
pub const PREVIOUS: &str = "previous";

/// The keys in use.
#[derive(Debug)]
pub struct SealKeys {
    directory: PathBuf,
    current: watch::Sender<Option<Arc<Keys>>>,
}

impl SealKeys {
    /// Reads `directory`, which may still be empty.
    pub async fn load(directory: PathBuf) -> Arc<Self> {
        let keys = Arc::new(Self { directory, current: watch::Sender::new(None) });
        keys.look().await;
        keys
    }

    /// Returns the keys; `None` while there are none.
    pub fn current(&self) -> Option<Arc<Keys>> {
        self.current.borrow().clone()
    }

    /// Waits until there are keys.
    pub async fn available(&self) {
        // The sender lives as long as this value.
        let _ = self.current.subscribe().wait_for(Option::is_some).await;
    }

    /// Reads the directory at this interval, for ever.
    pub async fn run(&self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Reads the directory. A removed key is withdrawn at once; keys that cannot be read or used change nothing.
    pub async fn look(&self) {
        let found = match self.read().await {
            Ok(found) => found,
            Err(error) => return tracing::error!(%error, "seal keys not read"),
        };
        let before = self.current();
        let ids = |keys: Option<&Keys>| keys.map(|keys| format!("{keys:?}"));
        if ids(found.as_ref()) == ids(before.as_deref()) {
            return;
        }
        match &found {
            Some(keys) => tracing::info!(?keys, "seal keys changed"),
            None => tracing::warn!("no seal keys"),
        }
        self.current.send_replace(found.map(Arc::new));
    }

    async fn read(&self) -> anyhow::Result<Option<Keys>> {
        let current = file(&self.directory.join(CURRENT)).await?;
        let previous = file(&self.directory.join(PREVIOUS)).await?;
        if current.is_empty() {
            return Ok(None);
        }
        Ok(Some(Keys::new(&current, Some(&previous))?))
    }
}

/// Returns the content of a file; nothing where it does not exist.
async fn file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Zeroizing::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_come_change_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let keys = SealKeys::load(folder.path().to_owned()).await;
        assert!(keys.current().is_none(), "made after the installation");
        write(CURRENT, &[1; 32]);
        keys.look().await;
        let first = keys.current().unwrap().id().to_owned();
        write(PREVIOUS, &[1; 32]);
        write(CURRENT, &[2; 32]);
        keys.look().await;
        assert_ne!(keys.current().unwrap().id(), first);
        write(CURRENT, &[3; 8]);
        keys.look().await;
        assert!(keys.current().is_some(), "what cannot be used changes nothing");
        std::fs::remove_file(folder.path().join(CURRENT)).unwrap();
        keys.look().await;
        assert!(keys.current().is_none(), "what was taken out is gone");
    }
}
