//! Secrets in the Kubernetes API, by name only: GET, a watch of one name, and PUT with uid and resourceVersion.
//! Never a list: RBAC gives the sidecar no right to it, and cost must not grow with the namespace.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Resource;
use kube::api::{GetParams, PostParams, WatchEvent, WatchParams};
use tokio::sync::watch;

use super::{Object, ObjectName, Regarding, STATE_KEY, Store, StoreError};
use crate::api_server::{Account, ApiServer, ClientError};
use crate::clock::Clock;
use crate::grant::fingerprint::hex;
use crate::grant::news::News;
use crate::grant::rules::Timing;
use crate::identity::wallet::Wallet;
use crate::random::random;

/// A watch is asked to end after so many seconds, below every usual idle limit between us and the API server.
const WATCH_SECONDS: u32 = 280;

/// The Kubernetes API as one ServiceAccount sees it.
#[derive(Clone)]
pub struct Kubernetes {
    api: ApiServer,
    /// Longest pause after a watch that ended, so that an outage is not answered with a storm.
    watch_pause: Duration,
}

impl Kubernetes {
    /// The Secrets that `api` may see.
    pub fn new(api: ApiServer, timing: &Timing) -> Self {
        Self { api, watch_pause: Duration::try_from(timing.settle).unwrap_or_default() / 3 }
    }

    /// The same with the ServiceAccount token in `token_file` ([`ApiServer::connect`]).
    pub fn connect(
        server: &str,
        roots: Vec<Vec<u8>>,
        token_file: &Path,
        clock: Clock,
        timing: &Timing,
    ) -> Result<Self, ClientError> {
        Ok(Self::new(ApiServer::connect(server, roots, Account::File(token_file), clock)?, timing))
    }

    fn request(namespace: &str) -> kube::core::Request {
        kube::core::Request::new(Secret::url_path(&(), Some(namespace)))
    }
}

/// uid and resourceVersion: a Secret that was deleted and made again under the same name is another one.
#[derive(Clone)]
pub struct Version {
    uid: String,
    resource_version: String,
    /// Kept whole, so that a write changes nothing but the document.
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

    fn wallet(&self) -> Option<&Wallet> {
        self.api.wallet()
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

    async fn announce(&self, regarding: &Regarding, news: &News) -> Result<(), StoreError> {
        let Regarding { name, uid, by } = regarding;
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{}", name.name, hex(&random::<8>()))),
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
            type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(news.reason.clone()),
            action: Some(news.action.to_owned()),
            note: Some(news.note.clone()),
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

    async fn follow(&self, name: &ObjectName, seen: watch::Sender<Option<Version>>) {
        let params =
            WatchParams::default().fields(&format!("metadata.name={}", name.name)).timeout(WATCH_SECONDS);
        loop {
            // An empty resourceVersion starts with the object as it is now, so nothing that happened in between is
            // missed, and the server's history may be as short as it likes.
            let stream = match Self::request(&name.namespace).watch(&params, "") {
                Ok(request) => self.api.watch(request).await,
                Err(_) => None,
            };
            if let Some(stream) = stream {
                let mut stream = std::pin::pin!(stream);
                while let Some(Some(event)) = stream.next().await {
                    let version = match event {
                        WatchEvent::Added(secret) | WatchEvent::Modified(secret) => {
                            object(secret).ok().map(|object| object.version)
                        }
                        WatchEvent::Deleted(_) => None,
                        WatchEvent::Bookmark(_) => continue,
                        WatchEvent::Error(_) => break,
                    };
                    let changed = |old: &mut Option<Version>| {
                        let news = *old != version;
                        old.clone_from(&version);
                        news
                    };
                    seen.send_if_modified(changed);
                }
            }
            let half = f64::from(u8::from_be_bytes(random())) / 510.0;
            tokio::time::sleep(self.watch_pause.mul_f64(0.5 + half)).await;
        }
    }
}

/// A request that cannot be built from names that were checked at the start: a defect.
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
