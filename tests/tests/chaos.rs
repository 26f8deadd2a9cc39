//! Chaos test: twenty real sidecars share one grant, beside a real API server and etcd, under faults that a seed
//! determines. The provider's log decides the result: whether a token was presented without a licence, and whether a
//! login was lost that could have been saved. `make chaos` runs it for longer and keeps the observations.

mod agent;
mod control_plane;
mod environment;
mod fleet;
mod gateway;
mod ledger;
mod proxy;
mod report;
mod setting;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_tests::api::Api;
use agent_creds_tests::chaos::oracle::judge;
use agent_creds_tests::chaos::record::Written;
use agent_creds_tests::chaos::schedule::{Login, Planned, Setting, plan};
use agent_creds_tests::event::fingerprint;
use agent_creds_tests::standin::{Client, ClientAuth, Config, Provider, Standin};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use agent::Answers;
use control_plane::ControlPlane;
use environment::Environment;
use fleet::{Fleet, Setup};
use ledger::{Ledger, now_ms};
use proxy::Proxy;
use setting::{
    Arguments, CLIENT, CLIENT_SECRET, GRANT_NAME, NAMESPACE, RULES, SIDECARS, TIME_SCALE, TOKEN_LIFE_S,
};

/// After the last fault, and after the end of any wait in the state document, all sidecars are ready within this time.
/// It is enough for one more doubt and for one login by a person.
const RECOVERS_MS: u64 = 45_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the API server: make test starts it"]
async fn twenty_sidecars_keep_one_grant_under_random_faults() {
    let arguments = Arguments::read();
    let setting = Setting {
        seed: arguments.seed,
        length_ms: arguments.length_ms,
        sidecars: SIDECARS,
        term_ms: RULES.term_ms,
    };
    let planned = plan(&setting);
    let folder = tempfile::tempdir().expect("a temporary folder");
    report::begin(&arguments, &planned, folder.path());

    let (environment, _proxy) = build(&arguments, folder.path()).await;
    let environment = Arc::new(environment);
    let answers = Arc::new(Answers::default());
    let agents = agents(&environment, &answers);
    let person = Arc::clone(&environment);
    let mut people = JoinSet::new();
    people.spawn(async move { person.log_in_again().await });

    recovered(&environment, "ready before the faults").await;
    carry_out(&environment, planned).await;
    environment.standin.stop_failing();
    environment.ledger.stop_spoiling();
    let recovered = recovered(&environment, "ready after the faults").await;
    drop((agents, people));

    let died = environment.stop().await;
    environment.keep(folder.path());
    let record = environment.ledger.record().clone();
    let judgement = judge(&record, &RULES);
    report::end(&arguments, folder.path(), &record, &judgement, &answers);
    assert_eq!(died, Vec::<usize>::new(), "sidecars that exited by themselves");
    assert!(recovered, "not all sidecars are ready with the same token");
    assert_eq!(judgement.unlicensed.len(), 0, "{:#?}", judgement.unlicensed);
    assert_eq!(judgement.lost().count(), 0, "{:#?}", judgement.lost().collect::<Vec<_>>());
    assert_eq!(record.served_expired.len(), 0, "{:#?}", record.served_expired);
}

/// Builds the environment and starts twenty sidecars.
async fn build(arguments: &Arguments, folder: &Path) -> (Environment, Proxy) {
    let api = Api::of_cluster();
    let client = Client::generic(CLIENT, Some(CLIENT_SECRET), ClientAuth::Post, &["incidents.read"]);
    let config = Config { clients: vec![client], token_life: Some(TOKEN_LIFE_S), ..Config::default() };
    let standin = Standin::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config).await;
    let standin = standin.expect("a free port");
    let ledger = Arc::new(Ledger::new());
    let proxy = Proxy::to(standin.addr(), arguments.seed, Arc::clone(&ledger)).await;

    let login = standin.seed(Provider::Generic, CLIENT);
    ledger.record_login(Written { at_ms: now_ms(), login: Login::New, token: fingerprint(&login) });
    let token_url = format!("https://{}/oauth/token", proxy.address());
    let setup = Setup {
        folder: folder.to_owned(),
        seed: arguments.seed,
        time_scale: TIME_SCALE,
        secret: format!("{NAMESPACE}/{GRANT_NAME}"),
        token: setting::make(&api, &token_url, &login).await,
        provider_ca: standin.ca_pem().to_owned(),
        upstream: api.client(),
        ledger: Arc::clone(&ledger),
    };
    let fleet = Fleet::start(&setup, SIDECARS).await;
    let plane = Mutex::new(ControlPlane::find(api.clone(), folder));
    (Environment { api, standin, ledger, fleet, plane, logins: Mutex::new(vec![login]) }, proxy)
}

/// Starts an agent beside each sidecar. The agents end with the returned set.
fn agents(environment: &Arc<Environment>, answers: &Arc<Answers>) -> JoinSet<()> {
    let mut agents = JoinSet::new();
    for sidecar in 0..SIDECARS {
        let (environment, answers) = (Arc::clone(environment), Arc::clone(answers));
        agents.spawn(async move {
            let socket = environment.fleet.all()[sidecar].socket();
            agent::ask(sidecar, &socket, &environment.standin, &environment.ledger, &answers).await;
        });
    }
    agents
}

/// Carries out the planned actions, each at its time, and waits until the last one is over.
async fn carry_out(environment: &Arc<Environment>, planned: Vec<Planned>) {
    let start = Instant::now();
    let mut under_way = JoinSet::new();
    for Planned { at_ms, action } in planned {
        tokio::time::sleep_until(start + Duration::from_millis(at_ms)).await;
        let environment = Arc::clone(environment);
        under_way.spawn(async move { environment.perform(action).await });
    }
    while let Some(ended) = under_way.join_next().await {
        ended.expect("a planned action does not panic");
    }
}

/// Waits until all sidecars are ready with the same valid token; false after a timeout.
async fn recovered(environment: &Environment, what: &str) -> bool {
    let (began_ms, mut last) = (now_ms(), String::new());
    while now_ms() < began_ms.max(environment.waits_until_ms()) + RECOVERS_MS {
        match disagreement(environment).await {
            None => {
                report::say(&format!("{what}: after {} ms", now_ms() - began_ms));
                return true;
            }
            Some(seen) => last = seen,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    report::say(&format!("{what}: timed out; last seen: {last}"));
    false
}

async fn disagreement(environment: &Environment) -> Option<String> {
    let mut tokens = std::collections::BTreeSet::new();
    for (number, slot) in environment.fleet.all().iter().enumerate() {
        match agent::state(&slot.socket()).await {
            Some((state, _)) if state == "ready" => {}
            other => return Some(format!("sidecar {number}: {other:?}")),
        }
        tokens.extend(agent::token(&slot.socket()).await);
    }
    let mut all = tokens.iter();
    match (all.next(), all.next()) {
        (Some(token), None) if environment.standin.is_active(token) => None,
        (Some(_), None) => Some("a token that is no longer valid".to_owned()),
        _ => Some(format!("{} tokens", tokens.len())),
    }
}
