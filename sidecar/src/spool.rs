//! The spool: data that has to outlive the process but not the pod, in a memory volume that only the sidecar mounts. For each grant
//! it holds the presentation that is not recorded in the store yet, and answers that could not be read; besides, the random name
//! of this pod.

mod files;
mod unread;

pub use unread::UnreadFile;

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use agent_creds_core::names::LocalName;

use agent_creds_refresh::replica::{Record, Uncommitted};
use agent_creds_runtime::random;

use files::{private, read, remove, replace};

/// File with the pod's name.
const POD_FILE: &str = "pod";
/// Largest file in bytes: a token answer and a little more.
const MAX_FILE: u64 = 256 * 1024;

/// The spool of one process. It is locked: two processes with the same pod name would withdraw each other's claims.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    pod: String,
    _lock: File,
}

/// The part of one grant.
#[derive(Clone, Debug)]
pub struct Slot {
    file: PathBuf,
    unread: UnreadFile,
}

impl Spool {
    /// Opens the spool in `directory`. A new spool, or one that cannot be read, gets a new pod name, so that nothing is concluded from
    /// entries that it lacks.
    ///
    /// # Errors
    /// Where the directory cannot be used, or another sidecar uses it.
    pub fn open(directory: &Path, grants: &[LocalName]) -> std::io::Result<Self> {
        let file = directory.join(POD_FILE);
        let lock = private().create(true).truncate(false).open(&file)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| std::io::Error::new(ErrorKind::ResourceBusy, "another sidecar uses it"))?;
        let directory = directory.to_owned();
        let known = read(&file, MAX_FILE)?
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|pod| pod.len() == 32);
        let mut spool = Self { directory, pod: known.clone().unwrap_or_default(), _lock: lock };
        let readable = grants.iter().all(|grant| spool.slot(grant).load().is_ok());
        if known.is_none() || !readable {
            for grant in grants {
                spool.slot(grant).clear()?;
            }
            spool.pod = random::hex::<16>();
            // Written in place: the lock is on this file.
            let mut file = private().truncate(true).open(&file)?;
            file.write_all(spool.pod.as_bytes())?;
            file.sync_all()?;
        }
        Ok(spool)
    }

    /// The random name of the pod.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// The slot of one grant.
    pub fn slot(&self, grant: &LocalName) -> Slot {
        let unread = UnreadFile { file: self.directory.join(format!("{}{grant}.json", unread::PREFIX)) };
        Slot { file: self.directory.join(format!("uncommitted-{grant}.json")), unread }
    }
}

impl Slot {
    /// Reads what an earlier process wrote.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn load(&self) -> std::io::Result<Option<Record>> {
        let Some(bytes) = read(&self.file, MAX_FILE)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| ErrorKind::InvalidData.into())
    }

    /// Replaces the content, all or nothing. It is durable when this returns.
    ///
    /// # Errors
    /// Where the volume cannot be written.
    pub fn put(&self, record: &Record) -> std::io::Result<()> {
        replace(&self.file, &serde_json::to_vec(record)?)
    }

    /// The answers that could not be read.
    pub fn unread(&self) -> &UnreadFile {
        &self.unread
    }

    /// Returns a presentation whose answer an earlier version in this pod could not read, and this one can.
    pub fn readable(&self, record: Option<&Record>) -> Option<Uncommitted> {
        let found = self.unread.readable()?;
        match record {
            // Another presentation is recorded first.
            Some(Record::Uncommitted(other)) if other.claim.id != found.claim.id => None,
            _ => Some(found),
        }
    }

    /// Removes the record. Answers that could not be read stay: nothing is concluded from them.
    fn clear(&self) -> std::io::Result<()> {
        remove(&self.file)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use agent_creds_core::provider::{Replay, Unavailable};
    use agent_creds_refresh::document::Claim;
    use agent_creds_refresh::login::Asked;
    use agent_creds_refresh::replica::Uncommitted;
    use jiff::Timestamp;

    fn names() -> [LocalName; 1] {
        [LocalName::parse("a").unwrap()]
    }

    fn record() -> Record {
        Record::Uncommitted(Box::new(uncommitted()))
    }

    /// A presentation without an answer.
    pub(crate) fn uncommitted() -> Uncommitted {
        let asked = Asked {
            binding: "b".to_owned(),
            config_fp: "c".to_owned(),
            scopes: vec!["read".to_owned()],
            lifetime_s: 3600,
            replay: Replay::Unknown,
            unavailable: Unavailable::InDoubt,
            idle_days: None,
            hard_days: Some(90),
            token_types: Vec::new(),
            secret_fp: None,
            endpoint_fp: String::new(),
        };
        let claim = Claim { id: "c1".to_owned(), parent_fp: "p".to_owned(), ..Claim::default() };
        Uncommitted::new(claim, asked, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn entries_and_the_name_of_the_pod_survive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = Spool::open(folder.path(), &names()).unwrap();
        let pod = first.pod().to_owned();
        first.slot(&names()[0]).put(&record()).unwrap();
        assert!(Spool::open(folder.path(), &names()).is_err(), "in use");
        drop(first);
        let second = Spool::open(folder.path(), &names()).unwrap();
        assert_eq!(second.pod(), pod);
        assert_eq!(second.slot(&names()[0]).load().unwrap(), Some(record()));
        second.slot(&names()[0]).clear().unwrap();
        assert_eq!(second.slot(&names()[0]).load().unwrap(), None);
    }

    #[test]
    fn a_spool_that_cannot_be_read_gets_a_new_pod_name() {
        let folder = tempfile::tempdir().unwrap();
        let pod = Spool::open(folder.path(), &names()).unwrap().pod().to_owned();
        std::fs::write(folder.path().join("uncommitted-a.json"), "{").unwrap();
        let spool = Spool::open(folder.path(), &names()).unwrap();
        assert_ne!(spool.pod(), pod, "under a claim of the old name something was perhaps sent");
        assert_eq!(spool.slot(&names()[0]).load().unwrap(), None);
    }
}
