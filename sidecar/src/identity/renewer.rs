//! Renews the token of a token source: sends the pod's token to the identity server over TLS, trusting only the CA in the
//! cluster's ConfigMap. [`super::renewal`] decides when.

use std::path::PathBuf;
use std::time::Duration;

use agent_creds_core::exchange_api::{CA_KEY, MAX_REQUEST, PATH};
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http_body_util::Full;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Resource;
use kube::api::GetParams;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use url::Url;

use super::condition::{Failure, Parties, account_of};
use super::renewal::{Moment, Renewal};
use super::response::Response;
use super::token_source::TokenSource;
use crate::api_client::ApiClient;
use crate::clock::NAP;
use crate::http_client::connect::{ConnectError, Connection, Connector};
use crate::http_client::send::send;
use crate::store::StoreError;
use agent_creds_core::names::ObjectName;
use agent_creds_runtime::random::fraction;

/// Time limit for connecting, and again for the answer.
const BUDGET: Duration = Duration::from_secs(10);

/// The identity server, and how it is recognised.
pub struct Server {
    /// `https://HOST`.
    pub url: Url,
    /// ConfigMap with its CA.
    pub ca: ObjectName,
    /// File with the pod's projected token.
    pub token_file: PathBuf,
}

/// Renews the token of one token source.
pub struct Renewer {
    tokens: TokenSource,
    /// The API server as the pod's own account. Every account may read the ConfigMap.
    api: ApiClient,
    server: Server,
    renewal: Renewal,
    /// The CA of the last connection.
    trusted: Option<Trusted>,
    parties: Parties,
    /// The message that was logged last.
    said: String,
}

struct Trusted {
    pem: String,
    connector: Connector,
}

impl Renewer {
    /// `scale` multiplies all pauses.
    pub fn new(tokens: TokenSource, api: ApiClient, server: Server, scale: f64) -> Self {
        let parties = Parties {
            agent: None,
            credential: tokens.credential().clone(),
            release: server.ca.namespace.clone(),
        };
        let renewal = Renewal::starting(moment(&api), scale);
        Self { tokens, api, server, renewal, trusted: None, parties, said: String::new() }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let mut rejections = self.tokens.rejections();
        loop {
            let wait = self.renewal.wait(moment(&self.api));
            if wait.is_zero() {
                self.renew().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(wait.min(NAP)) => {}
                Ok(()) = rejections.changed() => {
                    // The token may have been replaced meanwhile.
                    if self.tokens.holds(*rejections.borrow_and_update()) {
                        self.renewal.rejected(moment(&self.api), fraction());
                    }
                }
            }
        }
    }

    async fn renew(&mut self) {
        let (asked, answer) = self.ask().await;
        let missed = match answer {
            Response::Granted { bearer, expires_at } => {
                if self.renewal.granted(asked, expires_at, fraction()) {
                    tracing::info!(credential = %self.parties.credential, %expires_at, "API token renewed");
                    self.said.clear();
                    return self.tokens.put(bearer, expires_at);
                }
                (self.parties.failed(&Failure::Ended), None)
            }
            Response::Refused(missing) => (self.parties.refused(missing), None),
            Response::Failed { failure, retry_after_s } => (self.parties.failed(&failure), retry_after_s),
        };
        let (condition, retry_after_s) = missed;
        self.renewal.failed(moment(&self.api), retry_after_s, fraction());
        if self.said != condition.message {
            let reason = condition.reason.word;
            tracing::warn!(credential = %self.parties.credential, reason, detail = condition.message, "API token not renewed");
            self.said.clone_from(&condition.message);
        }
        self.tokens.miss(condition);
    }

    /// Makes one request. Returns its time, by a clock that the API server has set, and its answer.
    async fn ask(&mut self) -> (Moment, Response) {
        let failed = |failure| Response::Failed { failure, retry_after_s: None };
        let connection = self.connect().await;
        let asked = moment(&self.api);
        let answer = match connection.and_then(|connection| Ok((connection, self.request()?))) {
            Ok((connection, request)) => Response::of(send(connection, request, BUDGET).await),
            Err(failure) => failed(failure),
        };
        (asked, answer)
    }

    /// Builds the request with the current token of the pod, which the kubelet renews.
    fn request(&mut self) -> Result<Request<Full<Bytes>>, Failure> {
        let token = std::fs::read_to_string(&self.server.token_file).map_err(|_| Failure::NoToken)?;
        let token = token.trim();
        self.parties.agent = account_of(token);
        let body = json!({ "token": token }).to_string();
        let url = &self.server.url;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        if token.is_empty() || body.len() > MAX_REQUEST {
            return Err(Failure::NoToken);
        }
        Request::post(PATH)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Full::from(body))
            .map_err(|_| Failure::NoToken)
    }

    /// Connects with the CA that was right last time; where TLS fails, with the one that is in the ConfigMap now.
    async fn connect(&mut self) -> Result<Connection, Failure> {
        let mut before = None;
        if let Some(trusted) = self.trusted.take() {
            match trusted.connector.connect(&self.server.url, true, BUDGET).await {
                Err(ConnectError::Tls) => before = Some(trusted.pem),
                result => {
                    self.trusted = Some(trusted);
                    return result.map_err(Failure::Connecting);
                }
            }
        }
        let pem = self.ca().await?;
        if before.as_ref() == Some(&pem) {
            return Err(Failure::Connecting(ConnectError::Tls));
        }
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let roots = roots.ok().filter(|roots| !roots.is_empty());
        let connector = roots.and_then(|roots| Connector::trusting_only(roots).ok());
        let connector = connector.ok_or_else(|| self.no_ca("no certificates in PEM"))?;
        let connection = connector.connect(&self.server.url, true, BUDGET).await;
        if !matches!(connection, Err(ConnectError::Tls)) {
            self.trusted = Some(Trusted { pem, connector });
        }
        connection.map_err(Failure::Connecting)
    }

    async fn ca(&self) -> Result<String, Failure> {
        let ObjectName { namespace, name } = &self.server.ca;
        let request = kube::core::Request::new(ConfigMap::url_path(&(), Some(namespace)))
            .get(name, &GetParams::default())
            .map_err(|_| self.no_ca("no valid name"))?;
        let found = self.api.call::<ConfigMap>(request, "get").await.map_err(|error| match error {
            StoreError::NotFound => self.no_ca("it does not exist"),
            error => self.no_ca(&error.to_string()),
        })?;
        let pem = found.data.unwrap_or_default().remove(CA_KEY);
        pem.filter(|pem| !pem.trim().is_empty()).ok_or_else(|| self.no_ca("nothing there yet"))
    }

    fn no_ca(&self, why: &str) -> Failure {
        Failure::NoCa(format!("ConfigMap {}: key {CA_KEY}: {why}", self.server.ca))
    }
}

fn moment(api: &ApiClient) -> Moment {
    Moment { now: api.clock().now(), boot: api.clock().read().boot }
}
