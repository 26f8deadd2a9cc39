//! Least privilege, checked with the audit log after the end-to-end suite in its cluster: every right in
//! `tests/data/rights.yaml` was used, and no account asked for another one. `chart/rights.rs` compares the list with
//! the chart.

use agent_creds_tests::rights::{Right, listed, used};

#[test]
#[ignore = "needs the node: make test starts it"]
fn the_used_rights_are_exactly_the_listed_ones() {
    let (listed, used) = (listed(), used());
    let unlisted: Vec<&Right> =
        used.made.iter().filter(|used| !listed.iter().any(|right| right.allows(used))).collect();
    assert!(unlisted.is_empty(), "used but not listed: {unlisted:#?}");
    let idle: Vec<&Right> =
        listed.iter().filter(|right| !used.allowed.iter().any(|used| right.allows(used))).collect();
    assert!(idle.is_empty(), "listed but never used: {idle:#?}");
}
