//! Stores of the two Secrets of a grant: one trait with two implementations, the Kubernetes API and a directory of Secret
//! manifests. Both write with optimistic concurrency (compare-and-swap) alone.

pub mod directory;
pub mod kubernetes;
pub mod reason;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use futures_util::Stream;
use jiff::Timestamp;

use crate::identity::token_source::TokenSource;
use agent_creds_core::names::ObjectName;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::event::Event;

/// Key of the state Secret that holds the document.
pub const STATE_KEY: &str = "state";

/// A Secret as it was read. Not `Debug`: it holds credentials.
#[derive(Clone)]
pub struct Object<V> {
    /// The version that a write has to match.
    pub version: V,
    /// Its uid, where the store has uids.
    pub uid: Option<String>,
    /// Its creation time, where that is known.
    pub created_at: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its data, decoded.
    pub data: BTreeMap<String, Vec<u8>>,
}

/// Why a Secret could not be read or written. The text names the operation, never the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The object changed since it was read, or is gone.
    #[error("changed since it was read")]
    Conflict,
    /// The object does not exist, although it was read before.
    #[error("not found")]
    NotFound,
    /// A right is missing.
    #[error("not allowed to {verb} it")]
    Forbidden {
        /// The verb that is missing.
        verb: &'static str,
    },
    /// The object exists, but cannot be read as a Secret.
    #[error("unreadable: {0}")]
    Malformed(String),
    /// The write is too large, or its content is refused.
    #[error("not accepted: too large, or refused by a policy")]
    Unacceptable,
    /// No answer, or one that says nothing about the object. A write may have taken place.
    #[error("no answer from the store ({0})")]
    Unavailable(&'static str),
    /// Nothing was sent: there is no valid API token.
    #[error("{}", .0.message)]
    NoIdentity(Condition),
}

/// What an Event is about, and which replica writes it.
#[derive(Clone, Debug)]
pub struct Regarding {
    /// The grant Secret.
    pub name: ObjectName,
    /// Its uid, where the store has uids.
    pub uid: Option<String>,
    /// The replica, as holder of claims.
    pub by: String,
}

/// A store of Secrets.
pub trait Store: Clone + Send + Sync + 'static {
    /// Identifies the content of an object for compare-and-swap. An opaque value without an order.
    type Version: Clone + PartialEq + fmt::Display + Send + Sync;

    /// The source of API tokens, where the sidecar renews them itself.
    fn token_source(&self) -> Option<&TokenSource> {
        None
    }

    /// Reads a Secret as it is stored now, not from a cache. `None`: it does not exist.
    fn read(
        &self,
        name: &ObjectName,
    ) -> impl Future<Output = Result<Option<Object<Self::Version>>, StoreError>> + Send;

    /// Replaces the document in a state Secret if the Secret is still at `version`; everything else in it stays.
    fn write(
        &self,
        name: &ObjectName,
        version: &Self::Version,
        document: Vec<u8>,
    ) -> impl Future<Output = Result<Object<Self::Version>, StoreError>> + Send;

    /// Opens a watch of one Secret and returns its versions until the watch ends; `None` where the Secret does not exist or its
    /// version is not known. A late or repeated version is harmless: the receiver reads the Secret again.
    fn watch(
        &self,
        name: &ObjectName,
    ) -> impl Future<Output = Result<impl Stream<Item = Option<Self::Version>> + Send, StoreError>> + Send;

    /// Records an Event about a grant Secret, where the store has Events.
    fn record(
        &self,
        _regarding: &Regarding,
        _event: &Event,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }
}
