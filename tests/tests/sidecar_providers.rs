//! The built-in providers with their real host names on port 443, answered by the stand-in. This needs a separate
//! `/etc/hosts` and network, which the test cluster has.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use agent_creds_tests::cluster;
use agent_creds_tests::event::{Presentation, fingerprint, presentations, revoked};
use agent_creds_tests::sidecar::{Secrets, Setup, Sidecar, eventually};
use agent_creds_tests::standin::{Client, Config, Fault, How, Provider, Standin};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

const PAGERDUTY: &str = "identity.pagerduty.com";
const SITES: [&str; 2] = ["datadoghq.eu", "us3.datadoghq.com"];
const DAY: i64 = 86_400;

/// Limits the tests to one at a time, because there is one port 443.
static PORT: Mutex<()> = Mutex::const_new(());

/// All providers at one address, and a directory of Secrets.
struct Environment {
    standin: Standin,
    secrets: Secrets,
    _port: MutexGuard<'static, ()>,
}

impl Environment {
    async fn new() -> Self {
        let port = PORT.lock().await;
        let hosts = cluster::directory().join("hosts");
        let known = std::fs::read_to_string(&hosts).expect("the hosts of the test cluster");
        let mut file =
            std::fs::File::options().append(true).open(hosts).expect("the hosts of the test cluster");
        let datadog = SITES.iter().map(|site| format!("api.{site}"));
        for name in datadog.chain([PAGERDUTY.to_owned()]).filter(|name| !known.contains(name)) {
            writeln!(file, "127.0.0.1 {name}").expect("one more line");
        }
        let clients = vec![
            Client::pagerduty("app", "s3cr+t/of=the-app", &["incidents.read", "schedules.read"]),
            Client::pagerduty("robot-us", "s3cr+t-of-robots", &["as_account-us.acme", "incidents.read"]),
            Client::pagerduty("robot-eu", "s3cr+t-of-robots", &["as_account-eu.acme", "incidents.read"]),
            Client::datadog(SITES[0], "pup", &["monitors_read"]),
            Client::datadog(SITES[1], "pup", &["monitors_read"]),
        ];
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
        let config = Config { clients, ..Config::default() };
        // The previous test's server closes its port when its runtime ends.
        let standin =
            eventually("port 443 is free", async || Standin::start(listen, config.clone()).await).await;
        Self { standin, secrets: Secrets::new(), _port: port }
    }

    async fn sidecar(&self, grants: &[&str]) -> Sidecar {
        let setup = Setup::new(&self.secrets).trust(self.standin.ca_pem());
        let sidecar = grants.iter().fold(setup, |setup, grant| setup.grant(grant)).start().await;
        for grant in grants {
            sidecar.becomes(grant, "ready", "ok").await;
        }
        sidecar
    }

    fn presented(&self) -> Vec<Presentation> {
        presentations(&self.standin.log()).cloned().collect()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("a time that fits")
}

/// Whether a time is `seconds` from now, with a minute of tolerance.
fn is_in(time: &Value, seconds: i64) -> bool {
    let left = time.as_i64().expect("integer seconds") - now();
    (seconds - 60..=seconds).contains(&left)
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn pagerduty_is_refreshed_in_both_regions_at_one_identity_host() {
    let environment = Environment::new().await;
    let mut seeds = Vec::new();
    for region in ["us", "eu"] {
        let seed = environment.standin.seed(Provider::PagerDuty, "app");
        assert!(seed.contains('+'), "PagerDuty's tokens contain a plus: {}", seed.len());
        let file = format!("region: {region}\nscopes: [incidents.read]");
        let keys = [
            ("client_id", "app"),
            ("client_secret", "s3cr+t/of=the-app"),
            ("refresh_token", &seed),
            ("grant.yaml", &file),
        ];
        environment.secrets.grant(region, "pagerduty", &keys);
        seeds.push(fingerprint(&seed));
    }
    let sidecar = environment.sidecar(&["us", "eu"]).await;
    for region in ["us", "eu"] {
        let token = sidecar.access_token(region).await;
        assert!(environment.standin.is_active(&token) && token.contains('+'));
        let listed = sidecar.grant(region).await;
        assert_eq!(listed["provider"], "pagerduty");
        assert!(is_in(&listed["expires_at"], DAY), "{listed}");
        assert!(
            is_in(&listed["reauth_at"], 30 * DAY),
            "30 days after the last refresh, or a year after the login: {listed}"
        );
    }
    let metrics = sidecar.metrics().await;
    let reauth = |grant: &str| metrics[&format!("agent_creds_reauth_timestamp_seconds{{grant=\"{grant}\"}}")];
    assert_eq!(reauth("us"), sidecar.grant("us").await["reauth_at"].as_f64().expect("a time"));

    // The rotated token contains a plus too, which must be encoded.
    for region in ["us", "eu"] {
        environment.secrets.age(region);
    }
    eventually("two refreshes", async || {
        let presented = environment.presented();
        if presented.len() == 4 { Ok(()) } else { Err(presented) }
    })
    .await;
    for seen in environment.presented() {
        assert_eq!(
            (&*seen.host, &*seen.path, &*seen.outcome),
            (PAGERDUTY, "/oauth/token", "granted"),
            "{seen:?}"
        );
        assert_eq!(
            (seen.grant_type.as_deref(), seen.client_id.as_deref()),
            (Some("refresh_token"), Some("app"))
        );
    }
    let first = environment.presented().into_iter().filter_map(|seen| seen.token_sha256);
    assert_eq!(
        first.filter(|token| seeds.contains(token)).count(),
        2,
        "each login's token is presented once"
    );
    assert_eq!(revoked(&environment.standin.log()).count(), 0);
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn reauth_at_counts_from_the_issued_at_annotation() {
    let environment = Environment::new().await;
    let seed = environment.standin.seed(Provider::PagerDuty, "app");
    let secret = ("client_secret", "s3cr+t/of=the-app");
    environment.secrets.grant("old", "pagerduty", &[("client_id", "app"), secret, ("refresh_token", &seed)]);
    let issued_at = jiff::Timestamp::from_second(now() - 350 * DAY).expect("a time").to_string();
    environment.secrets.edit("old", |manifest| {
        manifest["metadata"]["annotations"] = json!({ "agent-creds/issued-at": issued_at });
    });
    let sidecar = environment.sidecar(&["old"]).await;
    let listed = sidecar.grant("old").await;
    assert!(is_in(&listed["reauth_at"], 15 * DAY), "a year after the login: {listed}");
    let metrics = sidecar.metrics().await;
    let reauth = metrics["agent_creds_reauth_timestamp_seconds{grant=\"old\"}"];
    assert_eq!(Some(reauth), listed["reauth_at"].as_f64());

    environment.secrets.edit("old", |manifest| {
        manifest["metadata"]["annotations"] = json!({ "agent-creds/issued-at": "last spring" });
    });
    let listed = sidecar.becomes("old", "misconfigured", "grant_invalid").await;
    let message = listed["message"].as_str().expect("a message");
    assert!(
        message.contains("annotation agent-creds/issued-at") && message.contains("RFC 3339"),
        "{message}"
    );
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn pagerduty_app_tokens_name_their_account_and_region() {
    let environment = Environment::new().await;
    for region in ["us", "eu"] {
        let client = format!("robot-{region}");
        let file =
            format!("flow: client_credentials\nregion: {region}\naccount: acme\nscopes: [incidents.read]");
        let keys = [("client_id", &*client), ("client_secret", "s3cr+t-of-robots"), ("grant.yaml", &file)];
        environment.secrets.grant(region, "pagerduty", &keys);
    }
    let sidecar = environment.sidecar(&["us", "eu"]).await;
    for region in ["us", "eu"] {
        let listed = sidecar.grant(region).await;
        assert_eq!(listed["scopes"], json!([format!("as_account-{region}.acme"), "incidents.read"]));
        assert!(is_in(&listed["expires_at"], DAY), "{listed}");
        assert_eq!(listed["reauth_at"], Value::Null, "no login is needed");
        assert!(environment.standin.is_active(&sidecar.access_token(region).await));
    }
    let kinds: Vec<_> = environment.presented().into_iter().filter_map(|seen| seen.grant_type).collect();
    assert_eq!(kinds, ["client_credentials"; 2]);
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn a_pagerduty_token_reduced_to_openid_is_reported() {
    let environment = Environment::new().await;
    let seed = environment.standin.seed_with_scope(Provider::PagerDuty, "app", "incidents.write");
    let keys = [
        ("client_id", "app"),
        ("client_secret", "s3cr+t/of=the-app"),
        ("refresh_token", &seed),
        ("grant.yaml", "scopes: [incidents.write]"),
    ];
    environment.secrets.grant("pagerduty", "pagerduty", &keys);
    let setup = Setup::new(&environment.secrets).trust(environment.standin.ca_pem());
    let sidecar = setup.grant("pagerduty").start().await;
    sidecar.becomes("pagerduty", "scope_denied", "scope_downgraded").await;
    assert_eq!((sidecar.token("pagerduty").await.status.as_u16(), environment.presented().len()), (503, 1));
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn datadog_is_refreshed_only_at_the_site_of_the_grant() {
    let environment = Environment::new().await;
    for site in SITES {
        let provider: Provider = format!("datadog:{site}").parse().expect("a site");
        let seed = environment.standin.seed(provider, "pup");
        let file = format!("site: {site}\nscopes: [monitors_read]");
        let name = site.replace('.', "-");
        let keys = [("client_id", "pup"), ("refresh_token", &*seed), ("grant.yaml", &file)];
        environment.secrets.grant(&name, "datadog", &keys);
    }
    let names = SITES.map(|site| site.replace('.', "-"));
    let sidecar = environment.sidecar(&[&names[0], &names[1]]).await;
    for name in &names {
        let listed = sidecar.grant(name).await;
        assert!(is_in(&listed["expires_at"], 3600), "{listed}");
        assert_eq!((&listed["provider"], &listed["reauth_at"]), (&json!("datadog"), &Value::Null));
        assert!(environment.standin.is_active(&sidecar.access_token(name).await));
    }
    let mut hosts: Vec<_> =
        environment.presented().into_iter().map(|seen| (seen.host, seen.path, seen.outcome)).collect();
    hosts.sort();
    let expected = |site| (format!("api.{site}"), "/oauth2/v1/token".to_owned(), "granted".to_owned());
    assert_eq!(hosts, [expected(SITES[0]), expected(SITES[1])]);
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn a_missing_expires_in_means_the_providers_own_lifetime() {
    let environment = Environment::new().await;
    let provider: Provider = format!("datadog:{}", SITES[0]).parse().expect("a site");
    let (pagerduty, datadog) =
        (environment.standin.seed(Provider::PagerDuty, "app"), environment.standin.seed(provider, "pup"));
    let secret = ("client_secret", "s3cr+t/of=the-app");
    environment.secrets.grant(
        "day",
        "pagerduty",
        &[("client_id", "app"), secret, ("refresh_token", &pagerduty)],
    );
    let file = format!("site: {}", SITES[0]);
    let keys = [("client_id", "pup"), ("refresh_token", &*datadog), ("grant.yaml", &file)];
    environment.secrets.grant("hour", "datadog", &keys);
    environment.standin.fail_next(2, &Fault::new(How::NoExpiresIn));
    let sidecar = environment.sidecar(&["day", "hour"]).await;
    assert!(is_in(&sidecar.grant("day").await["expires_at"], DAY));
    assert!(is_in(&sidecar.grant("hour").await["expires_at"], 3600));
}

#[tokio::test]
#[ignore = "needs the test cluster's names: make test starts it"]
async fn a_grant_cannot_move_a_built_in_provider_to_another_host() {
    let environment = Environment::new().await;
    let seed = environment.standin.seed(Provider::PagerDuty, "app");
    for (name, file) in [
        ("url", "token_url: https://127.0.0.1/oauth/token"),
        ("private", "allow_private: true"),
        ("auth", "client_auth: basic"),
        ("region", "region: eu.evil.example.com/"),
        ("hosts", "hosts: [127.0.0.1]"),
    ] {
        let keys = [
            ("client_id", "app"),
            ("client_secret", "s3cr+t/of=the-app"),
            ("refresh_token", &*seed),
            ("grant.yaml", file),
        ];
        environment.secrets.grant(name, "pagerduty", &keys);
    }
    for (name, site) in
        [("site", "datadoghq.com.evil.example.com"), ("path", "datadoghq.com/"), ("at", "x@datadoghq.eu")]
    {
        let keys =
            [("client_id", "pup"), ("refresh_token", &*seed), ("grant.yaml", &*format!("site: {site}"))];
        environment.secrets.grant(name, "datadog", &keys);
    }
    let names = ["url", "private", "auth", "region", "hosts", "site", "path", "at"];
    let setup = Setup::new(&environment.secrets).trust(environment.standin.ca_pem());
    let sidecar = names.iter().fold(setup, |setup, name| setup.grant(name)).start().await;
    for name in names {
        sidecar.becomes(name, "misconfigured", "grant_invalid").await;
    }
    assert_eq!(environment.presented().len(), 0);
}
