//! Checks that the chart grants exactly the rights in `tests/data/rights.yaml`.

use agent_creds_tests::rights::{granted, listed};
use serde_json::json;

use super::{CA, render};

fn agent() -> serde_json::Value {
    json!([{"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": ["devops-agent-pagerduty"]}])
}

#[test]
fn the_granted_rights_are_exactly_the_listed_ones() {
    let granted = granted(&render(&json!({"grants": agent()})));
    let listed = listed();
    let unlisted: Vec<_> = granted.difference(&listed).collect();
    assert!(unlisted.is_empty(), "granted but not listed: {unlisted:#?}");
    let missing: Vec<_> = listed.difference(&granted).collect();
    assert!(missing.is_empty(), "listed but not granted: {missing:#?}");
}

#[test]
fn with_a_given_certificate_the_chart_grants_fewer_rights() {
    let own = json!({"mode": "secret", "secretName": "tls", "caBundle": CA});
    let granted = granted(&render(&json!({"grants": agent(), "certificates": own})));
    let listed = listed();
    assert!(granted.is_subset(&listed), "{:#?}", granted.difference(&listed));
    assert!(granted.len() < listed.len());
}
