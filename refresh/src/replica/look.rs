//! What a replica does after it has read both Secrets: it first settles what was left over, then decides.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Blocked, Effect, Found, Moment, Phase, Replica, Seen, WriteError};
use crate::clients;
use crate::condition::Condition;
use crate::decision::{Step, is_wanted, next};
use crate::document::{Document, Spare};
use crate::memory::{is_behind, knows, orphans};
use crate::reason::Reason;
use crate::seed::keep_spare;
use crate::timing::{REREAD, Timing};
use crate::view::View;

/// Pause after a Secret that a person has to correct.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// Longest pause between two writes that the store refuses.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// Pause after a conflict, so that the winner's write can be read.
const RACE: SignedDuration = SignedDuration::from_millis(200);
/// Longest interval between two redemptions that keep a grant alive, in days.
const KEEP_ALIVE_DAYS: i64 = 7;

impl Replica {
    /// Observes what was read, and decides.
    pub(super) fn look(&mut self, seen: Seen, moment: &Moment) -> Effect {
        match self.observe(seen, moment) {
            Ok(()) => self.decide(moment),
            Err(wait) => Effect::Wait(wait),
        }
    }

    /// Takes over what was read. One Secret counts even where the other could not be read.
    pub(super) fn observe(&mut self, seen: Seen, moment: &Moment) -> Result<(), Timestamp> {
        self.condition = None;
        match seen.login {
            Ok(login) => {
                // Not at the first read: replicas start at different times.
                if self.login.as_ref().is_some_and(|before| *before != login) {
                    self.informed = moment.boot;
                }
                self.login = Some(login);
            }
            Err(condition) => self.condition = Some(condition),
        }
        let login_unreadable = self.condition.is_some();
        let found = match seen.state {
            Ok(found) => found,
            Err(condition) => {
                self.reset_silence();
                self.restart_settling();
                self.informed = moment.boot;
                let pause = self.pause(condition.reason, moment);
                self.condition = self.condition.take().or(Some(condition));
                return Err(moment.now + pause);
            }
        };
        if login_unreadable {
            self.reset_silence();
        }
        // A restored store may count its versions anew, so the content is compared too.
        let same = found.document.as_ref().is_ok_and(|document| *document == self.stored);
        let before = self.version.take().filter(|(version, _)| same && *version == found.version);
        let since = before.and_then(|(_, since)| since).unwrap_or(moment.boot);
        self.version = Some((found.version.clone(), Some(since)));
        self.home.clone_from(&found.home);
        self.remember(found, moment)
    }

    /// Keeps the furthest document and the tokens that the found one lacks.
    fn remember(&mut self, found: Found, moment: &Moment) -> Result<(), Timestamp> {
        let memory = self.memory.as_ref().filter(|_| self.settings.safeguards.memory_repairs());
        let readable = found.document.as_ref().map_err(|unusable| unusable.error);
        let behind = memory.is_some_and(|memory| is_behind(readable, memory));
        match found.document {
            Ok(document) => {
                let lost = memory.filter(|_| !behind).map(|memory| orphans(&document, memory));
                for lost in lost.into_iter().flatten() {
                    self.orphans.retain(|before| before.fp != lost.fp);
                    self.orphans.push(lost);
                }
                if !behind {
                    self.orphans.retain(|orphan| is_lost(&document, orphan));
                }
                if document.seed.is_some() && !behind {
                    self.memory = Some(document.clone());
                }
                self.stored = document;
            }
            Err(_) if behind => self.stored = Document::default(),
            Err(unusable) => {
                self.condition = self.condition.take().or(Some(unusable.condition));
                return Err(moment.now + PAUSE);
            }
        }
        Ok(())
    }

    /// Returns what to do, given the stored document.
    pub(super) fn decide(&mut self, moment: &Moment) -> Effect {
        (self.nothing_wanted, self.due) = (false, None);
        if let Some(blocked) = self.blocked.as_ref().filter(|blocked| blocked.until > moment.now) {
            return Effect::Wait(blocked.until);
        }
        if let Some(repair) = self.repair() {
            return self.write(repair);
        }
        if self.uncommitted.is_some() {
            return self.settle_uncommitted(moment);
        }
        // A claim of this pod that the spool does not know: nothing was sent under it.
        let prefix = format!("{}/", self.settings.pod);
        let unsent = self.stored.claim.as_ref().filter(|claim| {
            claim.holder.starts_with(&prefix) && self.closed_claim.as_ref() != Some(&claim.id)
        });
        if unsent.is_some() {
            return self.write(Document { claim: None, ..self.stored.clone() });
        }
        let Some(login) = self.login.clone().filter(|_| self.condition.is_none()) else {
            return Effect::Wait(moment.now + PAUSE);
        };
        let spread = f64::from(self.settings.spread) / f64::from(u16::MAX);
        let silent = self.silent_claim(moment.boot, spread);
        self.yields &= self.stored.retry.is_some();
        let idle_days = login.grant.rules.idle_days.map_or(KEEP_ALIVE_DAYS * 4, i64::from);
        let view = View {
            login: &login,
            document: &self.stored,
            home: self.home.as_ref(),
            now: moment.now,
            silent_claim: silent.as_deref(),
            settled_at: self.settled_at(moment),
            informed_at: then(self.informed, moment),
            turn: self.turn(spread),
            rejected: self.rejected.as_deref(),
            keep_alive: self
                .settings
                .keep_alive
                .then(|| SignedDuration::from_hours((idle_days * 6).min(KEEP_ALIVE_DAYS * 24))),
            spread,
            yields: self.yields,
            draining: moment.draining,
            timing: self.settings.timing,
            safeguards: self.settings.safeguards,
        };
        let reread = moment.now + REREAD.mul_f64(0.9 + 0.2 * fraction(moment.random));
        self.nothing_wanted = self.settings.keep_alive && !is_wanted(&view);
        let step = next(&view);
        if matches!(step, Step::Wait(_)) {
            self.clear_access_failure();
        }
        match step {
            Step::Wait(Some(at)) => {
                self.due = Some(at).filter(|_| self.settings.keep_alive);
                Effect::Wait(at.min(reread))
            }
            Step::Wait(None) if self.stored.claim.is_some() => {
                Effect::Wait(moment.now + self.patience(spread))
            }
            Step::Wait(None) => Effect::Wait(reread),
            Step::Refuse(reason) => {
                self.condition = Some(Condition::of(reason));
                Effect::Wait(reread)
            }
            Step::Write(document) => self.write(*document),
            Step::Claim(attempt) => {
                self.phase = Phase::Connecting(Box::new((login.clone(), *attempt)));
                Effect::Connect(Box::new(login))
            }
        }
    }

    /// Returns the document that repairs the state: the remembered one, with tokens that were filed meanwhile, where the state has
    /// fallen behind it; or the state with the tokens that it lacks.
    pub(super) fn repair(&self) -> Option<Document> {
        let memory = self.memory.as_ref().filter(|_| self.settings.safeguards.memory_repairs())?;
        if is_behind(Ok(&self.stored), memory) {
            let mut repaired = memory.clone();
            clients::merge(&mut repaired.clients, &self.stored.clients);
            let filed = self.stored.spare.iter().filter(|spare| !knows(memory, &spare.fp)).cloned();
            filed.chain(orphans(memory, &self.stored)).for_each(|spare| keep_spare(&mut repaired, spare));
            return Some(repaired);
        }
        let lost = self.orphans.iter().filter(|orphan| is_lost(&self.stored, orphan)).cloned();
        let mut completed = self.stored.clone();
        lost.for_each(|orphan| keep_spare(&mut completed, orphan));
        Some(completed).filter(|completed| *completed != self.stored)
    }

    /// When the settle delay ends, or ended. Before that no claim is made, and no token filed whose parent the state does not
    /// know.
    pub(super) fn settled_at(&self, moment: &Moment) -> Timestamp {
        let since = self.version.as_ref().and_then(|(_, since)| *since).unwrap_or(moment.boot);
        then(since, moment) + self.settings.timing.settle
    }

    /// How long after an event that all replicas see at once this replica acts on it, so that it sees the claim of a replica
    /// that acts first. The replica that redeemed last acts at once: a single replica loses no time. So does every replica
    /// where none has redeemed yet, since they start one after the other.
    fn turn(&self, spread: f64) -> SignedDuration {
        let others = |by: &str| by.split('/').next() != Some(&*self.settings.pod);
        match &self.stored.last {
            Some(last) if others(&last.by) => self.settings.timing.settle.mul_f64(spread),
            _ => SignedDuration::ZERO,
        }
    }

    pub(super) fn write(&mut self, document: Document) -> Effect {
        let next = self.numbered(document);
        self.phase = Phase::Writing(next.clone());
        Effect::Write(next)
    }

    /// Sets `rev` to one more than the highest that this replica knows.
    pub(super) fn numbered(&self, document: Document) -> Box<Document> {
        let known = self.memory.as_ref().map_or(0, |memory| memory.rev);
        Box::new(Document { rev: self.stored.rev.max(known) + 1, ..document })
    }

    /// Continues after a write that is no claim: in every case with a read.
    pub(super) fn written(
        &mut self,
        document: Document,
        result: Result<(), WriteError>,
        moment: &Moment,
    ) -> Effect {
        match result {
            Ok(()) => {
                self.blocked = None;
                if document.seed.is_some() {
                    self.memory = Some(document.clone());
                }
                self.stored = document;
                Effect::Read
            }
            Err(WriteError::Conflict) => Effect::Wait(moment.now + RACE),
            Err(WriteError::Unclear(condition) | WriteError::Refused(condition)) => {
                self.hold_off(condition, moment)
            }
            Err(WriteError::Unacceptable(condition)) => match &mut self.uncommitted {
                Some(uncommitted) if !uncommitted.without_access => {
                    uncommitted.without_access = true;
                    Effect::Read
                }
                _ => self.hold_off(condition, moment),
            },
        }
    }

    pub(super) fn conflict(moment: &Moment) -> Effect {
        Effect::Wait(moment.now + RACE)
    }

    /// Backs off after a write that the store refused.
    pub(super) fn hold_off(&mut self, mut condition: Condition, moment: &Moment) -> Effect {
        if self.has_uncommitted_token() {
            condition.message += "; a received refresh token is not stored yet, and the access token that came with it is not served before";
        }
        let outage = condition.reason.is_about_access();
        if outage {
            self.restart_settling();
        }
        let first = self.pause(condition.reason, moment);
        let pause = match &self.blocked {
            Some(before) if !outage => (before.pause * 2).min(LONGEST_PAUSE),
            _ => first,
        };
        let until = moment.now + pause;
        self.blocked = Some(Blocked { until, pause, condition });
        Effect::Wait(until)
    }

    /// The store was read and there is nothing to write, so a failure to reach it is over.
    fn clear_access_failure(&mut self) {
        self.blocked = self.blocked.take().filter(|before| !before.condition.reason.is_about_access());
    }

    /// Pause after a failed read. Short in an outage, so that a replica that remembers is back before a new one claims.
    fn pause(&self, reason: Reason, moment: &Moment) -> SignedDuration {
        if reason.is_outage() {
            self.settings.timing.settle.mul_f64(0.15 + 0.5 * fraction(moment.random))
        } else {
            PAUSE
        }
    }

    /// Restarts the settle delay: replicas that come back from an outage get time to repair the state.
    pub(super) fn restart_settling(&mut self) {
        self.version = self.version.take().map(|(version, _)| (version, None));
    }

    /// An outage of the store does not count as silence of a claim's holder.
    fn reset_silence(&mut self) {
        self.watched = self.watched.take().filter(|_| !self.settings.safeguards.outage_is_no_silence());
    }

    /// How long this replica waits for a claim. Spread, since one replica is enough to record the doubt.
    fn patience(&self, spread: f64) -> SignedDuration {
        let Timing { term, spread: over, .. } = self.settings.timing;
        // A holder of another version may have asked for a longer term.
        let said = self.stored.claim.as_ref().map_or(0, |claim| claim.term_s.clamp(0, 3600));
        term.max(SignedDuration::from_secs(said)) + over.mul_f64(spread)
    }

    /// Returns the id of the claim once it was unchanged for a whole term with no failed read in between. A claim that became a
    /// doubt and is back was restored by a holder that is alive; the wait starts again.
    fn silent_claim(&mut self, boot: Duration, spread: f64) -> Option<String> {
        let Some(claim) = &self.stored.claim else {
            self.watched = None;
            return None;
        };
        let rev = self.stored.rev;
        let since = match &self.watched {
            Some((id, seen, since)) if (id, *seen) == (&claim.id, rev) => *since,
            _ => boot,
        };
        self.watched = Some((claim.id.clone(), rev, since));
        let patience = unsigned(self.patience(spread));
        (boot.saturating_sub(since) >= patience).then(|| claim.id.clone())
    }
}

/// Whether a remembered token belongs to the document's login and is missing from it.
fn is_lost(document: &Document, orphan: &Spare) -> bool {
    orphan.seed_seq == document.progress().0 && !knows(document, &orphan.fp)
}

/// 0 to 1.
pub(super) fn fraction(random: u128) -> f64 {
    f64::from((random >> 112) as u16) / f64::from(u16::MAX)
}

/// The API server's time at a past boot time.
fn then(boot: Duration, moment: &Moment) -> Timestamp {
    moment.now - signed(moment.boot.saturating_sub(boot))
}

fn unsigned(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
