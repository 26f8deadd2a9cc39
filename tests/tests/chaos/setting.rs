//! The arguments of a run, and the objects in the cluster.

use agent_creds_tests::api::{Agent, Api};
use agent_creds_tests::chaos::oracle::Rules;

/// The OAuth client.
pub(crate) const CLIENT: &str = "chaos";
/// The client's secret.
pub(crate) const CLIENT_SECRET: &str = "chaos-secret";
/// Namespace of all objects.
pub(crate) const NAMESPACE: &str = "chaos";
/// Path of the grant Secret.
pub(crate) const GRANT_SECRET: &str = "/api/v1/namespaces/chaos/secrets/agent-chaos";
/// Path of the state Secret.
pub(crate) const STATE_SECRET: &str = "/api/v1/namespaces/chaos/secrets/agent-chaos-state";
/// Name of the grant Secret.
pub(crate) const GRANT_NAME: &str = "agent-chaos";

/// Number of sidecars.
pub(crate) const SIDECARS: usize = 20;
/// Lifetime of an access token in seconds.
pub(crate) const TOKEN_LIFE_S: u64 = 20;
/// Factor of all times of the protocol.
pub(crate) const TIME_SCALE: f64 = 0.1;

/// The protocol's times with this factor.
pub(crate) const RULES: Rules = Rules {
    term_ms: 6_000,
    last_moment_ms: 12_000,
    budget_ms: 1_500,
    settle_ms: 300,
    blur_ms: 1_500,
    enough_ms: 3_000,
};

/// The arguments of a run.
pub(crate) struct Arguments {
    pub(crate) seed: u64,
    pub(crate) length_ms: u64,
    /// The folder for results; `None` keeps none.
    pub(crate) results: Option<std::path::PathBuf>,
}

impl Arguments {
    /// Reads the variables that `make chaos` sets. The defaults are a short run with a fixed seed.
    #[expect(clippy::disallowed_methods, reason = "a test has no arguments of its own")]
    pub(crate) fn read() -> Self {
        let number = |name: &str| -> Option<f64> {
            std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
        };
        let minutes = number("CHAOS_MINUTES").unwrap_or(1.0);
        let seed = number("CHAOS_SEED").unwrap_or(1.0);
        let results = std::env::var_os("CHAOS_RESULTS").map(Into::into);
        Self { seed: seed as u64, length_ms: (minutes * 60_000.0) as u64, results }
    }
}

/// Creates the namespace, the ServiceAccount and both Secrets. Returns a token of the account.
pub(crate) async fn make(api: &Api, token_url: &str, login: &str) -> String {
    let client = (CLIENT, CLIENT_SECRET);
    api.make(&Agent { namespace: NAMESPACE, grant: GRANT_NAME, client, token_url, login }).await
}
