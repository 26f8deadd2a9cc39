//! One agent's login during a test. The provider's log shows which tokens were presented, and whether the grant
//! survived.

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

/// A replica's budget for an answer.
const BUDGET: Duration = Duration::from_secs(15);

/// A logged-in agent. Dropping it deletes its pods and resets the provider.
pub(crate) struct Login {
    pub(crate) agent: &'static str,
    seed: String,
}

impl Login {
    /// Creates a login for this agent. `token_life` is the lifetime of access tokens in seconds.
    pub(crate) fn open(agent: &'static str, token_life: u64) -> Self {
        PLATFORM.standin.set_token_life(Some(token_life));
        Self { agent, seed: PLATFORM.log_in(agent) }
    }

    /// Runs the example with `replicas` pods, and waits until each has a token.
    pub(crate) fn run(&self, replicas: u32) -> Vec<Value> {
        apply(&example(self.agent, replicas)).expect("applying the example agent");
        self.all_serve(replicas as usize)
    }

    /// Waits until there are exactly `count` pods and each serves a valid token.
    pub(crate) fn all_serve(&self, count: usize) -> Vec<Value> {
        let pods = ready_pods(self.agent, count);
        for pod in &pods {
            eventually(START, || self.serves(name(pod)));
        }
        pods
    }

    /// Whether this pod serves a valid token.
    pub(crate) fn serves(&self, pod: &str) -> Result<(), String> {
        let answer = ask(self.agent, pod, "/v1/token/pagerduty")?;
        let token = answer["access_token"].as_str().ok_or("no access token")?;
        if PLATFORM.standin.is_active(token) { Ok(()) } else { Err("an expired token".to_owned()) }
    }

    /// Returns the presentations of this agent's tokens, in order.
    pub(crate) fn presented(&self) -> Vec<Presentation> {
        let log = PLATFORM.standin.log();
        presentations(&log).filter(|p| p.client_id.as_deref() == Some(self.agent)).cloned().collect()
    }

    /// Makes the agent's next request fail.
    pub(crate) fn spoil(&self, fault: Fault) {
        PLATFORM.standin.fail_next(1, &fault.of_client(self.agent));
    }

    /// Waits for a failed request after the first `before` presentations, and finds the pod that sent it.
    pub(crate) fn spoilt(&self, before: usize) -> Spoilt {
        let presentation = eventually(START, || {
            let presented = self.presented();
            let spoilt = presented[before..].iter().find(|p| p.fault.is_some());
            spoilt.cloned().ok_or_else(|| format!("{presented:#?}\n{}", why(self.agent)))
        });
        let address = presentation.peer.expect("a peer address").to_string();
        let pods = get(&["pods", "--namespace", self.agent]);
        let pods = pods["items"].as_array().expect("a list");
        let holder = pods.iter().find(|pod| pod["status"]["podIP"] == address.as_str());
        let holder = name(holder.unwrap_or_else(|| panic!("no pod has {address}"))).to_owned();
        Spoilt { presentation, holder }
    }

    /// Holds the next answer back, after the provider has processed the request.
    pub(crate) fn hold(&self) -> Spoilt {
        let before = self.presented().len();
        self.spoil(Fault::new(How::Held));
        self.spoilt(before)
    }

    /// Releases the held answer, and waits until it is stored.
    pub(crate) fn release(&self, held: &Spoilt) {
        PLATFORM.standin.release();
        let child = held.presentation.child_sha256.as_deref().expect("a refresh token was issued");
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

    /// Waits for `times` more presentations.
    pub(crate) fn goes_on(&self, times: usize) {
        let before = self.presented().len();
        eventually(Duration::from_secs(20 * TOKEN_LIFE), || match self.presented().len() - before {
            more if more >= times => Ok(()),
            more => Err(format!("{more} more presentations\n{}", why(self.agent))),
        });
    }

    /// Requests a refresh, as a person does (README).
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

    /// Checks the promise: there is one lineage from the login to the stored token, each token was presented once, and
    /// nothing was revoked.
    pub(crate) fn is_kept(&self) {
        self.is_kept_but_for(&[]);
    }

    /// Checks the same, where these tokens were presented twice because the first answer did not arrive or asked for a
    /// retry.
    pub(crate) fn is_kept_but_for(&self, twice: &[&str]) {
        let presented = eventually(START, || {
            let (presented, document) = (self.presented(), document(self.agent));
            let last = presented.iter().rev().find_map(|p| p.child_sha256.as_deref());
            if last.is_some_and(|last| document["refresh"]["fp"] == last) && document["claim"].is_null() {
                Ok(presented)
            } else {
                Err(format!("the stored token is not the last issued one: {presented:#?}"))
            }
        });
        let mut current = fingerprint(&self.seed);
        for p in &presented {
            assert_eq!(
                p.token_sha256.as_ref(),
                Some(&current),
                "each presented token is the last issued one: {presented:#?}"
            );
            current = p.child_sha256.clone().unwrap_or(current);
        }
        for (token, times) in self.times() {
            let expected = 1 + usize::from(twice.contains(&token.as_str()));
            assert_eq!(times, expected, "presentations of {token}: {presented:#?}");
        }
        assert!(!PLATFORM.standin.is_revoked(&self.seed), "the login is not revoked");
    }

    /// Returns the number of presentations of each token.
    pub(crate) fn times(&self) -> BTreeMap<String, usize> {
        let mut times = BTreeMap::new();
        for token in self.presented().into_iter().filter_map(|p| p.token_sha256) {
            *times.entry(token).or_insert(0) += 1;
        }
        times
    }

    /// Returns the uid of the state Secret.
    pub(crate) fn state_uid(&self) -> String {
        let secret =
            get(&["secret", &format!("{}-state", crate::e2e::platform::GRANT), "--namespace", self.agent]);
        secret["metadata"]["uid"].as_str().expect("a uid").to_owned()
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        PLATFORM.standin.stop_failing();
        PLATFORM.standin.set_token_life(Some(TOKEN_LIFE));
        let all = ["delete", "deployment,job", "--all", "--namespace", self.agent, "--cascade=foreground"];
        // The test may be failing already, so an error here is ignored.
        let _ = kubectl(&[&all[..], &["--timeout=60s"]].concat());
    }
}

/// A request whose answer fails or is held back.
pub(crate) struct Spoilt {
    pub(crate) presentation: Presentation,
    /// The pod that waits for its answer.
    pub(crate) holder: String,
}

impl Spoilt {
    /// Returns the fingerprint of the presented token.
    pub(crate) fn token(&self) -> &str {
        self.presentation.token_sha256.as_deref().expect("a refresh token")
    }
}
