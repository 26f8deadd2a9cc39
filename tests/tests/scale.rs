//! The cost of a grant that many replicas share: presentations to the provider and requests to a real API server, per
//! token life, in normal operation and during an outage of the provider. The replicas are real sidecars, and thousands
//! of simulated ones in this process. The provider's log and the API server's audit log count. `make bench` runs the
//! test (`tests/bench/scale.sh`) and keeps the rows.

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

/// Measures all groups of real sidecars at the same time, each with its own grant and provider, and then the simulated
/// replicas. Meanwhile the providers of the first groups are down, which causes few requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the API server: make bench starts it"]
async fn the_cost_of_a_grant_does_not_grow_with_the_number_of_replicas() {
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
        let mut group = Group::start(&api, setting, Kind::Simulated, replicas).await;
        group.lives().await;
        groups.spawn_local(outage(group));
    }
    groups.join_all().await
}
