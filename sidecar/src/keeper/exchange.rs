//! One exchange, from a decision to a stored answer: connect, claim, send within the window, record. What was
//! received is written until it is stored; only then is it served.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Keeper, Read};
use crate::grant::answer::{Answer, Reply};
use crate::grant::commit::{Presentation, record};
use crate::grant::document::{Claim, Document};
use crate::grant::fingerprint::hex;
use crate::grant::machine::{Attempt, Login};
use crate::outcome::{Outcome, Reason};
use crate::present::connect::Connection;
use crate::present::request;
use crate::present::send::send;
use crate::store::{Object, Store, StoreError};

/// Longest pause between two tries to store an answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl<S: Store> Keeper<S> {
    /// Carries out an attempt. Returns when to look again.
    pub(super) async fn exchange(&mut self, read: Read<S::Version>, attempt: Attempt) -> Timestamp {
        let Read { login, state, .. } = read;
        let started = Instant::now();
        let grant = &login.grant;
        let budget = Duration::try_from(self.tools.timing.budget).unwrap_or_default();
        let connection = self.tools.connector.connect(&grant.token_url, grant.allow_private, budget).await;

        let claim_began = (Instant::now(), self.now());
        let id = hex(&random::<16>());
        let document = attempt.claimed(&id, &self.tools.holder, claim_began.1, self.tools.timing);
        let Some(claim) = document.claim.clone() else {
            return self.now();
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(reason) => {
                // Nothing was claimed: the backoff goes in under a claim that never stood.
                let answer = Answer::of(Reply::NotSent(reason));
                let presented =
                    Presented { claim: &claim, login: &login, answer: &answer, sent_at: self.now() };
                let (next, outcome) = self.recorded(&presented, &document, 0.5);
                self.count(outcome, &answer, &login, started);
                let read = Read { login, document, state };
                return match next {
                    Some(next) => self.write(&read, &next).await,
                    None => self.now() + super::RACE,
                };
            }
        };
        if self.tools.phase.borrow().is_leaving() {
            return self.now() + super::REREAD;
        }
        self.unsent = Some(id);
        let (state, document) = match self.claim(&claim, document, &state).await {
            Ok(claimed) => claimed,
            // Who lost the race reads what the winner wrote; who got no answer waits for the store.
            Err(StoreError::Conflict) => return self.now() + super::RACE,
            Err(error) => return self.block(&error),
        };
        self.blocked = None;
        let sent_at = self.now();
        let reply = self.send_in_time(connection, &login, &attempt, claim_began, budget).await;
        let presented = Presented { claim: &claim, login: &login, answer: &Answer::of(reply), sent_at };
        self.unsent = None;
        self.store_answer(&presented, document, state, started).await;
        self.now()
    }

    /// What the answer makes of the document, as things stand now.
    fn recorded(
        &self,
        presented: &Presented<'_>,
        document: &Document,
        random: f64,
    ) -> (Option<Document>, Outcome) {
        let Presented { claim, login, answer, sent_at } = *presented;
        let (now, timing) = (self.now(), self.tools.timing);
        record(document, &Presentation { claim, login, answer, sent_at, now, random, timing })
    }

    /// Writes the claim. After an unclear answer a read tells: our own id there means that it is ours.
    async fn claim(
        &self,
        claim: &Claim,
        document: Document,
        state: &Object<S::Version>,
    ) -> Result<(Object<S::Version>, Document), StoreError> {
        match self.tools.store.write(&self.state_name, &state.version, document.to_json()).await {
            Ok(object) => Ok((object, document)),
            Err(StoreError::Unavailable(_)) => match self.read_state().await {
                Ok((object, found)) if found.claim.as_ref().is_some_and(|held| held.id == claim.id) => {
                    Ok((object, found))
                }
                Ok(_) => Err(StoreError::Conflict),
                Err(_) => Err(StoreError::Unavailable("claim")),
            },
            Err(error) => Err(error),
        }
    }

    /// Directly before the first byte both clocks must show that the claim is fresh: a process that was frozen in
    /// between must not send when it wakes.
    async fn send_in_time(
        &self,
        connection: Connection,
        login: &Login,
        attempt: &Attempt,
        (began, began_at): (Instant, Timestamp),
        budget: Duration,
    ) -> Reply {
        let Ok(request) = request::build(&login.grant, &attempt.token) else {
            return Reply::NotSent(Reason::GrantInvalid);
        };
        let window = self.tools.timing.window;
        let wall = self.now().duration_since(began_at);
        let fresh = SignedDuration::try_from(began.elapsed()).is_ok_and(|elapsed| elapsed <= window)
            && (SignedDuration::ZERO..=window).contains(&wall);
        if !fresh || self.tools.phase.borrow().is_leaving() {
            return Reply::NotSent(Reason::GaveUp);
        }
        send(connection, request, budget).await
    }

    /// Writes what came of it until it is stored, on each conflict on top of what somebody else wrote.
    async fn store_answer(
        &self,
        presented: &Presented<'_>,
        mut document: Document,
        mut state: Object<S::Version>,
        started: Instant,
    ) {
        let Presented { login, answer, .. } = *presented;
        let random = f64::from(u16::from_be_bytes(random())) / f64::from(u16::MAX);
        let mut pause = Duration::from_millis(100);
        loop {
            let now = self.now();
            let (next, outcome) = self.recorded(presented, &document, random);
            let Some(next) = next else {
                self.tools.metrics.unpersisted(&self.shelf.secret, false);
                return self.count(outcome, answer, login, started);
            };
            match self.tools.store.write(&self.state_name, &state.version, next.to_json()).await {
                Ok(_) => {
                    self.tools.metrics.unpersisted(&self.shelf.secret, false);
                    self.shelf.put(&next, Some(login), None, now);
                    return self.count(outcome, answer, login, started);
                }
                Err(error) => {
                    let received =
                        matches!(answer, Answer::Granted(_) | Answer::InDoubt { salvaged: Some(_), .. });
                    self.tools.metrics.unpersisted(&self.shelf.secret, received);
                    if error != StoreError::Conflict {
                        let mut trouble = super::store_trouble(&self.state_name, &error);
                        if received {
                            trouble.message += "; a received refresh token waits to be stored, and no token that came with \
                                                it is served before";
                        }
                        self.shelf.trouble(trouble, now);
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                }
            }
            // The write may have taken place all the same: then the child is found where it belongs.
            match self.read_state().await {
                // Emptied meanwhile: what was read before is still true.
                Ok((object, found)) if found.seed.is_none() => state = object,
                Ok((object, found)) => (state, document) = (object, found),
                Err(trouble) => {
                    self.shelf.trouble(trouble, self.now());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn count(&self, outcome: Outcome, answer: &Answer, login: &Login, started: Instant) {
        let reason = match answer {
            Answer::Granted(_) if outcome == Outcome::ScopeDenied => Some(Reason::ScopeDowngraded),
            Answer::Granted(_) => None,
            Answer::NotCommitted { reason, .. } => Some(*reason),
            Answer::InDoubt { .. } => Some(Reason::InDoubt),
            Answer::InvalidGrant => Some(Reason::InvalidGrant),
        };
        let cause = if let Answer::InDoubt { cause, .. } = answer { cause } else { "" };
        let provider = login.grant.provider.name.as_str();
        self.tools.metrics.refreshed(&self.shelf.secret, provider, outcome, reason, started.elapsed());
        let (outcome, reason) = (outcome.as_str(), reason.map_or("", Reason::as_str));
        tracing::info!(grant = %self.shelf.secret, provider, outcome, reason, cause, "refresh");
    }
}

/// A presentation and its answer, before it is recorded.
#[derive(Clone, Copy)]
struct Presented<'a> {
    claim: &'a Claim,
    login: &'a Login,
    answer: &'a Answer,
    sent_at: Timestamp,
}

#[expect(
    clippy::expect_used,
    reason = "without the system's random numbers nothing here is safe: the process ends"
)]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("random numbers from the system");
    bytes
}
