//! What the refresher puts into the spool: the record of a presentation, and answers that could not be read.

use agent_creds_core::words::Word as _;
use agent_creds_refresh::document::Document;
use agent_creds_refresh::replica::{Record, Uncommitted};
use agent_creds_refresh::reply::MediaType;
use jiff::Timestamp;

use super::Refresher;
use crate::store::Store;

impl<S: Store> Refresher<S> {
    /// Puts a record into the spool. Returns whether it is there.
    pub(super) fn spool(&mut self, record: &Record) -> bool {
        // A local state ends with the process, so nothing is spooled for it.
        if self.location.is_local {
            return true;
        }
        if let Record::Uncommitted(uncommitted) = record {
            self.keep_unread(uncommitted);
        }
        self.slot.put(record).is_ok()
    }

    fn keep_unread(&mut self, uncommitted: &Uncommitted) {
        let Some(unread) = &uncommitted.unread else { return };
        let file = self.slot.unread();
        let (status, media_type) = (unread.status, unread.media_type.map_or("", MediaType::as_str));
        let (grant, path) = (&self.cache.secret, file.path().display());
        match file.keep(uncommitted, unread) {
            Ok(()) => {
                tracing::warn!(%grant, file = %path, status, media_type, "unreadable answer kept in the spool");
                self.unread_since = Some(uncommitted.sent_at);
            }
            Err(error) => {
                tracing::error!(%grant, file = %path, status, media_type, %error, "unreadable answer not kept");
            }
        }
    }

    /// Removes the answers that could not be read, once a later success has replaced what they may hold.
    pub(super) fn forget_superseded(&mut self) {
        let superseded = self.unread_since.is_some_and(|since| is_superseded(self.replica.known(), since));
        if superseded && !self.location.is_local && self.slot.unread().clear().is_ok() {
            self.unread_since = None;
        }
    }
}

/// Whether a refresh has succeeded since.
fn is_superseded(document: &Document, since: Timestamp) -> bool {
    document.doubt.is_none() && document.access.as_ref().is_some_and(|access| access.issued_at >= since)
}
