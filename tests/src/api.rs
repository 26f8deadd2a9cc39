//! A client of the test cluster's API server with the administrator's token. It connects directly, past the faults that
//! tests put between the sidecars and the API server.

mod agent;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

pub use self::agent::Agent;

use crate::cluster;
use crate::https::Client;

/// Timeout of a request. The API server does not answer while etcd is stopped.
const PATIENCE: Duration = Duration::from_secs(3);
/// Address of the test cluster's API server.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 6443);
/// The name in its certificate.
pub const NAME: &str = "localhost";

/// A client with the administrator's token.
#[derive(Clone)]
pub struct Api {
    client: Client,
    token: String,
}

impl Api {
    /// Reads the kubeconfig and the CA of the test cluster.
    ///
    /// # Panics
    /// Outside `tests/cluster/with`.
    pub fn of_cluster() -> Self {
        let read = |name: &str| std::fs::read_to_string(cluster::directory().join(name)).expect(name);
        let config: Value = serde_yaml::from_str(&read("kubeconfig")).expect("a kubeconfig is YAML");
        let token = config["users"][0]["user"]["token"].as_str().expect("the administrator's token");
        Self { client: Client::new(ADDRESS, &read("ca.crt")), token: token.to_owned() }
    }

    /// A client without credentials, for passing on the sidecars' requests.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Option<(StatusCode, Value)> {
        let bearer = format!("Bearer {}", self.token);
        let request = Request::builder().method(method).uri(path).header("authorization", bearer);
        let request = request.header("content-type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(body).expect("a path and two headers");
        let answer =
            tokio::time::timeout(PATIENCE, self.client.send(NAME, NAME, request)).await.ok()?.ok()?;
        Some((answer.status, serde_json::from_slice(&answer.body).unwrap_or_default()))
    }

    /// Creates an object.
    ///
    /// # Panics
    /// If the API server refuses it.
    pub async fn create(&self, path: &str, object: &Value) -> Value {
        match self.call(Method::POST, path, object).await {
            Some((status, made)) if status.is_success() => made,
            other => panic!("POST {path}: {other:?}"),
        }
    }

    /// Returns an object, or `None` if it does not exist or the API server does not answer.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let (status, object) = self.call(Method::GET, path, &Value::Null).await?;
        status.is_success().then_some(object)
    }

    /// Replaces an object that was read before. Returns the status, or `None` without an answer.
    pub async fn put(&self, path: &str, object: &Value) -> Option<StatusCode> {
        Some(self.call(Method::PUT, path, object).await?.0)
    }

    /// Reads, changes and writes an object until the write succeeds; false after 40 attempts.
    pub async fn edit(&self, path: &str, mut change: impl FnMut(&mut Value)) -> bool {
        for _ in 0..40 {
            if let Some(mut object) = self.get(path).await {
                change(&mut object);
                if self.put(path, &object).await == Some(StatusCode::OK) {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Returns a token of a ServiceAccount, valid for a day.
    ///
    /// # Panics
    /// If there is no such account.
    pub async fn token_of(&self, namespace: &str, account: &str) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86_400}
        });
        let made = self.create(&path, &request).await;
        made["status"]["token"].as_str().expect("a token").to_owned()
    }
}
