//! Answers of a token endpoint that could not be read, in a file beside the record of each grant. Each may hold the only copy of a
//! refresh token: a person can take it out (docs/refresh-protocol.md), and a later version in the same pod reads it again.

use std::path::{Path, PathBuf};

use agent_creds_core::words::Word as _;
use agent_creds_refresh::answer::Heard;
use agent_creds_refresh::document::Claim;
use agent_creds_refresh::login::Asked;
use agent_creds_refresh::replica::Uncommitted;
use agent_creds_refresh::reply::{MediaType, Reply};
use agent_creds_refresh::unread::Unread;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::{read, remove, replace};

/// The start of the names of the files.
pub(super) const PREFIX: &str = "unread-";
/// Most answers of one grant: the first and the last ones, since a page of a broken server may follow a token.
const MAX_ANSWERS: usize = 4;
/// Largest file in bytes: two of the longest answers.
const MAX_FILE: usize = 400 * 1024;
/// Most bytes in the files of all grants. The spool volume has 4 MiB, and the records need room.
const MAX_FILES: u64 = 1536 * 1024;

/// The file of one grant.
#[derive(Clone, Debug)]
pub struct UnreadFile {
    pub(super) file: PathBuf,
}

/// An answer, and the presentation that it answers.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    claim: Claim,
    asked: Asked,
    sent_at: Timestamp,
    status: u16,
    media_type: String,
    content_encoding: String,
    complete: bool,
    /// In base64.
    body: String,
}

impl UnreadFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Adds the answer of a presentation. It is durable when this returns.
    ///
    /// # Errors
    /// Where the volume cannot be written, or has no room.
    pub fn keep(&self, uncommitted: &Uncommitted, unread: &Unread) -> std::io::Result<()> {
        let mut all = self.load();
        let kept = Kept {
            claim: uncommitted.claim.clone(),
            asked: uncommitted.asked.clone(),
            sent_at: uncommitted.sent_at,
            status: unread.status,
            media_type: unread.media_type.map_or("", MediaType::as_str).to_owned(),
            content_encoding: unread.content_encoding.clone(),
            complete: unread.complete,
            body: STANDARD.encode(&unread.body),
        };
        // A repeated answer replaces its earlier copy.
        all.retain(|other| other.body != kept.body);
        all.push(kept);
        let mut text = serde_json::to_vec(&all)?;
        while all.len() > MAX_ANSWERS || (text.len() > MAX_FILE && all.len() > 1) {
            all.remove(usize::from(all.len() > 2));
            text = serde_json::to_vec(&all)?;
        }
        if self.others()? + text.len() as u64 > MAX_FILES {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        replace(&self.file, &text)
    }

    /// When the last of its answers was asked for.
    pub fn last_sent_at(&self) -> Option<Timestamp> {
        self.load().into_iter().map(|kept| kept.sent_at).max()
    }

    /// Returns the latest presentation whose answer this version can read.
    pub fn readable(&self) -> Option<Uncommitted> {
        self.load().into_iter().rev().find_map(Kept::read)
    }

    /// Removes it.
    ///
    /// # Errors
    /// Where the volume cannot be written.
    pub fn clear(&self) -> std::io::Result<()> {
        remove(&self.file)
    }

    /// Reads the file. A file that cannot be read counts as empty.
    fn load(&self) -> Vec<Kept> {
        let bytes = read(&self.file, MAX_FILE as u64).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Bytes in the files of the other grants.
    fn others(&self) -> std::io::Result<u64> {
        let Some(directory) = self.file.parent() else { return Ok(0) };
        let mut bytes = 0;
        for entry in std::fs::read_dir(directory)?.flatten() {
            let counts = entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.path() != self.file;
            bytes += if counts { entry.metadata()?.len() } else { 0 };
        }
        Ok(bytes)
    }
}

impl Kept {
    fn read(self) -> Option<Uncommitted> {
        let unread = Unread {
            status: self.status,
            media_type: MediaType::from_word(&self.media_type),
            content_encoding: self.content_encoding,
            body: STANDARD.decode(&self.body).ok()?,
            complete: self.complete,
        };
        let reply = Reply::Http(unread.reply());
        let Heard { answer, http, .. } = Heard::of(reply, &self.asked, &self.claim.parent_fp);
        let mut uncommitted = Uncommitted::new(self.claim, self.asked, self.sent_at);
        let brought = answer.brought_a_token();
        (uncommitted.answer, uncommitted.http) = (Some(answer), http);
        brought.then_some(uncommitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::uncommitted;

    fn page(text: &str) -> Unread {
        Unread {
            status: 200,
            media_type: Some(MediaType::Html),
            content_encoding: String::new(),
            body: text.into(),
            complete: true,
        }
    }

    fn bodies(file: &UnreadFile) -> Vec<String> {
        let text = |kept: Kept| String::from_utf8(STANDARD.decode(kept.body).unwrap()).unwrap();
        file.load().into_iter().map(text).collect()
    }

    fn file() -> (tempfile::TempDir, UnreadFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = UnreadFile { file: folder.path().join("unread-a.json") };
        (folder, file)
    }

    #[test]
    fn the_first_answer_and_the_last_ones_are_kept() {
        let (_folder, file) = file();
        assert_eq!((bodies(&file), file.last_sent_at()), (vec![], None));
        for text in ["1", "2", "2", "3", "4", "5", "6"] {
            file.keep(&uncommitted(), &page(text)).unwrap();
        }
        assert_eq!(bodies(&file), ["1", "4", "5", "6"]);
        assert!(file.last_sent_at().is_some());
        file.clear().unwrap();
        file.clear().unwrap();
        assert!(bodies(&file).is_empty());
    }

    #[test]
    fn answers_have_a_bounded_size_together() {
        let (folder, file) = file();
        for text in ["1", "2", "3"] {
            file.keep(&uncommitted(), &page(&text.repeat(128 * 1024))).unwrap();
        }
        let first_letters: Vec<_> = bodies(&file).iter().map(|body| body[..1].to_owned()).collect();
        assert_eq!(first_letters, ["1", "3"]);
        std::fs::write(folder.path().join("unread-b.json"), vec![b' '; 1_500_000]).unwrap();
        let full = file.keep(&uncommitted(), &page("x")).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(bodies(&file).len(), 2, "what was there stays");
    }

    #[test]
    fn an_answer_that_can_be_read_meanwhile_is_an_uncommitted_one() {
        let (_folder, file) = file();
        file.keep(&uncommitted(), &page(r#"{"access_token":"a","refresh_token":"r"}"#)).unwrap();
        file.keep(&uncommitted(), &page("<html>")).unwrap();
        let found = file.readable().unwrap();
        assert_eq!(
            found.answer.unwrap().child().map(|token| token.expose().to_owned()),
            Some("r".to_owned())
        );
        assert_eq!(found.claim.id, "c1");
    }
}
