//! Another mutating webhook, which the API server calls after ours. It applies one patch to pods with its label.

use std::net::SocketAddr;
use std::time::Duration;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::{eventually, kubectl, pipe};
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
use tokio_rustls::TlsAcceptor;

use crate::hostile::agent::{IMAGE, NAMESPACE, agent_pod};
use crate::hostile::attempt::{Met, Outcome, control, stopped};
use crate::hostile::people::Person;

/// The name sorts after ours, so the API server calls it after ours.
const NAME: &str = "zz-other";

/// A registered webhook; dropping it ends the registration.
pub(crate) struct Mutator {
    _runtime: tokio::runtime::Runtime,
}

impl Mutator {
    /// Checks that an agent's pod is refused after this patch, and admitted after the `allowed` one.
    #[track_caller]
    pub(crate) fn compared(patch: &[Value], allowed: &[Value], words: &str) -> Outcome {
        let create = |patch: &[Value]| -> Met {
            let mutator = Self::start(patch);
            let mut pod = agent_pod("mutated", NAMESPACE);
            pod["metadata"]["labels"] = json!({"other": "asked"});
            let met = Person::editor().would_create(&pod);
            drop(mutator);
            met
        };
        let seen = control(create(allowed));
        assert!(seen.contains("agent-creds/seal"), "{seen}");
        stopped(create(patch), words)
    }

    fn start(patch: &[Value]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let authority = Authority::new();
        let listener = runtime.block_on(TcpListener::bind("10.99.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = TlsAcceptor::from(authority.leaf(["10.99.0.1"]).server_config());
        let patch = json!(patch);
        let router = Router::new().route("/", post(async move |body: Bytes| answer(&body, &patch)));
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let mutator = Self { _runtime: runtime };
        register(address, authority.ca_pem());
        mutator
    }
}

impl Drop for Mutator {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "mutatingwebhookconfiguration", NAME]);
    }
}

fn register(address: SocketAddr, ca: &str) {
    let registration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [{
            "name": "other.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://{address}/"), "caBundle": STANDARD.encode(ca)},
            "objectSelector": {"matchLabels": {"other": "asked"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        }],
    });
    pipe(&registration.to_string(), &["apply"]).expect("registering it");
    // The API server calls the webhook a moment later, which then refuses this pod.
    let probe = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "probe", "namespace": NAMESPACE, "labels": {"other": "asked", "probe": address.port().to_string()}},
        "spec": {"containers": [{"name": "main", "image": IMAGE}]},
    });
    eventually(Duration::from_secs(60), || match pipe(&probe.to_string(), &["create", "--dry-run=server"]) {
        Err(said) if said.contains(&format!("asked at {}", address.port())) => Ok(()),
        other => Err(format!("the webhook is not asked: {other:?}")),
    });
}

fn answer(body: &[u8], patch: &Value) -> axum::Json<Value> {
    let review: Value = serde_json::from_slice(body).expect("a review");
    let request = &review["request"];
    let response = match request["object"]["metadata"]["labels"]["probe"].as_str() {
        Some(probe) => {
            json!({"uid": request["uid"], "allowed": false, "status": {"message": format!("asked at {probe}")}})
        }
        None => {
            json!({"uid": request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())})
        }
    };
    axum::Json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}))
}
