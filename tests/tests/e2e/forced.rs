//! Pods that are deleted by force while the provider has their request. The kubelet gives them two seconds, then process
//! and spool are gone (L2 and L3 of the README): what the provider made of it nobody will ever know. So nothing is presented
//! until waiting no longer costs nothing; then what was not carried out is made good, and what was ends the login aloud.

use std::thread;
use std::time::Duration;

use agent_creds_tests::cluster::{eventually, get, kubectl};
use agent_creds_tests::event::{Presentation, revoked};
use agent_creds_tests::standin::{Fault, How};
use serde_json::Value;

use crate::e2e::agent::{apply, document, example, grant, name, restarts};
use crate::e2e::platform::{PLATFORM, START, why};
use crate::e2e::scene::{Scene, Spoilt};

/// Seconds that an access token lives. It is in doubt from a minute after the claim, and a refresh is due at 75 % or more.
const LIFE: u64 = 125;
/// The term of a claim, after which it is taken for silent, and another presentation is licensed for lives so short; less
/// what the replicas' time may be off, which is the API server's and tells seconds.
const LICENSED_MS: i64 = 60_000 - 1_000;

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_holder_deleted_by_force_leaves_a_doubt_that_waits_for_its_licence() {
    let scenes = [Scene::open("unsent", LIFE), Scene::open("unanswered", LIFE)];
    for scene in &scenes {
        apply(&example(scene.agent, 2)).expect("applying the example agent");
    }
    let faults = [Fault::new(How::Hang), Fault::new(How::Hang).after_commit()];
    let pods = scenes.each_ref().map(|scene| scene.all_serve(2));
    for (scene, fault) in scenes.iter().zip(faults) {
        scene.spoil(fault);
        scene.request();
    }
    let [(first, replayed), (lost, refused)] = thread::scope(|threads| {
        let waiting = [0, 1].map(|place| {
            let (scene, pods) = (&scenes[place], &pods[place]);
            threads.spawn(move || {
                let lost = Lost::by_force(scene, scene.spoilt(0));
                let again = lost.again(pods);
                (lost.first, again)
            })
        });
        waiting.map(|thread| thread.join().expect("presented again when it may be"))
    });
    let [unsent, unanswered] = &scenes;

    assert_eq!(replayed.outcome, "granted", "the provider had done nothing: {replayed:?}");
    unsent.all_serve(2);
    unsent.is_kept_but_for(&[first.token()]);

    assert_eq!(refused.outcome, "invalid_grant", "a strict provider ends the login: {refused:?}");
    let family = refused.family.as_deref().expect("the server knows it");
    assert_eq!(revoked(&PLATFORM.standin.log()).filter(|dead| *dead == family).count(), 1);
    for pod in get(&["pods", "--namespace", unanswered.agent])["items"].as_array().expect("a list") {
        eventually(START, || match grant(unanswered.agent, name(pod))? {
            grant if grant["state"] == "reauth_required" => Ok(()),
            grant => Err(grant.to_string()),
        });
    }
    told(unanswered, "InvalidGrant");
    assert_eq!(unanswered.times().get(lost.token()), Some(&2), "and nothing is tried on");
    PLATFORM.log_in(unanswered.agent);
    unanswered.all_serve(2);
    for scene in &scenes {
        assert_eq!(restarts(scene.agent), [].into());
    }
}

/// A presentation whose holder is no more.
struct Lost<'a> {
    scene: &'a Scene,
    first: Spoilt,
    /// When another one is licensed, in milliseconds since 1970.
    licensed_ms: i64,
}

impl<'a> Lost<'a> {
    fn by_force(scene: &'a Scene, first: Spoilt) -> Self {
        let document = document(scene.agent);
        assert_eq!(document["claim"]["parent_fp"], first.token());
        let claimed_at: jiff::Timestamp =
            document["claim"]["claimed_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
        let force =
            ["delete", "pod", &first.holder, "--namespace", scene.agent, "--grace-period=0", "--force"];
        kubectl(&force).expect("deleting by force");
        Self { scene, first, licensed_ms: claimed_at.as_millisecond() + LICENSED_MS }
    }

    /// Waits for the second presentation, while the other pod serves the access token on; it comes when it is licensed.
    fn again(&self, pods: &[Value]) -> Presentation {
        let Self { scene, first, .. } = self;
        let twice = || {
            let mut same =
                scene.presented().into_iter().filter(|p| p.token_sha256.as_deref() == Some(first.token()));
            same.nth(1)
        };
        let survivor = pods.iter().map(name).find(|pod| *pod != first.holder).expect("there are two");
        let mut doubted = false;
        let second = eventually(Duration::from_secs(LIFE), || {
            let status = grant(scene.agent, survivor);
            let served = scene.serves(survivor);
            match twice() {
                Some(second) => return Ok(second),
                None => assert_eq!(served, Ok(()), "{}", why(scene.agent)),
            }
            doubted |= status?["reason"] == "in_doubt";
            Err(format!("presented once: {}", document(scene.agent)))
        });
        assert!(doubted, "the agent could read why");
        told(scene, "InDoubt");
        let early_ms = self.licensed_ms - i64::try_from(second.at_ms).expect("a time");
        assert!(early_ms <= 0, "presented again {early_ms} ms too early");
        second
    }
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
