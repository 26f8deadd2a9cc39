//! The spool: what must outlive the process but not the pod. A memory volume of the sidecar alone holds, for each
//! grant, the presentation that is not yet recorded in the store, and the random name of this pod.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agent_creds_core::names::LocalName;

use crate::grant::fingerprint::hex;
use crate::grant::replica::Record;
use crate::random::random;

/// File with the pod's name.
const POD_FILE: &str = "pod";
/// Largest file: a token answer and a little more, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// The spool of one process. It is locked: two processes that shared a name would take each other's claims back.
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
}

impl Spool {
    /// Opens the spool in `directory`. A new one, or one that cannot be read, makes this a new pod: nothing is concluded
    /// from what an earlier one may have left out.
    pub fn open(directory: &Path, grants: &[LocalName]) -> std::io::Result<Self> {
        let file = directory.join(POD_FILE);
        let lock = private().create(true).truncate(false).open(&file)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| std::io::Error::new(ErrorKind::ResourceBusy, "another sidecar uses it"))?;
        let directory = directory.to_owned();
        let known =
            read(&file)?.and_then(|bytes| String::from_utf8(bytes).ok()).filter(|pod| pod.len() == 32);
        let mut spool = Self { directory, pod: known.clone().unwrap_or_default(), _lock: lock };
        let readable = grants.iter().all(|grant| spool.slot(grant).load().is_ok());
        if known.is_none() || !readable {
            for grant in grants {
                spool.slot(grant).clear()?;
            }
            spool.pod = hex(&random::<16>());
            // In place: the lock is on this file.
            let mut file = private().truncate(true).open(&file)?;
            file.write_all(spool.pod.as_bytes())?;
            file.sync_all()?;
        }
        Ok(spool)
    }

    /// The pod's name.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// Where one grant's presentation goes.
    pub fn slot(&self, grant: &LocalName) -> Slot {
        Slot { file: self.directory.join(format!("owed-{grant}.json")) }
    }
}

impl Slot {
    /// What an earlier process left.
    pub fn load(&self) -> std::io::Result<Option<Record>> {
        let Some(bytes) = read(&self.file)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|_| ErrorKind::InvalidData.into())
    }

    /// Writes it, all or nothing, and durable when it returns.
    pub fn put(&self, record: &Record) -> std::io::Result<()> {
        let fresh = self.file.with_extension("new");
        let mut file = private().create(true).truncate(true).open(&fresh)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &self.file)
    }

    /// Empties it.
    fn clear(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::fixtures::{at, claim, login};
    use crate::grant::replica::Owed;

    fn names() -> [LocalName; 1] {
        [LocalName::parse("a").unwrap()]
    }

    fn owed() -> Record {
        Record::Owed(Box::new(Owed {
            claim: claim("p", 0),
            asked: login("r1").asked(),
            sent_at: at(0),
            answer: None,
            without_access: false,
            stored: false,
        }))
    }

    #[test]
    fn what_is_owed_and_the_pods_name_survive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let first = Spool::open(folder.path(), &names()).unwrap();
        let pod = first.pod().to_owned();
        first.slot(&names()[0]).put(&owed()).unwrap();
        assert!(Spool::open(folder.path(), &names()).is_err(), "in use");
        drop(first);
        let second = Spool::open(folder.path(), &names()).unwrap();
        assert_eq!(second.pod(), pod);
        assert_eq!(second.slot(&names()[0]).load().unwrap(), Some(owed()));
        second.slot(&names()[0]).clear().unwrap();
        assert_eq!(second.slot(&names()[0]).load().unwrap(), None);
    }

    #[test]
    fn a_spool_that_cannot_be_read_makes_a_new_pod() {
        let folder = tempfile::tempdir().unwrap();
        let pod = Spool::open(folder.path(), &names()).unwrap().pod().to_owned();
        std::fs::write(folder.path().join("owed-a.json"), "{").unwrap();
        let spool = Spool::open(folder.path(), &names()).unwrap();
        assert_ne!(spool.pod(), pod, "a claim of the old one was perhaps sent");
        assert_eq!(spool.slot(&names()[0]).load().unwrap(), None);
    }
}
