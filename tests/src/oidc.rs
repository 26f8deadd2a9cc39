//! Runs an independent OAuth server for tests: npm `oidc-provider`.
//!
//! It rotates refresh tokens and detects their reuse by its own implementation. So a client that works with it and with
//! the stand-in does not merely agree with our reading of the RFCs. The server is `tests/servers/oidc/server.mjs`; it
//! needs `node` and, once per machine, `npm`. It ends with [`Oidc`], and at the latest with this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::authority::Authority;
use crate::event::Event;
use crate::https;
use crate::standin::ClientAuth;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/oidc");
/// An installation may download some forty packages; a start takes a second.
const START_LIMIT: Duration = Duration::from_secs(180);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// The client for token introspection; it has no other rights.
const INSPECTOR: [&str; 2] = ["test-inspector", "known to the test alone"];

/// The settings of a server.
#[derive(Clone)]
pub struct Config {
    /// Its address, with a free port; the issuer is named after it.
    pub address: IpAddr,
    /// The registered clients. Further clients can register themselves.
    pub clients: Vec<Client>,
    /// The scopes that can be granted, besides `openid` and `offline_access`.
    pub scopes: Vec<String>,
    /// Lifetime of access tokens in seconds.
    pub token_life: u64,
    /// The CA that signs the certificate; `None` creates one.
    pub authority: Option<Authority>,
}

/// A client that is registered from the start.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Its `client_secret`; `None` for a public client.
    pub secret: Option<String>,
    /// How it authenticates. This server accepts Basic and post for each other; the stand-in does not.
    pub auth: ClientAuth,
    /// Its redirect URIs; a public client may use any port of a loopback one.
    pub redirect_uris: Vec<String>,
}

/// A running server; dropping it stops it.
pub struct Oidc {
    issuer: String,
    ca_pem: String,
    https: https::Client,
    _folder: TempDir,
    child: Child,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            clients: Vec::new(),
            scopes: Vec::new(),
            token_life: 3600,
            authority: None,
        }
    }
}

impl Client {
    /// A client without a secret.
    pub fn public(id: &str) -> Self {
        Self { id: id.to_owned(), secret: None, auth: ClientAuth::None, redirect_uris: vec![] }
    }

    /// A client with a secret, which authenticates by `auth`. It may use client credentials.
    pub fn confidential(id: &str, secret: &str, auth: ClientAuth) -> Self {
        Self { id: id.to_owned(), secret: Some(secret.to_owned()), auth, redirect_uris: vec![] }
    }

    /// The client as the server's metadata.
    fn metadata(&self) -> Value {
        let auth = match self.auth {
            ClientAuth::Post => "client_secret_post",
            ClientAuth::Basic => "client_secret_basic",
            ClientAuth::None => "none",
        };
        let mut grants = vec!["authorization_code", "refresh_token"];
        let mut client = json!({ "client_id": self.id, "token_endpoint_auth_method": auth });
        if let Some(secret) = &self.secret {
            client["client_secret"] = json!(secret);
            grants.push("client_credentials");
        } else {
            client["application_type"] = json!("native");
        }
        if !self.redirect_uris.is_empty() {
            client["redirect_uris"] = json!(self.redirect_uris);
        }
        client["grant_types"] = json!(grants);
        client
    }
}

impl Oidc {
    /// Installs the server's packages if they are missing, and starts the server.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        tokio::time::timeout(START_LIMIT, Self::start_slowly(config))
            .await
            .context("starting the OAuth server")?
    }

    async fn start_slowly(config: Config) -> anyhow::Result<Self> {
        let authority = config.authority.clone().unwrap_or_default();
        let folder = tempfile::tempdir().context("making a folder for the certificate")?;
        let leaf = authority.leaf([config.address.to_string(), "localhost".to_owned()]);
        let (cert, key) = (folder.path().join("leaf.pem"), folder.path().join("leaf.key"));
        std::fs::write(&cert, &leaf.cert_pem).context("writing the certificate")?;
        std::fs::write(&key, &leaf.key_pem).context("writing the key")?;

        let inspector = Client::confidential(INSPECTOR[0], INSPECTOR[1], ClientAuth::Basic);
        let clients: Vec<Value> = config.clients.iter().chain([&inspector]).map(Client::metadata).collect();
        let settings = json!({
            "cert": cert, "key": key, "host": config.address, "clients": clients,
            "scopes": config.scopes, "access_token_ttl": config.token_life,
        });
        let noise = folder.path().join("stderr");
        let mut child = Command::new("node")
            .arg(Path::new(FOLDER).join("server.mjs"))
            .arg(install().await?)
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&noise).context("making a file for warnings")?)
            .kill_on_drop(true)
            .spawn()
            .context("starting node")?;
        let stdout = child.stdout.take().context("node has no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let Some(issuer) = ready(&mut lines).await? else {
            bail!("node ended at once: {}", std::fs::read_to_string(&noise).unwrap_or_default());
        };
        // Without a reader the server would block when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });

        let address: SocketAddr =
            issuer.trim_start_matches("https://").parse().context("the issuer's address")?;
        let https = https::Client::new(address, authority.ca_pem());
        Ok(Self { issuer, ca_pem: authority.ca_pem().to_owned(), https, _folder: folder, child })
    }

    /// Returns the issuer, for example `https://127.0.0.1:43210`. The token endpoint is `/token` below it; the other
    /// endpoints are listed in `/.well-known/openid-configuration`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Returns its address.
    pub fn addr(&self) -> SocketAddr {
        self.https.address()
    }

    /// Returns the CA certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns a client of this server.
    pub fn https(&self) -> https::Client {
        self.https.clone()
    }

    fn host(&self) -> String {
        self.addr().to_string()
    }

    /// Creates a login without a browser and returns the first refresh token of its family.
    pub async fn seed(&self, client_id: &str, scope: &str) -> anyhow::Result<String> {
        let body = json!({ "client_id": client_id, "scope": scope }).to_string();
        let answer = self.https.post(&self.host(), "/test/refresh-token", &[], body).await?;
        answer.text("refresh_token").with_context(|| format!("no refresh token in {:?}", answer.body))
    }

    /// Closes the server's stdin, which ends it, and waits for its exit.
    pub async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        drop(self.child.stdin.take());
        let end = tokio::time::timeout(STOP_LIMIT, self.child.wait()).await;
        end.context("the OAuth server does not end")?.context("waiting for the OAuth server to end")
    }

    /// Returns the token introspection (RFC 7662): `active`, and for an active token `scope`, `client_id`, `exp`.
    pub async fn introspect(&self, token: &str) -> anyhow::Result<Value> {
        let [id, secret] = INSPECTOR.map(|part| https::encode(&[("", part)])[1..].to_owned());
        let authorization = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let headers =
            [("authorization", &*authorization), ("content-type", "application/x-www-form-urlencoded")];
        let body = https::encode(&[("token", token)]);
        let answer = self.https.post(&self.host(), "/token/introspection", &headers, body).await?;
        serde_json::from_slice(&answer.body).with_context(|| format!("introspection said {:?}", answer.body))
    }

    /// Returns the whole log. `reason` is the server's own `error_detail`.
    pub async fn log(&self) -> anyhow::Result<Vec<Event>> {
        let answer = self.https.get(&self.host(), "/test/log").await?;
        serde_json::from_slice(&answer.body).context("reading the server's log")
    }
}

/// Installs the packages if they are missing, and returns their folder.
async fn install() -> anyhow::Result<String> {
    let script = Path::new(FOLDER).join("install");
    let done = Command::new(&script).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let done = done.with_context(|| format!("running {}", script.display()))?;
    if !done.status.success() {
        bail!("{} failed: {}", script.display(), String::from_utf8_lossy(&done.stderr));
    }
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// Reads to the line with the issuer; `None` if the server ended before.
async fn ready(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<Option<String>> {
    while let Some(line) = lines.next_line().await.context("reading what node prints")? {
        let said: Value = serde_json::from_str(&line).unwrap_or_default();
        if said["ready"] == true {
            return Ok(said["issuer"].as_str().map(str::to_owned));
        }
    }
    Ok(None)
}
