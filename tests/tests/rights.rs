//! Least privilege, by the API server's own account: after the end-to-end suite, in its cluster, each right that
//! `tests/data/rights.yaml` lists was needed, and nothing else was asked for. What is listed is what the chart grants (`chart/rights.rs`).

use agent_creds_tests::rights::{Right, listed, used};

#[test]
#[ignore = "needs the node: make test starts it"]
fn each_right_was_used_and_each_that_was_used_is_listed() {
    let (listed, used) = (listed(), used());
    let unlisted: Vec<&Right> =
        used.made.iter().filter(|used| !listed.iter().any(|right| right.allows(used))).collect();
    assert!(unlisted.is_empty(), "used, and not listed: {unlisted:#?}");
    let idle: Vec<&Right> =
        listed.iter().filter(|right| !used.allowed.iter().any(|used| right.allows(used))).collect();
    assert!(idle.is_empty(), "granted, and never used: {idle:#?}");
}
