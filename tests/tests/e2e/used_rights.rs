//! Least privilege by the API server's own account: each right that `tests/data/rights.yaml` lists is needed, and nothing else is
//! asked for. The audit log holds the requests of this cluster, so it also shows what other tests have used before. What is
//! listed is what the chart grants (`chart/rights.rs`).

use std::time::Duration;

use agent_creds_tests::cluster::{SYSTEM, eventually, kubectl};
use agent_creds_tests::rights::{Right, listed, used};

use super::agent::{apply, ask, example, name, ready_pods};
use super::platform::{PLATFORM, START};

/// `agent-creds-manage` counts pods every five minutes.
const EVERY_TASK: Duration = Duration::from_mins(7);

#[test]
#[ignore = "needs the node: make test starts it"]
fn each_right_is_used_and_each_that_is_used_is_listed() {
    PLATFORM.log_in("rights");
    apply(&example("rights", 1)).expect("applying the example agent");
    let pods = ready_pods("rights", 1);
    eventually(START, || ask("rights", name(&pods[0]), "/v1/token/pagerduty").map(|_| ()));
    let rotate =
        ["annotate", "secret", "agent-creds-seal", "--namespace", SYSTEM, "agent-creds/rotate=rights"];
    kubectl(&rotate).expect("asking for another seal key");

    let listed = listed();
    let used = eventually(EVERY_TASK, || {
        let used = used();
        let idle: Vec<&Right> =
            listed.iter().filter(|right| !used.allowed.iter().any(|used| right.allows(used))).collect();
        if idle.is_empty() { Ok(used) } else { Err(format!("granted, and not used: {idle:#?}")) }
    });
    let unlisted: Vec<&Right> =
        used.made.iter().filter(|used| !listed.iter().any(|right| right.allows(used))).collect();
    assert!(unlisted.is_empty(), "used, and not listed: {unlisted:#?}");
}
