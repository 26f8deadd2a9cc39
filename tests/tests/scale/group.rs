//! A grant with its provider and its replicas, and the windows in which it is measured.

use std::time::Duration;

use agent_creds_tests::api::{Agent, Api};
use agent_creds_tests::event::{Event, Presentation, presentations};
use agent_creds_tests::standin::{Client, ClientAuth, Config, Fault, Provider, Standin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;

use super::replicas::{Kind, Replicas};
use super::setting::{LAST_LIFE_S, LIVES, OUTAGE, Setting, TOKEN_LIFE_S};

/// Name of the grant Secret, in every namespace.
pub(crate) const GRANT: &str = "shared";
/// Id and secret of the OAuth client.
const CLIENT: (&str, &str) = ("scale", "scale-secret");
/// Longest wait until all replicas serve the current token.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(200);

/// An interval of time.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) namespace: String,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// One grant and its replicas.
pub(crate) struct Group {
    pub(crate) kind: Kind,
    namespace: String,
    api: Api,
    standin: Standin,
    replicas: Replicas,
    windows: Vec<Window>,
}

/// The settings that replicas start with.
pub(crate) struct Place<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) provider_ca: &'a str,
    /// The ServiceAccount's token.
    pub(crate) token: &'a str,
}

impl Group {
    /// Starts `count` replicas and waits until all are ready. The first one redeems the login before the others start.
    pub(crate) async fn start(api: &Api, setting: &Setting, kind: Kind, count: usize) -> Self {
        let namespace = format!("scale-{kind}-{count}");
        let (id, secret) = CLIENT;
        let client = Client::generic(id, Some(secret), ClientAuth::Post, &["incidents.read"]);
        let config = Config { clients: vec![client], token_life: Some(TOKEN_LIFE_S), ..Config::default() };
        let standin = Standin::start(([127, 0, 0, 1], 0).into(), config).await.expect("a free port");
        let login = standin.seed(Provider::Generic, id);
        let token_url = format!("https://{}/oauth/token", standin.addr());
        let agent = Agent {
            namespace: &namespace,
            grant: GRANT,
            client: CLIENT,
            token_url: &token_url,
            login: &login,
        };
        let token = api.make(&agent).await;
        let place = Place { namespace: &namespace, provider_ca: standin.ca_pem(), token: &token };
        let mut replicas = Replicas::new(kind, setting, &place);
        let (api, windows) = (api.clone(), Vec::new());
        replicas.start(1).await;
        let mut group = Self { kind, namespace, api, standin, replicas, windows };
        group.all_serve_what_is_stored().await;
        group.replicas.start(count - 1).await;
        group.all_serve_what_is_stored().await;
        group
    }

    /// Returns the number of replicas.
    pub(crate) fn size(&self) -> usize {
        self.replicas.count()
    }

    /// Measures some token lives in normal operation, each from one refresh to the next.
    pub(crate) async fn lives(&mut self) {
        let from = Timestamp::now();
        for _ in 0..LIVES {
            self.refreshes().await;
            self.all_serve_what_is_stored().await;
        }
        self.ends(from);
    }

    /// Measures an outage in which the provider answers 503, from a refresh on.
    pub(crate) async fn outage(&mut self) {
        self.standin.set_token_life(Some(LAST_LIFE_S));
        self.refreshes().await;
        self.standin.fail_next(100_000, &Fault::status(503));
        let granted = self.presented().len();
        self.standin.log_when(|log| presentations(log).count() > granted).await;
        // A presentation and its claim can be slightly older than the line in the log.
        let from = Timestamp::now() - SignedDuration::from_secs(2);
        tokio::time::sleep(OUTAGE).await;
        self.ends(from);
    }

    /// Returns the windows of [`Self::lives`] and [`Self::outage`].
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Returns the number of presentations within a window.
    pub(crate) fn presented_in(&self, window: &Window) -> usize {
        let ms = |at: Timestamp| u64::try_from(at.as_millisecond()).expect("after 1970");
        let within = ms(window.from)..ms(window.to);
        self.presented().iter().filter(|seen| within.contains(&seen.at_ms)).count()
    }

    fn presented(&self) -> Vec<Presentation> {
        presentations(&self.standin.log()).cloned().collect()
    }

    fn ends(&mut self, from: Timestamp) {
        let window = Window { namespace: self.namespace.clone(), from, to: Timestamp::now() };
        self.windows.push(window);
    }

    /// Waits for the next refresh.
    async fn refreshes(&self) {
        let granted = |log: &[Event]| presentations(log).filter(|seen| seen.outcome == "granted").count();
        let before = granted(&self.standin.log());
        self.standin.log_when(|log| granted(log) > before).await;
    }

    /// Waits until every replica serves the stored token, and no claim is open.
    async fn all_serve_what_is_stored(&self) {
        let deadline = Instant::now() + TIMEOUT;
        let path = format!("/api/v1/namespaces/{}/secrets/{GRANT}-state", self.namespace);
        loop {
            let state = self.api.get(&path).await.and_then(|secret| document(&secret)).unwrap_or_default();
            let newest = state["access"]["fp"].as_str().filter(|_| state["claim"].is_null());
            let lacking = match newest {
                Some(fp) => self.replicas.not_serving(fp).await,
                None => self.replicas.count(),
            };
            if lacking == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{lacking} of {}: not ready; {state}", self.namespace);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Returns the document in a state Secret.
fn document(secret: &Value) -> Option<Value> {
    let decoded = STANDARD.decode(secret["data"]["state"].as_str()?).ok()?;
    serde_json::from_slice(&decoded).ok()
}
