//! Our own OAuth server for tests: as strict as the providers, and able to misbehave on demand.
//!
//! It answers on the real host names with the shapes that PagerDuty and Datadog document, and on any other host
//! as RFC 6749 says. It forgives nothing: a parameter too many, a secret in the wrong place, a `+` that was not
//! encoded are refused, and the log says what was wrong. A refresh token that comes a second time kills its
//! family, with every access token. What providers do not document (their replies to a reuse) is its
//! strictest reading.
//!
//! The part that decides (`endpoint` and below) knows no network; [`Standin`] is the network around it.

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
    /// Starts one in this process, on the runtime that calls. Port 0 takes a free one.
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

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What a client must trust, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The token endpoint of a provider, as a URL. For PagerDuty and Datadog it has the real host, so the client
    /// must be told to connect to [`Self::addr`] instead.
    pub fn token_url(&self, provider: Provider) -> String {
        let host = provider.host().unwrap_or_else(|| self.address.to_string());
        format!("https://{host}{}", provider.token_path())
    }

    /// A client of this server.
    pub fn https(&self) -> https::Client {
        https::Client::new(self.address, &self.ca_pem)
    }

    /// A new login: the first refresh token of a new family, with all scopes of the client.
    ///
    /// # Panics
    /// If there is no such client.
    pub fn seed(&self, provider: Provider, client_id: &str) -> String {
        self.shared.endpoint().seed(provider, client_id, None).expect("a client of the configuration")
    }

    /// A new login with these scopes. At PagerDuty a scope that the client does not have is not refused: every
    /// token of the login will hold `openid` alone.
    ///
    /// # Panics
    /// If there is no such client.
    pub fn seed_with_scope(&self, provider: Provider, client_id: &str, scope: &str) -> String {
        self.shared.endpoint().seed(provider, client_id, Some(scope)).expect("a client of the configuration")
    }

    /// Spoils the next `calls` token requests that the fault fits, after those that are ordered already.
    pub fn fail_next(&self, calls: usize, fault: &Fault) {
        self.shared.endpoint().faults.add(calls, fault);
    }

    /// Lets one answer go that is held back ([`How::Held`]), or the next one that would be.
    pub fn release(&self) {
        self.shared.release();
    }

    /// Takes back all faults that have not happened.
    pub fn stop_failing(&self) {
        self.shared.endpoint().faults.clear();
    }

    /// From now on access tokens live this many seconds; `None`: as long as the provider's own.
    pub fn set_token_life(&self, seconds: Option<u64>) {
        self.shared.endpoint().life = seconds;
    }

    /// Puts the server's clock forward, so that access tokens end without waiting. The log keeps to the wall clock.
    pub fn advance(&self, by: Duration) {
        self.shared.endpoint().ahead_ms += u64::try_from(by.as_millis()).expect("a time that tests need");
    }

    /// Whether an API of the provider would accept this access token now.
    pub fn is_active(&self, access_token: &str) -> bool {
        self.shared.is_active(access_token)
    }

    /// When an access token ends, or ended, in milliseconds since 1970; none if it is not one of this server's.
    pub fn expires_at_ms(&self, access_token: &str) -> Option<u64> {
        self.shared.endpoint().families.expires_at_ms(access_token)
    }

    /// Whether the login that this refresh token comes from has ended.
    pub fn is_revoked(&self, refresh_token: &str) -> bool {
        self.shared.endpoint().families.is_revoked(refresh_token)
    }

    /// Revokes the family of a refresh token, as a person would at the provider; `false` if nothing was alive.
    pub fn revoke(&self, refresh_token: &str) -> bool {
        self.shared.revoke(refresh_token)
    }

    /// Everything so far.
    pub fn log(&self) -> Vec<Event> {
        self.shared.endpoint().log.clone()
    }

    /// The log as soon as it is `enough`, for instance once a request that hangs has arrived.
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
