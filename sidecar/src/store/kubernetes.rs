//! Secrets in the Kubernetes API, by name only: GET, a watch of one name, and PUT with uid and resourceVersion.
//! Never a list: RBAC gives the sidecar no right to it, and cost must not grow with the namespace.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::config::AuthInfo;
use kube::{Api, Client, Config};
use tokio::sync::watch;

use super::{Object, ObjectName, STATE_KEY, Store, StoreError};

/// Longest wait for an answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A watch is asked to end after so many seconds, below every usual idle limit between us and the API server.
const WATCH_SECONDS: u32 = 280;
/// Pause after a watch that ended, so that an outage is not answered with a storm.
const WATCH_PAUSE: Duration = Duration::from_secs(2);

/// The Kubernetes API as one ServiceAccount sees it.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
}

/// Why the client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `--api-server` is no URL.
    #[error("--api-server: not a URL")]
    Url(#[source] http::uri::InvalidUri),
    /// The ServiceAccount token, or TLS.
    #[error("preparing the client of the API server")]
    Client(#[source] kube::Error),
}

impl Kubernetes {
    /// A client for `server`, whose certificates `roots` sign (DER), with the ServiceAccount token in `token_file`,
    /// which is read again as the kubelet renews it.
    pub fn connect(server: &str, roots: Vec<Vec<u8>>, token_file: &Path) -> Result<Self, ClientError> {
        let mut config = Config::new(server.parse().map_err(ClientError::Url)?);
        config.root_cert = Some(roots);
        config.connect_timeout = Some(Duration::from_secs(5));
        // A repeated PUT conflicts with itself; and what is repeated here is decided by the protocol alone.
        config.default_retry = false;
        config.auth_info =
            AuthInfo { token_file: Some(token_file.display().to_string()), ..AuthInfo::default() };
        Ok(Self { client: Client::try_from(config).map_err(ClientError::Client)? })
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
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
        self.uid == other.uid && self.resource_version == other.resource_version
    }
}

impl Store for Kubernetes {
    type Version = Version;

    async fn read(&self, name: &ObjectName) -> Result<Option<Object<Version>>, StoreError> {
        let api = self.secrets(&name.namespace);
        let secret = bounded(api.get_opt(&name.name)).await.map_err(|error| classify(error, "get"))?;
        secret.map(object).transpose()
    }

    async fn write(
        &self,
        name: &ObjectName,
        version: &Version,
        document: Vec<u8>,
    ) -> Result<Object<Version>, StoreError> {
        let mut secret = version.secret.as_ref().clone();
        secret.data.get_or_insert_default().insert(STATE_KEY.to_owned(), ByteString(document));
        let api = self.secrets(&name.namespace);
        let params = PostParams::default();
        let put = api.replace(&name.name, &params, &secret);
        object(bounded(put).await.map_err(|error| classify(error, "update"))?)
    }

    async fn follow(&self, name: &ObjectName, seen: watch::Sender<Option<Version>>) {
        let params =
            WatchParams::default().fields(&format!("metadata.name={}", name.name)).timeout(WATCH_SECONDS);
        let api = self.secrets(&name.namespace);
        loop {
            // An empty resourceVersion starts with the object as it is now, so nothing that happened in between is
            // missed, and the server's history may be as short as it likes.
            if let Ok(stream) = api.watch(&params, "").await {
                let mut stream = std::pin::pin!(stream);
                while let Some(Ok(event)) = stream.next().await {
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
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }
}

enum Failure {
    Api(kube::Error),
    TimedOut,
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    tokio::time::timeout(TIMEOUT, call).await.map_err(|_| Failure::TimedOut)?.map_err(Failure::Api)
}

fn object(secret: Secret) -> Result<Object<Version>, StoreError> {
    let meta = &secret.metadata;
    let (Some(uid), Some(resource_version)) = (meta.uid.clone(), meta.resource_version.clone()) else {
        return Err(StoreError::Malformed("no uid or resourceVersion".to_owned()));
    };
    let labels = meta.labels.clone().unwrap_or_default();
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    Ok(Object { version: Version { uid, resource_version, secret: Box::new(secret) }, labels, data })
}

fn classify(failure: Failure, verb: &'static str) -> StoreError {
    match failure {
        Failure::TimedOut => StoreError::Unavailable("timeout"),
        Failure::Api(kube::Error::Api(status)) => match status.code {
            409 => StoreError::Conflict,
            404 => StoreError::NotFound,
            401 | 403 => StoreError::Forbidden { verb },
            _ => StoreError::Unavailable("status"),
        },
        Failure::Api(_) => StoreError::Unavailable("connection"),
    }
}
