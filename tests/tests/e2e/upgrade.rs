//! `helm upgrade --force` of the release while agents run and one of them waits for the provider's answer.

use agent_creds_tests::cluster::{SYSTEM, eventually, kubectl};

use crate::e2e::agent::{document, name, restarts};
use crate::e2e::login::Login;
use crate::e2e::platform::{GRANT, PLATFORM, START, TOKEN_LIFE, why};

#[test]
#[ignore = "needs the node: make test starts it"]
fn helm_upgrade_force_keeps_a_refresh_even_if_it_recreates_the_state_secret() {
    let login = Login::open("upgraded", TOKEN_LIFE);
    let pods = login.run(2);

    // The state Secret is not part of the release, so the upgrade does not replace it.
    let (held, uid) = (login.hold(), login.state_uid());
    let claim = document(login.agent)["claim"].clone();
    assert_eq!(claim["parent_fp"], held.token());
    upgrade();
    assert_eq!((login.state_uid(), document(login.agent)["claim"].clone()), (uid.clone(), claim));
    login.release(&held);
    login.goes_on(2);

    // A person deletes it, and the upgrade creates an empty one. Replicas restore it from memory, with the claim.
    let held = login.hold();
    kubectl(&["delete", "secret", &format!("{GRANT}-state"), "--namespace", login.agent])
        .expect("deleting the state Secret");
    upgrade();
    assert_ne!(login.state_uid(), uid, "the state Secret is a new one");
    eventually(START, || match document(login.agent)["claim"].clone() {
        claim if claim["parent_fp"] == held.token() => Ok(()),
        claim => Err(format!("the claim is {claim}\n{}", why(login.agent))),
    });
    login.release(&held);
    login.goes_on(2);

    let same = login.all_serve(2);
    assert_eq!(same.iter().map(name).collect::<Vec<_>>(), pods.iter().map(name).collect::<Vec<_>>());
    login.is_kept();
    assert_eq!(restarts(login.agent), [].into());
    let status =
        ["rollout", "status", "deployment/agent-creds-admit", "--namespace", SYSTEM, "--timeout=90s"];
    kubectl(&status).unwrap_or_else(|error| panic!("{error}\n{}", why(SYSTEM)));
}

fn upgrade() {
    PLATFORM.helm("upgrade", &["--force"]).unwrap_or_else(|error| panic!("helm upgrade --force: {error}"));
}
