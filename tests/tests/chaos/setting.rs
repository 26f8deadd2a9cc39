//! What a run starts with: its arguments, and the objects in the cluster.

use agent_creds_tests::api::{Agent, Api};
use agent_creds_tests::chaos::oracle::Rules;

/// The OAuth client.
pub(crate) const CLIENT: &str = "chaos";
/// Its secret.
pub(crate) const CLIENT_SECRET: &str = "chaos-secret";
/// Where everything is.
pub(crate) const NAMESPACE: &str = "chaos";
/// The grant Secret.
pub(crate) const GRANT_SECRET: &str = "/api/v1/namespaces/chaos/secrets/agent-chaos";
/// The state Secret.
pub(crate) const STATE_SECRET: &str = "/api/v1/namespaces/chaos/secrets/agent-chaos-state";
/// The grant Secret's name.
pub(crate) const GRANT_NAME: &str = "agent-chaos";

/// How many sidecars share the grant.
pub(crate) const SIDECARS: usize = 20;
/// Seconds that an access token lives.
pub(crate) const TOKEN_LIFE_S: u64 = 20;
/// The protocol's minute is so many of ours.
pub(crate) const TIME_SCALE: f64 = 0.1;

/// The protocol's times on that scale.
pub(crate) const RULES: Rules = Rules {
    term_ms: 6_000,
    last_moment_ms: 12_000,
    budget_ms: 1_500,
    settle_ms: 300,
    blur_ms: 1_500,
    enough_ms: 3_000,
};

/// What a run is told.
pub(crate) struct Arguments {
    pub(crate) seed: u64,
    pub(crate) length_ms: u64,
    /// The folder for results; none: they are not kept.
    pub(crate) results: Option<std::path::PathBuf>,
}

impl Arguments {
    /// From what `make chaos` sets; without it a short run of a fixed seed.
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

/// Makes the namespace, the account and both Secrets. The account's token.
pub(crate) async fn make(api: &Api, token_url: &str, login: &str) -> String {
    let client = (CLIENT, CLIENT_SECRET);
    api.make(&Agent { namespace: NAMESPACE, grant: GRANT_NAME, client, token_url, login }).await
}
