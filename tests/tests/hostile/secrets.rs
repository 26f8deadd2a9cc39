//! Reading what lasts through the API, as the agent's own account and as accounts with stock roles.

use agent_creds_tests::platform::GRANT;

use crate::hostile::agent::{as_administrator, inside};
use crate::hostile::attempt::{all, attempts, control, stopped};

const STATE: &str = "devops-agent-pagerduty-state";

attempts! {
    /// GET of the grant Secret and of the state Secret with the agent's token
    secrets_by_name {
        control(as_administrator(&["get", "secret", GRANT, STATE]));
        all([GRANT, STATE]
            .map(|name| stopped(inside(&format!("k get secret {name}")), "cannot get resource \"secrets\""))
            .into())
    }
    /// Listing and watching all Secrets of the namespace with the agent's token
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
