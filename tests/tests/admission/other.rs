//! Another mutating webhook, which runs after ours and applies a given patch to a pod once.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::admission::cluster::Cluster;

pub(crate) struct Other {
    registration: String,
    task: JoinHandle<()>,
}

/// Registers a webhook that applies `patch` to pods with the sidecar and without the mark.
pub(crate) async fn start(cluster: &Cluster, patch: Value) -> Other {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let acceptor = TlsAcceptor::from(cluster.authority.leaf(["127.0.0.1"]).server_config());
    let router = Router::new().route("/mutate", post(async move |body: Bytes| answer(&body, &patch)));
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    // Its name sorts after ours, so it is called after ours.
    let registration = cluster.registration("other", "other.example.com", &address.to_string(), "Fail");
    cluster.kubectl(&["apply", "-f", "-"], &registration).await.expect("registered");
    let other =
        Other { registration: registration["metadata"]["name"].as_str().expect("a name").to_owned(), task };
    other.is_called(cluster).await;
    other
}

impl Other {
    /// Waits until the API server calls it.
    async fn is_called(&self, cluster: &Cluster) {
        let probe = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "probe",
                "labels": {"probe": "true"},
                "annotations": {"agent-creds/inject": "true", "agent-creds/grants": "a"},
            },
            "spec": {"containers": [{"name": "main", "image": "x"}]},
        });
        let refused = async {
            while cluster.kubectl(&["create", "--dry-run=server", "-f", "-"], &probe).await.is_ok() {}
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), refused)
            .await
            .expect("the webhook is called");
    }

    pub(crate) async fn finish(self, cluster: &Cluster) {
        let registration = format!("mutatingwebhookconfiguration/{}", self.registration);
        cluster.kubectl(&["delete", &registration], &Value::Null).await.expect("deleted");
        self.task.abort();
    }
}

fn answer(body: &[u8], patch: &Value) -> axum::Json<Value> {
    let review: Value = serde_json::from_slice(body).expect("a review");
    let request = &review["request"];
    let metadata = &request["object"]["metadata"];
    let mut response = json!({"uid": request["uid"], "allowed": metadata["labels"].get("probe").is_none()});
    if metadata["labels"].get("other").is_none() {
        let mut operations = patch.as_array().expect("operations").clone();
        operations.push(json!({"op": "add", "path": "/metadata/labels/other", "value": "done"}));
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(json!(operations).to_string()));
    }
    axum::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}
