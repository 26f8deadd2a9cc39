//! Least privilege, checked with the API server's audit log: every right in `tests/data/rights.yaml` is used, and no
//! account asks for another one. The audit log holds all requests of this cluster, so earlier tests count, too.
//! `chart/rights.rs` compares the list with the chart.

use std::time::Duration;

use agent_creds_tests::cluster::{SYSTEM, eventually, kubectl};
use agent_creds_tests::rights::{Right, listed, used};

use super::agent::{apply, ask, example, name, ready_pods};
use super::platform::{PLATFORM, START};

/// Time in which each periodic task runs: `agent-creds-manage` counts pods every five minutes.
const PERIODIC_TASKS: Duration = Duration::from_mins(7);

#[test]
#[ignore = "needs the node: make test starts it"]
fn the_used_rights_are_exactly_the_listed_ones() {
    PLATFORM.log_in("rights");
    apply(&example("rights", 1)).expect("applying the example agent");
    let pods = ready_pods("rights", 1);
    eventually(START, || ask("rights", name(&pods[0]), "/v1/token/pagerduty").map(|_| ()));
    let rotate =
        ["annotate", "secret", "agent-creds-seal", "--namespace", SYSTEM, "agent-creds/rotate=rights"];
    kubectl(&rotate).expect("asking for another seal key");

    let listed = listed();
    let used = eventually(PERIODIC_TASKS, || {
        let used = used();
        let idle: Vec<&Right> =
            listed.iter().filter(|right| !used.allowed.iter().any(|used| right.allows(used))).collect();
        if idle.is_empty() { Ok(used) } else { Err(format!("listed but not used: {idle:#?}")) }
    });
    let unlisted: Vec<&Right> =
        used.made.iter().filter(|used| !listed.iter().any(|right| right.allows(used))).collect();
    assert!(unlisted.is_empty(), "used but not listed: {unlisted:#?}");
}
