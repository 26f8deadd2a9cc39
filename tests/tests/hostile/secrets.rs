//! Reads the grant's Secrets through the API, with the agent's own account.

use agent_creds_tests::platform::GRANT;

use crate::hostile::agent::{as_administrator, inside};
use crate::hostile::attempt::{all, attempts, control, stopped};

const STATE: &str = "devops-agent-pagerduty-state";

attempts! {
    /// The agent reads the grant Secret and the state Secret with its token
    secrets_by_name {
        control(as_administrator(&["get", "secret", GRANT, STATE]));
        all([GRANT, STATE]
            .map(|name| stopped(inside(&format!("k get secret {name}")), "cannot get resource \"secrets\""))
            .into())
    }
    /// The agent lists and watches all Secrets of the namespace with its token
    secrets_listed {
        control(as_administrator(&["get", "secrets"]));
        all(vec![
            stopped(inside("k get secrets"), "cannot list resource \"secrets\""),
            stopped(
                inside("k get --raw '/api/v1/namespaces/hostile/secrets?watch=true&fieldSelector=metadata.name%3Ddevops-agent-pagerduty'"),
                "cannot watch resource \"secrets\"",
            ),
        ])
    }
}
