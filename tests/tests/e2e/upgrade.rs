//! `helm upgrade --force` of the release while agents run and one of them waits for the provider's answer.

use agent_creds_tests::cluster::{SYSTEM, eventually, kubectl};

use crate::e2e::agent::{document, name, restarts};
use crate::e2e::platform::{GRANT, PLATFORM, START, TOKEN_LIFE, why};
use crate::e2e::scene::Scene;

#[test]
#[ignore = "needs the node: make test starts it"]
fn helm_upgrade_by_force_disturbs_no_refresh_even_where_it_makes_the_state_anew() {
    let scene = Scene::open("upgraded", TOKEN_LIFE);
    let pods = scene.run(2);

    // The state Secret is no part of the release, so nothing of it is replaced.
    let (held, uid) = (scene.hold(), scene.state_uid());
    let claim = document(scene.agent)["claim"].clone();
    assert_eq!(claim["parent_fp"], held.token());
    upgrade();
    assert_eq!((scene.state_uid(), document(scene.agent)["claim"].clone()), (uid.clone(), claim));
    scene.release(&held);
    scene.goes_on(2);

    // Somebody deletes it, and the upgrade makes an empty one: those who remember fill it again, the claim included.
    let held = scene.hold();
    kubectl(&["delete", "secret", &format!("{GRANT}-state"), "--namespace", scene.agent])
        .expect("deleting it");
    upgrade();
    assert_ne!(scene.state_uid(), uid, "another one");
    eventually(START, || match document(scene.agent)["claim"].clone() {
        claim if claim["parent_fp"] == held.token() => Ok(()),
        claim => Err(format!("the claim is {claim}\n{}", why(scene.agent))),
    });
    scene.release(&held);
    scene.goes_on(2);

    let same = scene.all_serve(2);
    assert_eq!(same.iter().map(name).collect::<Vec<_>>(), pods.iter().map(name).collect::<Vec<_>>());
    scene.is_kept();
    assert_eq!(restarts(scene.agent), [].into());
    let status =
        ["rollout", "status", "deployment/agent-creds-admit", "--namespace", SYSTEM, "--timeout=90s"];
    kubectl(&status).unwrap_or_else(|error| panic!("{error}\n{}", why(SYSTEM)));
}

fn upgrade() {
    PLATFORM.helm("upgrade", &["--force"]).unwrap_or_else(|error| panic!("helm upgrade --force: {error}"));
}
