//! Where the two Secrets of a grant live. One trait, two real implementations: the Kubernetes API, and a directory
//! of Secret manifests. Both write by compare-and-swap alone, and only what carries the label of a state Secret.

pub mod directory;
pub mod kubernetes;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::grant::news::News;
use crate::grant::status::Trouble;
use crate::identity::wallet::Wallet;
use crate::object_name::ObjectName;

/// Key of the state Secret that holds the document.
pub const STATE_KEY: &str = "state";

/// A Secret as it was read. Not `Debug`: it holds credentials.
#[derive(Clone)]
pub struct Object<V> {
    /// What a write has to match.
    pub version: V,
    /// Its uid, where the store has such a thing.
    pub uid: Option<String>,
    /// When it was made, where that is known.
    pub created_at: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its data, decoded.
    pub data: BTreeMap<String, Vec<u8>>,
}

/// Why a Secret could not be read or written. Texts name the operation, never the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object changed since it was read, or is gone.
    #[error("changed since it was read")]
    Conflict,
    /// It was there when it was read.
    #[error("not found")]
    NotFound,
    /// A right is missing.
    #[error("not allowed to {verb} it")]
    Forbidden {
        /// The verb that is missing.
        verb: &'static str,
    },
    /// Exists, but is no Secret that we can read.
    #[error("unreadable: {0}")]
    Malformed(String),
    /// A write that will not be taken: too large, or its content is refused.
    #[error("not accepted: too large, or refused by a policy")]
    Unacceptable,
    /// No answer, or an answer that says nothing about the object. A write may have taken place.
    #[error("no answer from the store ({0})")]
    Unavailable(&'static str),
    /// Nothing was asked: there is no valid token to ask with.
    #[error("{}", .0.message)]
    NoIdentity(Trouble),
}

/// What news is about, and from whom.
#[derive(Clone, Debug)]
pub struct Regarding {
    /// The grant Secret.
    pub name: ObjectName,
    /// Its uid, where the store has such a thing.
    pub uid: Option<String>,
    /// Who made the change.
    pub by: String,
}

/// A place for Secrets.
pub trait Store: Clone + Send + Sync + 'static {
    /// What identifies the content of an object for compare-and-swap. An opaque value: it has no order.
    type Version: Clone + PartialEq + fmt::Display + Send + Sync;

    /// Where the tokens come from that it is asked with, if they end and are replaced by our doing.
    fn wallet(&self) -> Option<&Wallet> {
        None
    }

    /// Reads a Secret as it is now, not from a cache. `None`: it does not exist.
    fn read(
        &self,
        name: &ObjectName,
    ) -> impl Future<Output = Result<Option<Object<Self::Version>>, StoreError>> + Send;

    /// Replaces the document in a state Secret if it is still at `version`; everything else in it stays.
    fn write(
        &self,
        name: &ObjectName,
        version: &Self::Version,
        document: Vec<u8>,
    ) -> impl Future<Output = Result<Object<Self::Version>, StoreError>> + Send;

    /// Follows a Secret for ever and tells which version it is at, `None` where it does not exist or that cannot be
    /// told. Late or repeated news is harmless: who listens reads again.
    fn follow(
        &self,
        name: &ObjectName,
        seen: watch::Sender<Option<Self::Version>>,
    ) -> impl Future<Output = ()> + Send;

    /// Tells people who look at a grant Secret what has changed, where the store has a place for that.
    fn announce(
        &self,
        _regarding: &Regarding,
        _news: &News,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }
}
