//! Pods that are deleted by force while the provider has their request: what the provider made of it nobody will ever
//! know (L2 and L3 of the README). So nothing is presented until waiting no longer costs nothing; then what was not carried
//! out is made good, and what was ends the login aloud.

use std::time::Duration;

use agent_creds_tests::cluster::{eventually, get, kubectl};
use agent_creds_tests::event::{Presentation, revoked};
use agent_creds_tests::standin::{Fault, How};
use serde_json::Value;

use crate::agent::{apply, document, example, grant, name, restarts};
use crate::platform::{PLATFORM, START, why};
use crate::scene::{Scene, Spoilt};

/// Longer than the term of a claim, so that the agents have a token all the while.
const LIFE: u64 = 125;
/// A claim's term, and what comes to it: the spread of replicas, and settling.
const LICENSED: Duration = Duration::from_secs(60 + 10 + 20);

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_holder_deleted_by_force_leaves_a_doubt_that_waits_for_its_licence() {
    let scenes = [Scene::open("unsent", LIFE), Scene::open("unanswered", LIFE)];
    for scene in &scenes {
        apply(&example(scene.agent, 2)).expect("applying the example agent");
    }
    for scene in &scenes {
        scene.all_serve(2);
        scene.request();
    }
    let [unsent, unanswered] = &scenes;
    let hung = [unsent.spoil(Fault::new(How::Hang)), unanswered.spoil(Fault::new(How::Hang).after_commit())];
    let claims = scenes.each_ref().map(|scene| document(scene.agent)["claim"].clone());
    for (scene, spoilt) in scenes.iter().zip(&hung) {
        let force =
            ["delete", "pod", &spoilt.holder, "--namespace", scene.agent, "--grace-period=0", "--force"];
        kubectl(&force).expect("deleting by force");
    }
    let again: Vec<_> = scenes
        .iter()
        .zip(&hung)
        .zip(&claims)
        .map(|((scene, spoilt), claim)| presented_when_licensed(scene, spoilt, claim))
        .collect();

    assert_eq!(again[0].outcome, "granted", "the provider had done nothing: {:?}", again[0]);
    unsent.all_serve(2);
    unsent.is_kept_but_for(&[hung[0].token()]);

    assert_eq!(again[1].outcome, "invalid_grant", "a strict provider ends the login: {:?}", again[1]);
    let family = again[1].family.as_deref().expect("the server knows it");
    assert_eq!(revoked(&PLATFORM.standin.log()).filter(|dead| *dead == family).count(), 1);
    for pod in get(&["pods", "--namespace", unanswered.agent])["items"].as_array().expect("a list") {
        eventually(START, || match grant(unanswered.agent, name(pod))? {
            grant if grant["state"] == "reauth_required" => Ok(()),
            grant => Err(grant.to_string()),
        });
    }
    told(unanswered, "SpentElsewhere");
    assert_eq!(unanswered.times().get(hung[1].token()), Some(&2), "and nothing is tried on");
    // A person logs in again.
    PLATFORM.log_in(unanswered.agent);
    unanswered.all_serve(2);
    for scene in &scenes {
        assert_eq!(restarts(scene.agent), [].into());
    }
}

/// Waits for the second presentation of the token, while the access token is served on; it comes no earlier than it may.
fn presented_when_licensed(scene: &Scene, first: &Spoilt, claim: &Value) -> Presentation {
    assert_eq!(claim["parent_fp"], first.token());
    let again =
        || scene.presented().into_iter().filter(|p| p.token_sha256.as_deref() == Some(first.token())).nth(1);
    let survivor = get(&["pods", "--namespace", scene.agent]);
    let survivors =
        survivor["items"].as_array().expect("a list").iter().map(name).filter(|pod| *pod != first.holder);
    let survivors: Vec<_> = survivors.collect();
    let second = eventually(LICENSED, || {
        let Some(second) = again() else {
            let served = scene.serves(survivors[0]);
            // Between the two the provider may have ended the login.
            assert!(served.is_ok() || again().is_some(), "{served:?}: {}", why(scene.agent));
            return Err(format!("presented once: {}", document(scene.agent)));
        };
        Ok(second)
    });
    let claimed_at: jiff::Timestamp =
        claim["claimed_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    let waited = i64::try_from(second.at_ms).expect("a time") - claimed_at.as_millisecond();
    assert!(waited >= 60_000, "presented again {waited} ms after the claim");
    told(scene, "InDoubt");
    second
}

/// Waits for the Event of this reason, which a replica has told on-call.
fn told(scene: &Scene, reason: &str) {
    eventually(START, || {
        let events =
            get(&["events", "--namespace", scene.agent, "--field-selector", &format!("reason={reason}")]);
        if events["items"].as_array().is_some_and(|items| !items.is_empty()) {
            Ok(())
        } else {
            Err(format!("no Event {reason}\n{}", why(scene.agent)))
        }
    });
}
