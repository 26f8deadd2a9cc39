//! Tests of the two OAuth servers. A tolerant server would let wrong requests pass in all other tests.

mod agreement;
mod datadog;
mod families;
mod faults;
mod generic;
mod hosts;
mod independent;
mod pagerduty;
mod program;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use agent_creds_tests::event::{Event, Presentation, fingerprint, presentations, revoked};
use agent_creds_tests::https::{self, Answer, Failure};
use agent_creds_tests::oidc::{self, Oidc};
use agent_creds_tests::standin::{
    Client, ClientAuth, Config, Cut, DATADOG_SITES, Fault, How, Provider, Standin,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const PAGERDUTY: &str = "identity.pagerduty.com";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

async fn standin() -> Standin {
    let clients = vec![
        Client::pagerduty("app", "s3cr+t", &["as_account-us.acme", "incidents.read", "schedules.read"]),
        Client::pagerduty("other-app", "other", &["incidents.read"]),
        Client::datadog("datadoghq.com", "pup", &["monitors_read", "dashboards_read"]),
        Client::datadog("datadoghq.eu", "pup", &["monitors_read"]),
        Client::generic("post", Some("p%st +"), ClientAuth::Post, &["read", "write"]),
        Client::generic("basic", Some("b:s%c +"), ClientAuth::Basic, &["read", "write"]),
        Client::generic("public", None, ClientAuth::None, &["read"]),
    ];
    Standin::start(LOOPBACK, Config { clients, ..Config::default() }).await.expect("starting the stand-in")
}

fn datadog(site: &str) -> Provider {
    format!("datadog:{site}").parse().expect("a site")
}

/// Returns the four parameters of a PagerDuty refresh.
fn pagerduty_form(token: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "refresh_token"),
        ("client_id", "app"),
        ("client_secret", "s3cr+t"),
        ("refresh_token", token),
    ]
}

async fn pagerduty(server: &Standin, form: &[(&str, &str)]) -> Answer {
    server.https().post_form(PAGERDUTY, "/oauth/token", form).await.expect("an answer")
}

/// Returns access token and refresh token of a successful answer.
fn tokens(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let text = |field| answer.text(field).unwrap_or_else(|| panic!("no {field} in {:?}", answer.body));
    (text("access_token"), text("refresh_token"))
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.text("error").expect("an error in the body"))
}

fn last(log: &[Event]) -> Presentation {
    presentations(log).last().expect("a presentation in the log").clone()
}

fn reason(server: &Standin) -> String {
    last(&server.log()).reason.expect("a reason in the log")
}
