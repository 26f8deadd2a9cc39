//! Pods that are deleted by force while the provider has their request. The kubelet gives them two seconds; then
//! process and spool are lost (L2 and L3 of the README), and no replica can know whether the provider processed the
//! request. So the token is presented again only at the last responsible moment. If the request was not processed, the
//! grant recovers; if it was, the login ends with an Event.

use std::thread;
use std::time::Duration;

use agent_creds_tests::cluster::{eventually, get, kubectl};
use agent_creds_tests::event::{Presentation, revoked};
use agent_creds_tests::standin::{Fault, How};
use serde_json::Value;

use crate::e2e::agent::{apply, document, example, grant, name, restarts};
use crate::e2e::login::{Login, Spoilt};
use crate::e2e::platform::{PLATFORM, START, why};

/// Lifetime of an access token in seconds. The claim is in doubt after a minute, and a refresh is due at 75 % or more.
const LIFE: u64 = 125;
/// Time from a claim to the allowed replay: the claim term, which is later than the last responsible moment for such
/// short lives, less the tolerance of the replicas' clocks, which follow the API server's clock in whole seconds.
const LICENSED_MS: i64 = 60_000 - 1_000;

#[test]
#[ignore = "needs the node: make test starts it"]
fn a_token_of_a_pod_deleted_by_force_is_presented_again_only_when_allowed() {
    let logins = [Login::open("unsent", LIFE), Login::open("unanswered", LIFE)];
    for login in &logins {
        apply(&example(login.agent, 2)).expect("applying the example agent");
    }
    let faults = [Fault::new(How::Hang), Fault::new(How::Hang).after_commit()];
    let pods = logins.each_ref().map(|login| login.all_serve(2));
    for (login, fault) in logins.iter().zip(faults) {
        login.spoil(fault);
        login.request();
    }
    let [(first, replayed), (lost, refused)] = thread::scope(|threads| {
        let waiting = [0, 1].map(|place| {
            let (login, pods) = (&logins[place], &pods[place]);
            threads.spawn(move || {
                let lost = Lost::by_force(login, login.spoilt(0));
                let again = lost.again(pods);
                (lost.first, again)
            })
        });
        waiting.map(|thread| thread.join().expect("the token is presented again"))
    });
    let [unsent, unanswered] = &logins;

    assert_eq!(replayed.outcome, "granted", "the provider had not processed the first: {replayed:?}");
    unsent.all_serve(2);
    unsent.is_kept_but_for(&[first.token()]);

    assert_eq!(refused.outcome, "invalid_grant", "a strict provider revokes the login: {refused:?}");
    let family = refused.family.as_deref().expect("a known token");
    assert_eq!(revoked(&PLATFORM.standin.log()).filter(|dead| *dead == family).count(), 1);
    for pod in get(&["pods", "--namespace", unanswered.agent])["items"].as_array().expect("a list") {
        eventually(START, || match grant(unanswered.agent, name(pod))? {
            grant if grant["state"] == "reauth_required" => Ok(()),
            grant => Err(grant.to_string()),
        });
    }
    wait_for_event(unanswered, "InvalidGrant");
    assert_eq!(unanswered.times().get(lost.token()), Some(&2), "the token is not presented a third time");
    PLATFORM.log_in(unanswered.agent);
    unanswered.all_serve(2);
    for login in &logins {
        assert_eq!(restarts(login.agent), [].into());
    }
}

/// A presentation whose holder was deleted.
struct Lost<'a> {
    login: &'a Login,
    first: Spoilt,
    /// Time of the allowed replay, in Unix milliseconds.
    licensed_ms: i64,
}

impl<'a> Lost<'a> {
    fn by_force(login: &'a Login, first: Spoilt) -> Self {
        let document = document(login.agent);
        assert_eq!(document["claim"]["parent_fp"], first.token());
        let claimed_at: jiff::Timestamp =
            document["claim"]["claimed_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
        let force =
            ["delete", "pod", &first.holder, "--namespace", login.agent, "--grace-period=0", "--force"];
        kubectl(&force).expect("deleting by force");
        Self { login, first, licensed_ms: claimed_at.as_millisecond() + LICENSED_MS }
    }

    /// Waits for the second presentation, while the other pod serves the access token. It must not come before it is
    /// allowed.
    fn again(&self, pods: &[Value]) -> Presentation {
        let Self { login, first, .. } = self;
        let twice = || {
            let mut same =
                login.presented().into_iter().filter(|p| p.token_sha256.as_deref() == Some(first.token()));
            same.nth(1)
        };
        let survivor = pods.iter().map(name).find(|pod| *pod != first.holder).expect("there are two");
        let mut doubted = false;
        let second = eventually(Duration::from_secs(LIFE), || {
            let status = grant(login.agent, survivor);
            let served = login.serves(survivor);
            match twice() {
                Some(second) => return Ok(second),
                None => assert_eq!(served, Ok(()), "{}", why(login.agent)),
            }
            doubted |= status?["reason"] == "in_doubt";
            Err(format!("presented once: {}", document(login.agent)))
        });
        assert!(doubted, "the agent gets the reason in_doubt");
        wait_for_event(login, "InDoubt");
        let early_ms = self.licensed_ms - i64::try_from(second.at_ms).expect("a time");
        assert!(early_ms <= 0, "presented again {early_ms} ms too early");
        second
    }
}

/// Waits for an Event with this reason.
fn wait_for_event(login: &Login, reason: &str) {
    eventually(START, || {
        let events =
            get(&["events", "--namespace", login.agent, "--field-selector", &format!("reason={reason}")]);
        if events["items"].as_array().is_some_and(|items| !items.is_empty()) {
            Ok(())
        } else {
            Err(format!("no Event {reason}\n{}", why(login.agent)))
        }
    });
}
