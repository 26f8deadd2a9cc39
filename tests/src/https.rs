//! An HTTPS client for tests without any automatic behaviour.
//!
//! Every request uses a fresh HTTP/1.1 connection to one given address, whatever the host name is, unless a test holds
//! a [`Connection`]. The client resolves no names, retries nothing, follows no redirects and decodes nothing.
//! [`Failure`] distinguishes how far a request got, because for a token request that decides whether it was presented.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::form_urlencoded;

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    tls: TlsConnector,
}

/// An open connection of a client; dropping it closes it.
pub struct Connection(http1::SendRequest<Full<Bytes>>);

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, undecoded.
    pub body: Bytes,
}

/// The reason why there is no complete answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection was made, so nothing was sent.
    #[error("connecting to the server")]
    Connect(#[source] std::io::Error),
    /// The TLS handshake failed, so nothing was sent.
    #[error("agreeing on TLS with the server")]
    Handshake(#[source] std::io::Error),
    /// The connection ended before an answer began.
    #[error("waiting for the answer")]
    Unanswered(#[source] hyper::Error),
    /// The connection ended within the body.
    #[error("reading the body, after {} bytes of it", received.len())]
    CutOff {
        /// The part that was received.
        received: Bytes,
        /// The cause.
        #[source]
        source: hyper::Error,
    },
}

impl Client {
    /// A client of the server at `address`, which needs a certificate of the CA in `ca_pem`.
    ///
    /// # Panics
    /// If `ca_pem` holds no certificate.
    pub fn new(address: SocketAddr, ca_pem: &str) -> Self {
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("the CA is a PEM certificate");
        let mut roots = RootCertStore::empty();
        roots.add(ca).expect("the CA is a certificate that can sign");
        let config = ClientConfig::builder_with_provider(crate::authority::crypto())
            .with_safe_default_protocol_versions()
            .expect("aws-lc speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { address, tls: Arc::new(config).into() }
    }

    /// The address that requests go to, whatever their host.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends `GET path` to `host`.
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer, Failure> {
        self.send(host, host, Request::get(path).body(String::new()).expect("a path")).await
    }

    /// Sends `POST path` to `host` with a form, percent-encoded as in RFC 6749.
    pub async fn post_form(&self, host: &str, path: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.post(host, path, &[("content-type", "application/x-www-form-urlencoded")], encode(form)).await
    }

    /// Sends `POST path` to `host` with these headers and body.
    pub async fn post(
        &self,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, Failure> {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(host, host, request.body(body).expect("a path and headers")).await
    }

    /// Sends `request` with `sni` in the handshake and `host` in the header, which may differ.
    pub async fn send(&self, sni: &str, host: &str, request: Request<String>) -> Result<Answer, Failure> {
        self.connect(sni).await?.send(host, request).await
    }

    /// Opens a connection for several requests, or for a pause before the first.
    pub async fn connect(&self, sni: &str) -> Result<Connection, Failure> {
        let bare = sni.parse::<SocketAddr>().map_or_else(
            |_| sni.rsplit_once(':').map_or(sni, |(name, _)| name).to_owned(),
            |address| address.ip().to_string(),
        );
        let name = ServerName::try_from(bare).expect("SNI is a host name or an address");
        let tcp = TcpStream::connect(self.address).await.map_err(Failure::Connect)?;
        // With Nagle's algorithm, small writes would wait 40 ms for an acknowledgement.
        tcp.set_nodelay(true).map_err(Failure::Connect)?;
        let tls = self.tls.connect(name, tcp).await.map_err(Failure::Handshake)?;
        let (sender, connection) = http1::handshake(TokioIo::new(tls)).await.map_err(Failure::Unanswered)?;
        // The task does the reading and writing, and ends with the sender.
        tokio::spawn(connection);
        Ok(Connection(sender))
    }
}

impl Connection {
    /// Sends `request` unchanged after the previous answer is complete, and returns the answer as a stream.
    pub async fn forward(
        &mut self,
        request: Request<Bytes>,
    ) -> Result<http::Response<hyper::body::Incoming>, Failure> {
        self.0.ready().await.map_err(Failure::Unanswered)?;
        self.0.send_request(request.map(Full::new)).await.map_err(Failure::Unanswered)
    }

    /// Sends `request` to `host` after the previous answer is complete.
    pub async fn send(&mut self, host: &str, mut request: Request<String>) -> Result<Answer, Failure> {
        let host = host.parse().expect("a host name is a header value");
        request.headers_mut().insert(header::HOST, host);
        self.0.ready().await.map_err(Failure::Unanswered)?;
        let answer = self.0.send_request(request.map(|body| Full::new(Bytes::from(body)))).await;
        let (head, mut body) = answer.map_err(Failure::Unanswered)?.into_parts();

        let mut received = BytesMut::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => received.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(source) => return Err(Failure::CutOff { received: received.freeze(), source }),
            }
        }
        Ok(Answer { status: head.status, headers: head.headers, body: received.freeze() })
    }
}

impl Answer {
    /// Parses the body as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body {:?}", self.body))
    }

    /// Returns a text field of a JSON body.
    pub fn text(&self, field: &str) -> Option<String> {
        self.json()[field].as_str().map(str::to_owned)
    }
}

/// Encodes a form as `application/x-www-form-urlencoded`.
pub fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}
