//! Keeps a wallet filled: shows the pod's token to the identity server, over TLS that only the CA in the cluster's ConfigMap
//! vouches for. What is right when is in [`super::renewal`]; here is what it takes to ask.

use std::path::PathBuf;
use std::time::Duration;

use agent_creds_core::identity::{CA_KEY, MAX_REQUEST, PATH};
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

use super::answer::Answer;
use super::renewal::{Moment, Renewal};
use super::trouble::{Hitch, Parties, account_of};
use super::wallet::Wallet;
use crate::api_server::ApiServer;
use crate::clock::NAP;
use crate::object_name::ObjectName;
use crate::outcome::Reason;
use crate::present::connect::{Connection, Connector};
use crate::present::send::send;
use crate::random::random;
use crate::store::StoreError;

/// Time for connecting, and again for the answer.
const BUDGET: Duration = Duration::from_secs(10);

/// Whom to ask, and how to know that it is them.
pub struct Server {
    /// `https://HOST`.
    pub url: Url,
    /// ConfigMap with its CA.
    pub ca: ObjectName,
    /// The pod's token to show.
    pub token_file: PathBuf,
}

/// Fills one wallet.
pub struct Renewer {
    wallet: Wallet,
    /// The API server as the pod's own account, which may read the ConfigMap like every account.
    api: ApiServer,
    server: Server,
    renewal: Renewal,
    /// The CA that the last connection was made under.
    trusted: Option<Trusted>,
    parties: Parties,
    /// What was logged last.
    said: String,
}

struct Trusted {
    pem: String,
    connector: Connector,
}

impl Renewer {
    /// `scale` multiplies all pauses.
    pub fn new(wallet: Wallet, api: ApiServer, server: Server, scale: f64) -> Self {
        let parties = Parties {
            agent: None,
            credential: wallet.credential().clone(),
            release: server.ca.namespace.clone(),
        };
        let renewal = Renewal::starting(moment(&api), scale);
        Self { wallet, api, server, renewal, trusted: None, parties, said: String::new() }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let mut rejections = self.wallet.rejections();
        loop {
            let wait = self.renewal.wait(moment(&self.api));
            if wait.is_zero() {
                self.renew().await;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(wait.min(NAP)) => {}
                Ok(()) = rejections.changed() => {
                    // It may have been replaced meanwhile.
                    if self.wallet.holds(*rejections.borrow_and_update()) {
                        self.renewal.rejected(moment(&self.api), fraction());
                    }
                }
            }
        }
    }

    async fn renew(&mut self) {
        let (asked, answer) = self.ask().await;
        let missed = match answer {
            Answer::Granted { bearer, expires_at } => {
                if self.renewal.granted(asked, expires_at, fraction()) {
                    tracing::info!(credential = %self.parties.credential, %expires_at, "identity renewed");
                    self.said.clear();
                    return self.wallet.put(bearer, expires_at);
                }
                (self.parties.hitch(&Hitch::Ended), None)
            }
            Answer::Refused(missing) => (self.parties.refused(missing), None),
            Answer::Failed { hitch, retry_after_s } => (self.parties.hitch(&hitch), retry_after_s),
        };
        let (trouble, retry_after_s) = missed;
        self.renewal.failed(moment(&self.api), retry_after_s, fraction());
        if self.said != trouble.message {
            let reason = trouble.reason.as_str();
            tracing::warn!(credential = %self.parties.credential, reason, detail = trouble.message, "identity not renewed");
            self.said.clone_from(&trouble.message);
        }
        self.wallet.miss(trouble);
    }

    /// One exchange; and when it was asked for, by a clock that the API server has set.
    async fn ask(&mut self) -> (Moment, Answer) {
        let failed = |hitch| Answer::Failed { hitch, retry_after_s: None };
        let connection = self.connect().await;
        let asked = moment(&self.api);
        let answer = match connection.and_then(|connection| Ok((connection, self.request()?))) {
            Ok((connection, request)) => Answer::of(send(connection, request, BUDGET).await),
            Err(hitch) => failed(hitch),
        };
        (asked, answer)
    }

    /// With the pod's token as it is now: the kubelet renews it.
    fn request(&mut self) -> Result<Request<Full<Bytes>>, Hitch> {
        let token = std::fs::read_to_string(&self.server.token_file).map_err(|_| Hitch::NoToken)?;
        let token = token.trim();
        self.parties.agent = account_of(token);
        let body = json!({ "token": token }).to_string();
        let url = &self.server.url;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        if token.is_empty() || body.len() > MAX_REQUEST {
            return Err(Hitch::NoToken);
        }
        Request::post(PATH)
            .header(HOST, host)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Full::from(body))
            .map_err(|_| Hitch::NoToken)
    }

    /// Under the CA that was good last time; where that fails, under the one that is in the ConfigMap now.
    async fn connect(&mut self) -> Result<Connection, Hitch> {
        let mut before = None;
        if let Some(trusted) = self.trusted.take() {
            match trusted.connector.connect(&self.server.url, true, BUDGET).await {
                Err(Reason::Tls) => before = Some(trusted.pem),
                result => {
                    self.trusted = Some(trusted);
                    return result.map_err(Hitch::Connecting);
                }
            }
        }
        let pem = self.ca().await?;
        if before.as_ref() == Some(&pem) {
            return Err(Hitch::Connecting(Reason::Tls));
        }
        let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let roots = roots.ok().filter(|roots| !roots.is_empty());
        let connector = roots.and_then(|roots| Connector::trusting_only(roots).ok());
        let connector = connector.ok_or_else(|| self.no_ca("no certificates in PEM"))?;
        let connection = connector.connect(&self.server.url, true, BUDGET).await;
        if !matches!(connection, Err(Reason::Tls)) {
            self.trusted = Some(Trusted { pem, connector });
        }
        connection.map_err(Hitch::Connecting)
    }

    async fn ca(&self) -> Result<String, Hitch> {
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

    fn no_ca(&self, why: &str) -> Hitch {
        Hitch::NoCa(format!("ConfigMap {}: key {CA_KEY}: {why}", self.server.ca))
    }
}

fn moment(api: &ApiServer) -> Moment {
    Moment { now: api.clock().now(), boot: api.clock().read().boot }
}

/// 0 to 1.
fn fraction() -> f64 {
    f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX)
}
