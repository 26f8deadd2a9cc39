//! Secrets in the Kubernetes API, by name alone: GET, a watch of one name, and PUT with uid and resourceVersion. Never a list: the
//! sidecar has no right to it, and the cost must not grow with the namespace.

use std::fmt;
use std::future::ready;
use std::path::Path;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::api::{GetParams, PostParams, WatchEvent, WatchParams};

use super::{Object, Regarding, STATE_KEY, Store, StoreError};
use crate::api_client::{Account, ApiClient};
use crate::clock::Clock;
use crate::identity::token_source::TokenSource;
use agent_creds_core::names::ObjectName;
use agent_creds_refresh::event::Event as Change;
use agent_creds_runtime::api_server::ClientError;
use agent_creds_runtime::random;

/// Length of one watch in seconds: below every usual idle limit between the sidecar and the API server.
const WATCH_SECONDS: u32 = 280;

/// The Kubernetes API as one ServiceAccount sees it.
#[derive(Clone)]
pub struct Kubernetes {
    api: ApiClient,
}

impl Kubernetes {
    /// The Secrets that the account of `api` may read.
    pub fn new(api: ApiClient) -> Self {
        Self { api }
    }

    /// The same with the ServiceAccount token in `token_file` ([`ApiClient::connect`]).
    ///
    /// # Errors
    /// As [`ApiClient::connect`].
    pub fn connect(
        server: &str,
        roots: Vec<Vec<u8>>,
        token_file: &Path,
        clock: Clock,
    ) -> Result<Self, ClientError> {
        Ok(Self::new(ApiClient::connect(server, roots, Account::File(token_file), clock)?))
    }

    fn request(namespace: &str) -> kube::core::Request {
        kube::core::Request::new(Secret::url_path(&(), Some(namespace)))
    }
}

/// uid and resourceVersion: a Secret that was deleted and created again under the same name is another one.
#[derive(Clone)]
pub struct Version {
    uid: String,
    resource_version: String,
    /// The whole Secret, so that a write changes nothing but the document.
    secret: Box<Secret>,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        // A restored etcd counts its versions anew.
        let same = self.uid == other.uid && self.resource_version == other.resource_version;
        same && self.secret.data == other.secret.data
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.uid, self.resource_version)
    }
}

impl Store for Kubernetes {
    type Version = Version;

    fn token_source(&self) -> Option<&TokenSource> {
        self.api.token_source()
    }

    async fn read(&self, name: &ObjectName) -> Result<Option<Object<Version>>, StoreError> {
        let request =
            Self::request(&name.namespace).get(&name.name, &GetParams::default()).map_err(unasked)?;
        match self.api.call(request, "get").await {
            Ok(secret) => object(secret).map(Some),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(
        &self,
        name: &ObjectName,
        version: &Version,
        document: Vec<u8>,
    ) -> Result<Object<Version>, StoreError> {
        let mut secret = version.secret.as_ref().clone();
        secret.data.get_or_insert_default().insert(STATE_KEY.to_owned(), ByteString(document));
        let body = serde_json::to_vec(&secret).map_err(|_| StoreError::Unacceptable)?;
        let request = Self::request(&name.namespace).replace(&name.name, &PostParams::default(), body);
        object(self.api.call(request.map_err(unasked)?, "update").await?)
    }

    async fn record(&self, regarding: &Regarding, change: &Change) -> Result<(), StoreError> {
        let Regarding { name, uid, by } = regarding;
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", name.name, random::hex::<8>())),
                namespace: Some(name.namespace.clone()),
                ..ObjectMeta::default()
            },
            regarding: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Secret".to_owned()),
                name: Some(name.name.clone()),
                namespace: Some(name.namespace.clone()),
                uid: uid.clone(),
                ..ObjectReference::default()
            }),
            event_time: Some(MicroTime(self.api.clock().now())),
            type_: Some(if change.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(change.reason.clone()),
            action: Some(change.action.to_owned()),
            note: Some(change.note.clone()),
            reporting_controller: Some("agent-creds/sidecar".to_owned()),
            reporting_instance: Some(by.clone()),
            ..Event::default()
        };
        let body = serde_json::to_vec(&event).map_err(|_| StoreError::Unacceptable)?;
        let request = kube::core::Request::new(Event::url_path(&(), Some(&name.namespace)))
            .create(&PostParams::default(), body)
            .map_err(unasked)?;
        self.api.call::<Event>(request, "create").await.map(drop)
    }

    async fn watch(
        &self,
        name: &ObjectName,
    ) -> Result<impl Stream<Item = Option<Version>> + Send, StoreError> {
        let params =
            WatchParams::default().fields(&format!("metadata.name={}", name.name)).timeout(WATCH_SECONDS);
        // An empty resourceVersion starts with the object as it is now. So no change in between is missed, however short the
        // server's history is.
        let request = Self::request(&name.namespace).watch(&params, "").map_err(unasked)?;
        let events = self.api.watch(request).await?;
        let versions = events.scan((), |(), event| {
            ready(match event {
                Some(WatchEvent::Added(secret) | WatchEvent::Modified(secret)) => {
                    Some(Some(object(secret).ok().map(|object| object.version)))
                }
                Some(WatchEvent::Deleted(_)) => Some(Some(None)),
                Some(WatchEvent::Bookmark(_)) => Some(None),
                Some(WatchEvent::Error(_)) | None => None,
            })
        });
        Ok(versions.filter_map(ready))
    }
}

/// The request cannot be built. Names were checked at the start, so this is a defect.
fn unasked(_: kube::core::request::Error) -> StoreError {
    StoreError::Unavailable("request")
}

fn object(secret: Secret) -> Result<Object<Version>, StoreError> {
    let meta = &secret.metadata;
    let (Some(uid), Some(resource_version)) = (meta.uid.clone(), meta.resource_version.clone()) else {
        return Err(StoreError::Malformed("no uid or resourceVersion".to_owned()));
    };
    let labels = meta.labels.clone().unwrap_or_default();
    let annotations = meta.annotations.clone().unwrap_or_default();
    let created_at = meta.creation_timestamp.as_ref().map(|time| time.0);
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let version = Version { uid: uid.clone(), resource_version, secret: Box::new(secret) };
    Ok(Object { version, uid: Some(uid), created_at, labels, annotations, data })
}
