//! The environment of a run: cluster objects, provider, sidecars and people. Carries the planned actions out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_tests::api::Api;
use agent_creds_tests::chaos::record::{Fault, Write, Written};
use agent_creds_tests::chaos::schedule::{Action, Answer, Login, Target};
use agent_creds_tests::event::fingerprint;
use agent_creds_tests::standin::{Cut, Fault as Spoil, How, Provider, Standin};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::control_plane::ControlPlane;
use super::fleet::Fleet;
use super::gateway::{Link, document};
use super::ledger::{Ledger, now_ms};
use super::setting::{CLIENT, GRANT_SECRET, STATE_SECRET};

/// Longest wait of a fault for a claim.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(20);
/// Time until a person corrects a wrong login.
const CORRECTED: Duration = Duration::from_secs(7);
/// A longer wait for a replay makes a person log in again.
const LONG_MS: u64 = 8_000;
/// Time that a person needs to log in again.
const LOGS_IN: Duration = Duration::from_secs(3);

/// The environment of a run.
pub(crate) struct Environment {
    pub(crate) api: Api,
    pub(crate) standin: Standin,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) fleet: Fleet,
    pub(crate) plane: Mutex<ControlPlane>,
    /// Every valid login so far, the newest last. Locked while the grant Secret is written.
    pub(crate) logins: Mutex<Vec<String>>,
}

impl Environment {
    /// Carries out a planned action and records it.
    pub(crate) async fn perform(&self, action: Action) {
        match action {
            Action::Kill { target, spool_lost, down_ms } => self.kill(target, spool_lost, down_ms).await,
            Action::Freeze { target, for_ms } => self.freeze(target, for_ms).await,
            Action::Cut { target, stalls, for_ms } => self.cut(target, stalls, for_ms).await,
            Action::Clock { sidecar, offset_s } => {
                self.fleet.all()[sidecar].set_clock(offset_s);
                self.record(now_ms(), action, Some(sidecar));
            }
            Action::SpoilWrite { how, after } => self.ledger.spoil(how, after),
            Action::EtcdFreeze { for_ms } => {
                let Ok(mut plane) = self.plane.try_lock() else { return };
                let from_ms = now_ms();
                plane.freeze(Duration::from_millis(for_ms)).await;
                self.record(from_ms, action, None);
            }
            Action::EtcdKill { down_ms } => {
                let Ok(mut plane) = self.plane.try_lock() else { return };
                let from_ms = now_ms();
                plane.kill(Duration::from_millis(down_ms)).await;
                self.record(from_ms, action, None);
            }
            Action::Snapshot => {
                let plane = self.plane.lock().await;
                let from_ms = now_ms();
                plane.copy();
                self.record(from_ms, action, None);
            }
            Action::Restore => self.set_back().await,
            Action::Wipe => self.wipe().await,
            Action::Login(login) => self.log_in(login).await,
            Action::Ask => self.ask().await,
            Action::Provider { how, committed, calls } => {
                let how = match how {
                    Answer::Status(status) => Spoil::status(status).how,
                    Answer::Hang => How::Hang,
                    Answer::Close => How::Close,
                    Answer::Cut => How::Cut { at: Cut::InRefreshToken, framed: false },
                    Answer::Html => How::Html,
                };
                let spoil = Spoil::new(how);
                // A provider that answers 429 has done nothing.
                let committed = committed && action != too_many(calls);
                self.standin.stop_failing();
                self.standin.fail_next(calls, &if committed { spoil.after_commit() } else { spoil });
                self.record(now_ms(), action, None);
            }
        }
    }

    fn record(&self, from_ms: u64, action: Action, sidecar: Option<usize>) {
        self.ledger.record_fault(Fault { from_ms, to_ms: now_ms(), action, sidecar, spool: None });
    }

    /// Returns the target; `None` if no sidecar claims in time.
    async fn find(&self, target: Target) -> Option<usize> {
        match target {
            Target::Sidecar(sidecar) => Some(sidecar),
            Target::Holder { after_ms } => {
                let mut claims = self.ledger.claims();
                let claim = tokio::time::timeout(CLAIM_TIMEOUT, claims.recv()).await;
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                claim.ok()?.ok()
            }
        }
    }

    async fn kill(&self, target: Target, spool_lost: bool, down_ms: u64) {
        let Some(sidecar) = self.find(target).await else { return };
        let slot = &self.fleet.all()[sidecar];
        // Another fault is in progress there.
        let Ok(mut process) = slot.process.try_lock() else { return };
        let from_ms = now_ms();
        drop(process.take());
        let spool = Some(slot.spool());
        if spool_lost {
            slot.lose_spool();
        }
        tokio::time::sleep(Duration::from_millis(down_ms)).await;
        *process = Some(slot.start());
        let (to_ms, action) = (now_ms(), Action::Kill { target, spool_lost, down_ms });
        self.ledger.record_fault(Fault { from_ms, to_ms, action, sidecar: Some(sidecar), spool });
    }

    async fn freeze(&self, target: Target, for_ms: u64) {
        let Some(sidecar) = self.find(target).await else { return };
        let Ok(process) = self.fleet.all()[sidecar].process.try_lock() else { return };
        let Some(process) = process.as_ref() else { return };
        let from_ms = now_ms();
        process.signal(Signal::STOP);
        tokio::time::sleep(Duration::from_millis(for_ms)).await;
        process.signal(Signal::CONT);
        self.record(from_ms, Action::Freeze { target, for_ms }, Some(sidecar));
    }

    async fn cut(&self, target: Target, stalls: bool, for_ms: u64) {
        let Some(sidecar) = self.find(target).await else { return };
        let Ok(gateway) = self.fleet.all()[sidecar].gateway.try_lock() else { return };
        let from_ms = now_ms();
        gateway.set(if stalls { Link::Stalled } else { Link::Cut });
        tokio::time::sleep(Duration::from_millis(for_ms)).await;
        gateway.set(Link::Open);
        self.record(from_ms, Action::Cut { target, stalls, for_ms }, Some(sidecar));
    }

    async fn set_back(&self) {
        let mut plane = self.plane.lock().await;
        let from_ms = now_ms();
        if !plane.restore().await {
            return;
        }
        self.record(from_ms, Action::Restore, None);
        drop(plane);
        // The grant Secret was rolled back too, so its owner writes it again.
        tokio::time::sleep(CORRECTED).await;
        let logins = self.logins.lock().await;
        self.write_login(logins.last().expect("there is always one")).await;
    }

    async fn wipe(&self) {
        let from_ms = now_ms();
        let wiped = self.api.edit(STATE_SECRET, |secret| {
            secret.as_object_mut().expect("an object").remove("data");
        });
        if wiped.await {
            self.ledger.record_write(Write { at_ms: from_ms, status: 200, ..Write::default() });
            self.record(from_ms, Action::Wipe, None);
        }
    }

    /// Writes a refresh request into the state, as a person does.
    async fn ask(&self) {
        let Some(mut secret) = self.api.get(STATE_SECRET).await else { return };
        let Some(encoded) = secret["data"]["state"].as_str() else { return };
        let decoded = STANDARD.decode(encoded).expect("data is base64");
        let mut state: Value = serde_json::from_slice(&decoded).expect("the state is JSON");
        let at_ms = now_ms();
        let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).expect("a time")).expect("a time");
        state["request"] = json!({"id": format!("chaos-{at_ms}"), "at": at.to_string()});
        secret["data"]["state"] = json!(STANDARD.encode(state.to_string()));
        // A conflict means that a refresh is in progress, which is as good.
        let status = self.api.put(STATE_SECRET, &secret).await.map_or(0, |status| status.as_u16());
        let document = document(secret.to_string().as_bytes());
        self.ledger.record_write(Write { at_ms, status, document, ..Write::default() });
    }

    async fn write_login(&self, token: &str) -> bool {
        let change = |secret: &mut Value| secret["data"]["refresh_token"] = json!(STANDARD.encode(token));
        self.api.edit(GRANT_SECRET, change).await
    }

    async fn log_in(&self, login: Login) {
        let mut logins = self.logins.lock().await;
        let newest = logins.last().expect("there is always one").clone();
        // A person waits until the last login has worked before the next one.
        if !self.has_worked(&newest) {
            return;
        }
        match login {
            Login::New => {
                let token = self.standin.seed(Provider::Generic, CLIENT);
                if self.write_login(&token).await {
                    self.logged_in(login, &token);
                    logins.push(token);
                }
                return;
            }
            Login::Old => {
                let old = logins.iter().rev().nth(1).unwrap_or(&newest).clone();
                self.write_login(&old).await;
                self.logged_in(login, &old);
            }
            Login::Bad => {
                let bad = format!("unknown-{}", now_ms());
                self.write_login(&bad).await;
                self.logged_in(login, &bad);
            }
        }
        tokio::time::sleep(CORRECTED).await;
        self.write_login(&newest).await;
    }

    fn logged_in(&self, login: Login, token: &str) {
        self.ledger.record_login(Written { at_ms: now_ms(), login, token: fingerprint(token) });
    }

    /// Whether the last stored state shows this login as proven.
    fn has_worked(&self, login: &str) -> bool {
        let record = self.ledger.record();
        let last = record.writes.iter().rev().find_map(Write::stored);
        let seed = last.and_then(|document| document.seed.as_ref());
        seed.is_some_and(|seed| seed.proven && seed.token_fp == fingerprint(login))
    }

    /// Logs in again, in an endless loop, whenever the newest login has ended or a long wait begins.
    pub(crate) async fn log_in_again(&self) {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut logins = self.logins.lock().await;
            let ended = self.standin.is_revoked(logins.last().expect("there is always one"));
            if !ended && !self.waits_long() {
                continue;
            }
            tokio::time::sleep(LOGS_IN).await;
            let token = self.standin.seed(Provider::Generic, CLIENT);
            while !self.write_login(&token).await {}
            self.logged_in(Login::New, &token);
            logins.push(token);
        }
    }

    /// Whether a replay has failed and the next one is far away. Such a wait would test nothing.
    fn waits_long(&self) -> bool {
        let record = self.ledger.record();
        let last = record.writes.iter().rev().find_map(Write::stored);
        let doubt = last.and_then(|document| document.doubt.as_ref()).filter(|doubt| doubt.replays > 0);
        doubt.is_some_and(|doubt| {
            let until_ms = u64::try_from(doubt.replay_not_before.as_millisecond()).unwrap_or(0);
            until_ms > now_ms() + LONG_MS
        })
    }

    /// Returns the time until which the state prescribes a wait.
    pub(crate) fn waits_until_ms(&self) -> u64 {
        let record = self.ledger.record();
        let last = record.writes.iter().rev().find_map(Write::stored);
        let doubt = last.and_then(|document| document.doubt.as_ref()).map(|doubt| doubt.replay_not_before);
        let retry = last.and_then(|document| document.retry.as_ref()).map(|retry| retry.not_before);
        let ms = |at: jiff::Timestamp| u64::try_from(at.as_millisecond()).unwrap_or(0);
        doubt.into_iter().chain(retry).map(ms).max().unwrap_or(0)
    }

    /// Stops all sidecars, and returns those that had exited by themselves.
    pub(crate) async fn stop(&self) -> Vec<usize> {
        let mut died = Vec::new();
        for (number, slot) in self.fleet.all().iter().enumerate() {
            if slot.process.lock().await.take().is_none_or(|mut process| process.has_ended()) {
                died.push(number);
            }
        }
        died
    }

    /// Stores the record.
    pub(crate) fn keep(&self, folder: &Path) {
        let mut record = self.ledger.record();
        record.provider = self.standin.log();
        let text = serde_json::to_string(&*record).expect("plain data");
        std::fs::write(folder.join("record.json"), text).expect("writing into our own folder");
    }
}

fn too_many(calls: usize) -> Action {
    Action::Provider { how: Answer::Status(429), committed: true, calls }
}
