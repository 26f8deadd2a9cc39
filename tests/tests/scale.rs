//! What a grant costs when many replicas share it: presentations at the provider, and requests at a real API server,
//! per token life, while all is well and while the provider is down. Real sidecars, and many more machines in this
//! process. Both are counted where they arrive: in the provider's log, and in the API server's audit log. `make bench`
//! runs it (`tests/bench/scale.sh`) and keeps the rows.

mod audit;
mod group;
mod replicas;
mod rows;
mod setting;
mod shared;
mod swarm;

use agent_creds_tests::api::Api;
use tokio::task::{JoinSet, LocalSet};

use audit::Audit;
use group::Group;
use replicas::Kind;
use setting::Setting;

/// All fleets of real sidecars at the same time, each with a grant and a provider of its own; then the machines, while
/// those fleets sit through the outage of their providers: few requests, which do not get in the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the API server: make bench starts it"]
async fn the_cost_of_a_grant_does_not_grow_with_the_number_of_its_replicas() {
    let setting = Setting::read();
    let mut groups = LocalSet::new().run_until(measured(&setting)).await;
    groups.sort_by_key(Group::size);
    let audit = Audit::read(groups.iter().flat_map(Group::windows).cloned().collect());
    rows::report(&groups, &audit, &setting);
}

async fn measured(setting: &Setting) -> Vec<Group> {
    let api = Api::of_cluster();
    let mut healthy = JoinSet::new();
    for replicas in setting.sidecars.clone() {
        let (api, setting) = (api.clone(), setting.clone());
        healthy.spawn_local(async move {
            let mut group = Group::start(&api, &setting, Kind::Sidecars, replicas).await;
            group.lives().await;
            group
        });
    }
    let mut groups = JoinSet::new();
    let outage = async |mut group: Group| {
        group.outage().await;
        group
    };
    for group in healthy.join_all().await {
        groups.spawn_local(outage(group));
    }
    if let Some(replicas) = setting.simulated {
        let mut group = Group::start(&api, setting, Kind::Machines, replicas).await;
        group.lives().await;
        groups.spawn_local(outage(group));
    }
    groups.join_all().await
}
