//! What the chart grants is what `tests/data/rights.yaml` lists, no more and no less.

use agent_creds_tests::rights::{granted, listed};
use serde_json::json;

use super::{CA, render};

fn agent() -> serde_json::Value {
    json!([{"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": ["devops-agent-pagerduty"]}])
}

#[test]
fn every_right_is_listed_with_its_reason() {
    let granted = granted(&render(&json!({"grants": agent()})));
    let listed = listed();
    let unlisted: Vec<_> = granted.difference(&listed).collect();
    assert!(unlisted.is_empty(), "granted, and not listed: {unlisted:#?}");
    let missing: Vec<_> = listed.difference(&granted).collect();
    assert!(missing.is_empty(), "listed, and not granted: {missing:#?}");
}

#[test]
fn certificates_of_ones_own_take_rights_away_and_add_none() {
    let own = json!({"mode": "secret", "secretName": "tls", "caBundle": CA});
    let granted = granted(&render(&json!({"grants": agent(), "certificates": own})));
    let listed = listed();
    assert!(granted.is_subset(&listed), "{:#?}", granted.difference(&listed));
    assert!(granted.len() < listed.len());
}
