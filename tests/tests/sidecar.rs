//! The real sidecar process, from its Secrets in a directory to the agent's answers, with the stand-in and an
//! independent OAuth server. Every test also checks that no long-lived secret leaves the process.

mod alone;
mod api;
mod bad_input;
mod bad_state;
mod bindings;
mod front;
mod happy;
mod logins;
mod metrics;
mod once;
mod process;
mod provider_answers;
mod recovery;
mod refused;
mod request;
mod sharing;
mod strange_answers;
mod wire;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_creds_tests::authority::Authority;
use agent_creds_tests::event::{Presentation, fingerprint, presentations, revoked};
use agent_creds_tests::https::Answer;
use agent_creds_tests::sidecar::{LONG_AGO, Secrets, Setup, Sidecar, eventually};
use agent_creds_tests::standin::{Client, ClientAuth, Config, Cut, Fault, How, Provider, Standin};
use serde_json::{Value, json};

use self::front::Front;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The secret of every client, with characters that a careless client encodes wrongly.
const CLIENT_SECRET: &str = "the client's s3cr%t+/=";

/// A provider and a directory of Secrets.
struct World {
    standin: Standin,
    authority: Authority,
    secrets: Secrets,
}

impl World {
    /// Creates a login for each of these names. Grant, Secret, client and the agent's name for the grant are the same.
    async fn with(names: &[&str]) -> Self {
        let world = Self::without_logins(names).await;
        for name in names {
            world.log_in(name);
        }
        world
    }

    /// Creates a client for each of these names, and no Secrets.
    async fn without_logins(names: &[&str]) -> Self {
        Self::with_client_secret(names, &client_secret()).await
    }

    /// With a client for each of these names that has this secret, and no Secrets.
    async fn with_client_secret(names: &[&str], secret: &str) -> Self {
        let authority = Authority::new();
        let client = |name: &&str| Client::generic(name, Some(secret), ClientAuth::Post, &["read", "write"]);
        let clients = names.iter().map(client).collect();
        let config = Config { clients, authority: Some(authority.clone()), ..Config::default() };
        let standin = Standin::start(LOOPBACK, config).await.expect("starting the stand-in");
        Self { standin, authority, secrets: Secrets::new() }
    }

    /// Creates a login and writes it into the grant Secret.
    fn log_in(&self, name: &str) -> String {
        let seed = self.standin.seed(Provider::Generic, name);
        let keys = [
            ("client_id", name),
            ("client_secret", &client_secret()),
            ("refresh_token", &seed),
            ("grant.yaml", &grant_yaml(&self.token_url())),
        ];
        self.secrets.grant(name, "oauth2", &keys);
        seed
    }

    fn token_url(&self) -> String {
        self.standin.token_url(Provider::Generic)
    }

    /// The setup of a sidecar with these grants.
    fn sidecar(&self, names: &[&str]) -> Setup {
        let setup = Setup::new(&self.secrets).trust(self.standin.ca_pem());
        names.iter().fold(setup, |setup, name| setup.grant(name))
    }

    /// Returns the outcomes of a client's presentations.
    fn outcomes(&self, client: &str) -> Vec<String> {
        self.presented(client).into_iter().map(|presentation| presentation.outcome).collect()
    }

    fn presented(&self, client: &str) -> Vec<Presentation> {
        let log = self.standin.log();
        presentations(&log).filter(|seen| seen.client_id.as_deref() == Some(client)).cloned().collect()
    }

    /// Waits until a client has presented `times` times.
    async fn presented_times(&self, client: &str, times: usize) {
        eventually(&format!("{times} presentations by {client}"), async || {
            let seen = self.presented(client).len();
            if seen >= times { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// Waits until the last answer is stored. A later answer would overwrite a test's change of the state.
    async fn stored(&self, name: &str) {
        eventually("no claim stands", async || {
            let claim = self.secrets.state(name)["claim"].clone();
            if claim.is_null() { Ok(()) } else { Err(claim) }
        })
        .await;
    }

    fn revoked(&self) -> usize {
        revoked(&self.standin.log()).count()
    }
}

/// Returns the client secret without its space, which a Secret may not contain.
fn client_secret() -> String {
    CLIENT_SECRET.replace(' ', "_")
}

/// Returns `grant.yaml` of a grant with this token endpoint.
fn grant_yaml(token_url: &str) -> String {
    format!("token_url: {token_url}\nclient_auth: post\nallow_private: true\nscopes: [read]\n")
}

/// Waits until the refresher of this grant has decided again, although nothing has changed.
async fn decides_anew(world: &World, sidecar: &Sidecar, name: &str) {
    all_decide_anew(world, sidecar, &[name]).await;
}

/// Waits for several grants at once. Each grant Secret is broken and repaired twice, and each time with a new file
/// version.
async fn all_decide_anew(world: &World, sidecar: &Sidecar, names: &[&str]) {
    let mut before = Vec::new();
    for name in names {
        before.push((*name, sidecar.grant(name).await, world.secrets.bytes(name)));
    }
    for _ in 0..2 {
        for (name, ..) in &before {
            world.secrets.write_anew(name, b"kind: ConfigMap");
        }
        for (name, ..) in &before {
            sidecar.becomes(name, "misconfigured", "grant_invalid").await;
        }
        for (name, _, bytes) in &before {
            world.secrets.write_anew(name, bytes);
        }
        for (name, grant, _) in &before {
            let (state, reason) = (grant["state"].as_str(), grant["reason"].as_str());
            sidecar.becomes(name, state.expect("a state"), reason.expect("a reason")).await;
        }
    }
}

/// Returns the time in Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("a time that fits")
}

/// Returns status, `error` and description of a refusal, after checking its form (RFC 6749 §5.2).
fn refusal(answer: &Answer) -> (u16, String, String) {
    assert!(!answer.status.is_success(), "{:?}", answer.body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
    let text = |field| answer.text(field).unwrap_or_else(|| panic!("no {field} in {:?}", answer.body));
    (answer.status.as_u16(), text("error"), text("error_description"))
}
