//! The platform that these tests share.

use std::sync::LazyLock;

pub(crate) use agent_creds_tests::platform::{ACCOUNT, GRANT, START, TOKEN_LIFE, why};
use agent_creds_tests::platform::{Platform, grant_of};
use serde_json::json;

/// Agents of the tests, each in its own namespace.
const AGENTS: [&str; 16] = [
    "ops",
    "job",
    "late",
    "strict",
    "down",
    "rolling",
    "evicted",
    "unsent",
    "unanswered",
    NIGHTLY,
    CLOSED,
    CHANGED,
    "upgraded",
    "guarded",
    "rights",
    "versions",
];
/// An agent with a keep-alive CronJob, which is scheduled for a day that does not occur.
pub(crate) const NIGHTLY: &str = "nightly";
/// The same, for the tests of the policies about its pods.
pub(crate) const CLOSED: &str = "closed";
/// The same, for a test that changes the CronJob.
pub(crate) const CHANGED: &str = "changed";

pub(crate) static PLATFORM: LazyLock<Platform> = LazyLock::new(|| {
    let grants = AGENTS.map(|agent| {
        let mut grant = grant_of(agent);
        if [NIGHTLY, CLOSED, CHANGED].contains(&agent) {
            grant["keepAlive"] = json!({"schedule": "0 0 29 2 *"});
        }
        grant
    });
    Platform::install(&AGENTS, &grants)
});
