//! One agent's login for the time of a test, told by the provider's log: who presented what, and whether what was
//! promised still holds.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_creds_tests::cluster::{eventually, get, kubectl, pipe};
use agent_creds_tests::event::{Presentation, fingerprint, presentations};
use agent_creds_tests::standin::{Fault, How};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::e2e::agent::{apply, ask, document, example, name, ready_pods};
use crate::e2e::platform::{PLATFORM, START, TOKEN_LIFE, why};

/// What a replica waits for the answer to a request, with which it is still in time.
const BUDGET: Duration = Duration::from_secs(15);

/// An agent, logged in; its pods and the provider's special behaviour end with it.
pub(crate) struct Scene {
    pub(crate) agent: &'static str,
    seed: String,
}

impl Scene {
    /// A login for this agent, whose access tokens live so many seconds.
    pub(crate) fn open(agent: &'static str, token_life: u64) -> Self {
        PLATFORM.standin.set_token_life(Some(token_life));
        Self { agent, seed: PLATFORM.log_in(agent) }
    }

    /// Runs the example in so many pods, and waits until each has a token.
    pub(crate) fn run(&self, replicas: u32) -> Vec<Value> {
        apply(&example(self.agent, replicas)).expect("applying the example agent");
        self.all_serve(replicas as usize)
    }

    /// Waits until there are just so many pods, and each serves a token that the provider takes.
    pub(crate) fn all_serve(&self, count: usize) -> Vec<Value> {
        let pods = ready_pods(self.agent, count);
        for pod in &pods {
            eventually(START, || self.serves(name(pod)));
        }
        pods
    }

    /// Whether this pod serves a token that the provider takes.
    pub(crate) fn serves(&self, pod: &str) -> Result<(), String> {
        let answer = ask(self.agent, pod, "/v1/token/pagerduty")?;
        let token = answer["access_token"].as_str().ok_or("no access token")?;
        if PLATFORM.standin.is_active(token) { Ok(()) } else { Err("a token that has ended".to_owned()) }
    }

    /// What the provider was presented with, in order.
    pub(crate) fn presented(&self) -> Vec<Presentation> {
        let log = PLATFORM.standin.log();
        presentations(&log).filter(|p| p.client_id.as_deref() == Some(self.agent)).cloned().collect()
    }

    /// The next request of this agent is spoilt in this way.
    pub(crate) fn spoil(&self, fault: Fault) {
        PLATFORM.standin.fail_next(1, &fault.of_client(self.agent));
    }

    /// Waits until a request was spoilt after the first `before`, and finds whose it is.
    pub(crate) fn spoilt(&self, before: usize) -> Spoilt {
        let presentation = eventually(START, || {
            let presented = self.presented();
            let spoilt = presented[before..].iter().find(|p| p.fault.is_some());
            spoilt.cloned().ok_or_else(|| format!("{presented:#?}\n{}", why(self.agent)))
        });
        let address = presentation.peer.expect("it came from somewhere").to_string();
        let pods = get(&["pods", "--namespace", self.agent]);
        let pods = pods["items"].as_array().expect("a list");
        let holder = pods.iter().find(|pod| pod["status"]["podIP"] == address.as_str());
        let holder = name(holder.unwrap_or_else(|| panic!("no pod has {address}"))).to_owned();
        Spoilt { presentation, holder }
    }

    /// The next answer is held back until it is released, while the provider has done what was asked.
    pub(crate) fn hold(&self) -> Spoilt {
        let before = self.presented().len();
        self.spoil(Fault::new(How::Held));
        self.spoilt(before)
    }

    /// Lets the answer go that is held back, and waits until it is stored.
    pub(crate) fn release(&self, held: &Spoilt) {
        PLATFORM.standin.release();
        let child = held.presentation.child_sha256.as_deref().expect("a refresh token was made");
        eventually(BUDGET, || {
            let document = document(self.agent);
            let spent = document["spent"].as_array().into_iter().flatten();
            if document["refresh"]["fp"] == child || spent.into_iter().any(|fp| fp == child) {
                Ok(())
            } else {
                Err(format!("{child} is not in the state\n{}", why(self.agent)))
            }
        });
    }

    /// Waits until the provider was asked so many times more than it is now.
    pub(crate) fn goes_on(&self, times: usize) {
        let before = self.presented().len();
        eventually(Duration::from_secs(20 * TOKEN_LIFE), || match self.presented().len() - before {
            more if more >= times => Ok(()),
            more => Err(format!("{more} more presentations\n{}", why(self.agent))),
        });
    }

    /// A person wants a refresh now, as in the README.
    pub(crate) fn request(&self) {
        let secret = format!("{}-state", crate::e2e::platform::GRANT);
        eventually(START, || {
            let mut object = get(&["secret", &secret, "--namespace", self.agent]);
            let mut state = document(self.agent);
            state["request"] = json!({"id": "test", "at": jiff::Timestamp::now().to_string()});
            object["data"]["state"] = STANDARD.encode(state.to_string()).into();
            pipe(&object.to_string(), &["replace"])
        });
    }

    /// The promise: one lineage from the login to what is stored now, each token presented once, and nothing revoked.
    pub(crate) fn is_kept(&self) {
        self.is_kept_but_for(&[]);
    }

    /// The same, where these tokens were presented twice since the first answer never came, or said so.
    pub(crate) fn is_kept_but_for(&self, twice: &[&str]) {
        let presented = eventually(START, || {
            let (presented, document) = (self.presented(), document(self.agent));
            let last = presented.iter().rev().find_map(|p| p.child_sha256.as_deref());
            if last.is_some_and(|last| document["refresh"]["fp"] == last) && document["claim"].is_null() {
                Ok(presented)
            } else {
                Err(format!("what is stored is not the last that was made: {presented:#?}"))
            }
        });
        let mut heir = fingerprint(&self.seed);
        for p in &presented {
            assert_eq!(
                p.token_sha256.as_ref(),
                Some(&heir),
                "another token than the last one made: {presented:#?}"
            );
            heir = p.child_sha256.clone().unwrap_or(heir);
        }
        for (token, times) in self.times() {
            let expected = 1 + usize::from(twice.contains(&token.as_str()));
            assert_eq!(times, expected, "presentations of {token}: {presented:#?}");
        }
        assert!(!PLATFORM.standin.is_revoked(&self.seed), "the login is alive");
    }

    /// How often each token was presented.
    pub(crate) fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for token in self.presented().into_iter().filter_map(|p| p.token_sha256) {
            *times.entry(token).or_insert(0) += 1;
        }
        times
    }

    /// uid of the state Secret.
    pub(crate) fn state_uid(&self) -> String {
        let secret =
            get(&["secret", &format!("{}-state", crate::e2e::platform::GRANT), "--namespace", self.agent]);
        secret["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        PLATFORM.standin.stop_failing();
        PLATFORM.standin.set_token_life(Some(TOKEN_LIFE));
        let all = ["delete", "deployment,job", "--all", "--namespace", self.agent, "--cascade=foreground"];
        // Whether that works is no part of the test, which may be failing already.
        let _ = kubectl(&[&all[..], &["--timeout=60s"]].concat());
    }
}

/// A request that is being spoilt.
pub(crate) struct Spoilt {
    pub(crate) presentation: Presentation,
    /// The pod that waits for its answer.
    pub(crate) holder: String,
}

impl Spoilt {
    /// The token that was presented.
    pub(crate) fn token(&self) -> &str {
        self.presentation.token_sha256.as_deref().expect("a refresh token")
    }
}
