//! What a row is played on: a provider of its own behind a gate, a directory of Secrets, and the hands that make time
//! pass.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_creds_tests::authority::Authority;
use agent_creds_tests::event::{Presentation, presentations, revoked};
use agent_creds_tests::sidecar::{LONG_AGO, Secrets, Setup, Sidecar, eventually};
use agent_creds_tests::standin::{Client, ClientAuth, Config, Provider, Standin};
use serde_json::{Value, json};

use super::LOOPBACK;
use super::gate::Gate;

/// The grant, its Secret and its client.
pub(crate) const GRANT: &str = "one";
/// All times of the protocol are multiplied by this.
const SCALE: f64 = 0.04;
/// A claim's term then.
pub(crate) const TERM: Duration = Duration::from_millis(2400);
const CLIENT_SECRET: &str = "the-client's-s3cr%t+/=";

/// Provider, gate and Secrets of one row.
pub(crate) struct Stage {
    pub(crate) standin: Standin,
    pub(crate) gate: Gate,
    pub(crate) secrets: Secrets,
}

/// How a row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All serve a token of a living lineage, and nothing is left open.
    Ready,
    /// The provider has revoked the lineage; a person has to log in.
    Dead,
}

/// From when which token may be presented again: its fingerprint, and milliseconds since 1970.
pub(crate) type Licences = Vec<(String, u64)>;

impl Stage {
    pub(crate) async fn new(authority: &Authority) -> Self {
        let client = Client::generic(GRANT, Some(CLIENT_SECRET), ClientAuth::Post, &["read"]);
        let config =
            Config { clients: vec![client], authority: Some(authority.clone()), ..Config::default() };
        let standin = Standin::start(LOOPBACK, config).await.expect("starting the stand-in");
        let gate = Gate::before(&standin, authority).await;
        let secrets = Secrets::new();
        let seed = standin.seed(Provider::Generic, GRANT);
        let yaml = format!(
            "token_url: {}\nclient_auth: post\nallow_private: true\nscopes: [read]\n",
            gate.token_url()
        );
        let keys = [
            ("client_id", GRANT),
            ("client_secret", CLIENT_SECRET),
            ("refresh_token", &seed),
            ("grant.yaml", &yaml),
        ];
        secrets.grant(GRANT, "oauth2", &keys);
        Self { standin, gate, secrets }
    }

    /// A sidecar of this grant.
    pub(crate) fn sidecar(&self) -> Setup {
        let scale = format!("--time-scale={SCALE}");
        Setup::new(&self.secrets).trust(self.standin.ca_pem()).grant(GRANT).argument(&scale)
    }

    pub(crate) fn state(&self) -> Value {
        self.secrets.state(GRANT)
    }

    pub(crate) fn presented(&self) -> Vec<Presentation> {
        presentations(&self.standin.log()).cloned().collect()
    }

    pub(crate) fn is_revoked(&self) -> bool {
        revoked(&self.standin.log()).next().is_some()
    }

    /// Waits until whoever runs on has done what it may about an exchange that somebody else left: it has refreshed
    /// itself, or has noted what is open, and holds no claim.
    pub(crate) async fn is_acted_upon(&self) {
        eventually("the successor has acted", async || {
            let state = self.state();
            let noted = ["doubt", "retry", "verdict"].iter().any(|part| state[*part].is_object());
            if state["claim"].is_null() && (noted || !is_old(&state)) {
                Ok(())
            } else {
                Err(state["claim"].clone())
            }
        })
        .await;
    }

    /// Waits until nothing is left open, and lets every deadline pass on the way, the last responsible moment too;
    /// but not while one of these sidecars has something to tell.
    pub(crate) async fn settles(&self, sidecars: &[&Sidecar], licences: &mut Licences) -> End {
        eventually("all is settled", async || {
            let state = self.state();
            let open: BTreeSet<_> = ["claim", "doubt", "retry", "verdict"]
                .into_iter()
                .filter(|part| state[*part].is_object())
                .collect();
            let mut shown = BTreeSet::new();
            for sidecar in sidecars {
                shown.insert(sidecar.grant(GRANT).await["state"].as_str().unwrap_or_default().to_owned());
            }
            let all = |one: &str| shown.len() == 1 && shown.contains(one);
            let dead = self.is_revoked();
            if dead && all("reauth_required") {
                return Ok(End::Dead);
            }
            let newest = self.presented().into_iter().rev().find_map(|seen| seen.child_sha256);
            if !dead
                && open.is_empty()
                && all("ready")
                && !is_old(&state)
                && state["refresh"]["fp"].as_str() == newest.as_deref()
            {
                return Ok(End::Ready);
            }
            if !open.contains("claim") && !sidecars.iter().any(|sidecar| uncommitted(sidecar).is_some()) {
                if dead && open.is_empty() && !is_old(&state) {
                    // It looks well until it is asked for the next time.
                    self.secrets.age(GRANT);
                } else if waits(&state) {
                    self.let_deadlines_pass(licences);
                }
            }
            Err((shown, open, dead))
        })
        .await
    }

    fn let_deadlines_pass(&self, licences: &mut Licences) {
        self.secrets.hurry(GRANT);
        self.secrets.edit_state(GRANT, |state| {
            for (part, fp) in [("doubt", "parent_fp"), ("verdict", "fp")] {
                licences.extend(state[part][fp].as_str().map(|fp| (fp.to_owned(), now_ms())));
            }
            // The end of the token is so near that the last responsible moment is past, and it still serves.
            if state["doubt"].is_object() {
                let near = SystemTime::now() + Duration::from_secs(90);
                state["access"]["expires_at"] =
                    json!(jiff::Timestamp::try_from(near).expect("a time").to_string());
            }
        });
    }
}

/// The presentation in a sidecar's spool that is not recorded in the store yet.
pub(crate) fn uncommitted(sidecar: &Sidecar) -> Option<Value> {
    let text =
        std::fs::read(sidecar.volumes().path().join("spool").join(format!("uncommitted-{GRANT}.json")))
            .ok()?;
    let record: Value = serde_json::from_slice(&text).ok()?;
    record.get("uncommitted").cloned()
}

/// Whether the access token is one that the test has aged.
fn is_old(state: &Value) -> bool {
    state["access"]["issued_at"] == LONG_AGO
}

/// Whether there is a deadline that has not been made to pass.
fn waits(state: &Value) -> bool {
    let deadlines = [
        ("retry", "not_before"),
        ("doubt", "replay_not_before"),
        ("verdict", "next_probe"),
        ("last", "redeemed_at"),
    ];
    deadlines.iter().any(|(part, at)| state[*part][*at].as_str().is_some_and(|at| at != LONG_AGO))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_millis()).expect("a time that fits")
}
