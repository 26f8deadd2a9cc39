//! The stand-in: our own OAuth server for tests, as strict as the providers, with failures on request.
//!
//! It answers on the real host names in the formats that PagerDuty and Datadog document, and on any other host as RFC
//! 6749 says. It tolerates no mistake: it refuses an additional parameter, a secret in the wrong place, or a `+` that
//! was not encoded, and logs the reason. A refresh token that is presented a second time revokes its family, with every
//! access token. Where a provider's answer to a reuse is undocumented, the stand-in takes the strictest one.
//!
//! The deciding part (`endpoint` and below) does no I/O; [`Standin`] adds the network.

mod answer;
mod authenticate;
mod config;
mod control;
mod endpoint;
mod families;
mod fault;
mod form;
mod mint;
mod provider;
mod refusal;
mod request;
mod serve;
mod shared;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::config::{Client, ClientAuth, Config};
pub use self::fault::{Cut, Fault, How};
pub use self::provider::{DATADOG_SITES, Provider, Site};

use self::endpoint::Endpoint;
use self::shared::Shared;
use crate::event::Event;
use crate::https;

/// A running stand-in; dropping it closes its port and its connections.
pub struct Standin {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: String,
    task: JoinHandle<()>,
}

impl Standin {
    /// Starts a stand-in in this process, on the caller's runtime. Port 0 selects a free port.
    pub async fn start(listen: SocketAddr, config: Config) -> io::Result<Self> {
        for client in &config.clients {
            client.check().map_err(|what| io::Error::new(io::ErrorKind::InvalidInput, what))?;
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let authority = config.authority.unwrap_or_default();
        let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let bound = Some(address.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
        let names =
            Provider::host_names().chain(own).chain(bound.map(|ip| ip.to_string())).chain(config.names);
        let tls = authority.leaf(names).server_config().into();
        let endpoint = Endpoint { clients: config.clients, life: config.token_life, ..Endpoint::default() };
        let shared = Arc::new(Shared::new(endpoint));
        let task = tokio::spawn(serve::serve(listener, tls, Arc::clone(&shared)));
        Ok(Self { shared, address, ca_pem: authority.ca_pem().to_owned(), task })
    }

    /// Returns its address.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the CA certificate, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the URL of a provider's token endpoint. PagerDuty's and Datadog's have the real host, so the client must
    /// be told to connect to [`Self::addr`] instead.
    pub fn token_url(&self, provider: Provider) -> String {
        let host = provider.host().unwrap_or_else(|| self.address.to_string());
        format!("https://{host}{}", provider.token_path())
    }

    /// Returns a client of this server.
    pub fn https(&self) -> https::Client {
        https::Client::new(self.address, &self.ca_pem)
    }

    /// Creates a login with all scopes of the client, and returns the first refresh token of its family.
    ///
    /// # Panics
    /// If there is no such client.
    pub fn seed(&self, provider: Provider, client_id: &str) -> String {
        self.shared.endpoint().seed(provider, client_id, None).expect("a client of the configuration")
    }

    /// Creates a login with these scopes. PagerDuty does not refuse a scope that the client does not have: every token
    /// of the login then has the scope `openid` only.
    ///
    /// # Panics
    /// If there is no such client.
    pub fn seed_with_scope(&self, provider: Provider, client_id: &str, scope: &str) -> String {
        self.shared.endpoint().seed(provider, client_id, Some(scope)).expect("a client of the configuration")
    }

    /// Makes the next `calls` matching token requests fail, after the faults that are already ordered.
    pub fn fail_next(&self, calls: usize, fault: &Fault) {
        self.shared.endpoint().faults.add(calls, fault);
    }

    /// Sends one answer that is held back ([`How::Held`]), or the next one that would be.
    pub fn release(&self) {
        self.shared.release();
    }

    /// Drops all faults that have not happened.
    pub fn stop_failing(&self) {
        self.shared.endpoint().faults.clear();
    }

    /// Sets the lifetime of access tokens from now on, in seconds; `None` is the provider's own.
    pub fn set_token_life(&self, seconds: Option<u64>) {
        self.shared.endpoint().life = seconds;
    }

    /// Moves the server's clock forward, so that access tokens expire without waiting. The log keeps the wall clock.
    pub fn advance(&self, by: Duration) {
        self.shared.endpoint().ahead_ms += u64::try_from(by.as_millis()).expect("a time that tests need");
    }

    /// Whether an API of the provider would accept this access token now.
    pub fn is_active(&self, access_token: &str) -> bool {
        self.shared.is_active(access_token)
    }

    /// Returns when an access token expires or expired, in Unix milliseconds; `None` if this server did not issue it.
    pub fn expires_at_ms(&self, access_token: &str) -> Option<u64> {
        self.shared.endpoint().families.expires_at_ms(access_token)
    }

    /// Whether the family of this refresh token is revoked.
    pub fn is_revoked(&self, refresh_token: &str) -> bool {
        self.shared.endpoint().families.is_revoked(refresh_token)
    }

    /// Revokes the family of a refresh token, as a person would at the provider; `false` if it was revoked already.
    pub fn revoke(&self, refresh_token: &str) -> bool {
        self.shared.revoke(refresh_token)
    }

    /// Returns the whole log.
    pub fn log(&self) -> Vec<Event> {
        self.shared.endpoint().log.clone()
    }

    /// Returns the log as soon as it is `enough`, for example after the arrival of a request that hangs.
    pub async fn log_when(&self, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let mut written = self.shared.written();
        loop {
            written.borrow_and_update();
            let log = self.log();
            if enough(&log) {
                return log;
            }
            written.changed().await.expect("the sender lives as long as self");
        }
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}
