//! After a look at both Secrets: what was left over is settled first, then it is decided.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Blocked, Effect, Found, Moment, Phase, Replica, Seen, WriteError};
use crate::grant::document::{Document, Spare};
use crate::grant::machine::{Step, is_wanted, next};
use crate::grant::memory::{is_behind, knows, orphans};
use crate::grant::rules::{REREAD, Timing};
use crate::grant::seed::keep_spare;
use crate::grant::status::Trouble;
use crate::grant::view::View;
use crate::outcome::Reason;

/// Pause after a Secret that a person has to mend.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// Longest pause between two writes that the store refuses.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(20);
/// Pause after a lost race, so that what the winner wrote is there to be read.
const RACE: SignedDuration = SignedDuration::from_millis(200);
/// Longest idle limit that [`Replica`] waits for a quarter of, in days.
const RARELY: i64 = 7;

impl Replica {
    /// Takes in what was read, and decides.
    pub(super) fn look(&mut self, seen: Seen, moment: &Moment) -> Effect {
        match self.take_in(seen, moment) {
            Ok(()) => self.decide(moment),
            Err(wait) => Effect::Wait(wait),
        }
    }

    /// What can be read is shown even when the other cannot.
    pub(super) fn take_in(&mut self, seen: Seen, moment: &Moment) -> Result<(), Timestamp> {
        self.trouble = None;
        match seen.login {
            Ok(login) => {
                // A first look is no news: whoever starts has a time of its own.
                if self.login.as_ref().is_some_and(|before| *before != login) {
                    self.news = moment.boot;
                }
                self.login = Some(login);
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
        let missing_login = self.trouble.is_some();
        let found = match seen.state {
            Ok(found) => found,
            Err(trouble) => {
                self.forget_silence();
                self.settles_anew();
                self.news = moment.boot;
                let pause = self.pause(trouble.reason, moment);
                self.trouble = self.trouble.take().or(Some(trouble));
                return Err(moment.now + pause);
            }
        };
        if missing_login {
            self.forget_silence();
        }
        // A restored store may count its versions anew: the content tells, too.
        let same = found.document.as_ref().is_ok_and(|document| *document == self.stored);
        let before = self.version.take().filter(|(version, _)| same && *version == found.version);
        let since = before.and_then(|(_, since)| since).unwrap_or(moment.boot);
        self.version = Some((found.version.clone(), Some(since)));
        self.home.clone_from(&found.home);
        self.remember(found, moment)
    }

    /// Keeps the furthest document, and plans its return where the store has fallen behind it.
    fn remember(&mut self, found: Found, moment: &Moment) -> Result<(), Timestamp> {
        let memory = self.memory.as_ref().filter(|_| self.settings.rules.memory_repairs);
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
                self.trouble = self.trouble.take().or(Some(unusable.trouble));
                return Err(moment.now + PAUSE);
            }
        }
        Ok(())
    }

    /// What to do, as things stand in `stored`. Each line is a question of the protocol.
    pub(super) fn decide(&mut self, moment: &Moment) -> Effect {
        (self.content, self.due) = (false, None);
        if let Some(blocked) = self.blocked.as_ref().filter(|blocked| blocked.until > moment.now) {
            return Effect::Wait(blocked.until);
        }
        if let Some(repair) = self.repair() {
            return self.write(repair);
        }
        if self.owed.is_some() {
            return self.settle_owed(moment);
        }
        // A claim of this pod of which the spool knows nothing: nothing was sent under it.
        let prefix = format!("{}/", self.settings.pod);
        let unsent =
            self.stored.claim.as_ref().filter(|claim| {
                claim.holder.starts_with(&prefix) && self.settled.as_ref() != Some(&claim.id)
            });
        if unsent.is_some() {
            return self.write(Document { claim: None, ..self.stored.clone() });
        }
        let Some(login) = self.login.clone().filter(|_| self.trouble.is_none()) else {
            return Effect::Wait(moment.now + PAUSE);
        };
        let spread = f64::from(self.settings.spread) / f64::from(u16::MAX);
        let silent = self.silent_claim(moment.boot, spread);
        self.stands_back &= self.stored.retry.is_some();
        let idle_days = login.grant.rules.idle_days.map_or(RARELY * 4, i64::from);
        let view = View {
            login: &login,
            document: &self.stored,
            home: self.home.as_ref(),
            now: moment.now,
            silent_claim: silent.as_deref(),
            settles_until: self.settles_until(moment),
            news_at: then(self.news, moment),
            turn: self.turn(spread),
            rejected: self.rejected.as_deref(),
            rarely: self
                .settings
                .rarely
                .then(|| SignedDuration::from_hours((idle_days * 6).min(RARELY * 24))),
            spread,
            stands_back: self.stands_back,
            draining: moment.draining,
            timing: self.settings.timing,
            rules: self.settings.rules,
        };
        let reread = moment.now + REREAD.mul_f64(0.9 + 0.2 * fraction(moment.random));
        self.content = self.settings.rarely && !is_wanted(&view);
        let step = next(&view);
        if matches!(step, Step::Wait(_)) {
            self.outage_is_over();
        }
        match step {
            Step::Wait(Some(at)) => {
                self.due = Some(at).filter(|_| self.settings.rarely);
                Effect::Wait(at.min(reread))
            }
            Step::Wait(None) if self.stored.claim.is_some() => {
                Effect::Wait(moment.now + self.patience(spread))
            }
            Step::Wait(None) => Effect::Wait(reread),
            Step::Refuse(reason) => {
                self.trouble = Some(Trouble { reason, message: reason.sentence().to_owned() });
                Effect::Wait(reread)
            }
            Step::Write(document) => self.write(*document),
            Step::Claim(attempt) => {
                self.phase = Phase::Connecting(Box::new((login.clone(), *attempt)));
                Effect::Connect(Box::new(login))
            }
        }
    }

    /// The memory, to be written over a state that has fallen behind it, with the tokens that were filed there meanwhile;
    /// or the state, with the tokens that it lacks.
    pub(super) fn repair(&self) -> Option<Document> {
        let memory = self.memory.as_ref().filter(|_| self.settings.rules.memory_repairs)?;
        if is_behind(Ok(&self.stored), memory) {
            let mut repaired = memory.clone();
            let filed = self.stored.spare.iter().filter(|spare| !knows(memory, &spare.fp)).cloned();
            filed.chain(orphans(memory, &self.stored)).for_each(|spare| keep_spare(&mut repaired, spare));
            return Some(repaired);
        }
        let lost = self.orphans.iter().filter(|orphan| is_lost(&self.stored, orphan)).cloned();
        let mut completed = self.stored.clone();
        lost.for_each(|orphan| keep_spare(&mut completed, orphan));
        Some(completed).filter(|completed| *completed != self.stored)
    }

    /// Until when the state is, or was, too new to claim on, or to file a token in whose parent it does not know.
    pub(super) fn settles_until(&self, moment: &Moment) -> Timestamp {
        let since = self.version.as_ref().and_then(|(_, since)| *since).unwrap_or(moment.boot);
        then(since, moment) + self.settings.timing.settle
    }

    /// How long after news that all have at once this replica acts on it: so late that the others see it if one goes
    /// first. Who redeemed last goes at once, so that one replica alone loses no time; and so does everybody where nobody
    /// has redeemed yet, since they start one after the other.
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

    /// Each write counts on from all that this replica knows of.
    pub(super) fn numbered(&self, document: Document) -> Box<Document> {
        let known = self.memory.as_ref().map_or(0, |memory| memory.rev);
        Box::new(Document { rev: self.stored.rev.max(known) + 1, ..document })
    }

    /// A write that is no claim was answered. Whatever came, a look tells how things stand.
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
            Err(WriteError::Unclear(trouble) | WriteError::Refused(trouble)) => self.block(trouble, moment),
            Err(WriteError::Unacceptable(trouble)) => match &mut self.owed {
                Some(owed) if !owed.without_access => {
                    owed.without_access = true;
                    Effect::Read
                }
                _ => self.block(trouble, moment),
            },
        }
    }

    pub(super) fn conflict(moment: &Moment) -> Effect {
        Effect::Wait(moment.now + RACE)
    }

    /// The store refused a write: no other is tried for a while, and no provider is bothered.
    pub(super) fn block(&mut self, mut trouble: Trouble, moment: &Moment) -> Effect {
        if self.owes_a_token() {
            trouble.message += "; a received refresh token waits to be stored, and no token that came with it is served before";
        }
        let outage = trouble.reason.is_about_the_way();
        if outage {
            self.settles_anew();
        }
        let first = self.pause(trouble.reason, moment);
        let pause = match &self.blocked {
            Some(before) if !outage => (before.pause * 2).min(LONGEST_PAUSE),
            _ => first,
        };
        let until = moment.now + pause;
        self.blocked = Some(Blocked { until, pause, trouble });
        Effect::Wait(until)
    }

    /// The store was read, and there is nothing to write: that it did not answer once is no trouble any more.
    fn outage_is_over(&mut self) {
        self.blocked = self.blocked.take().filter(|before| !before.trouble.reason.is_about_the_way());
    }

    /// A store that does not answer is asked again soon, so that who remembers is there before who has only just come.
    fn pause(&self, reason: Reason, moment: &Moment) -> SignedDuration {
        if reason.is_outage() {
            self.settings.timing.settle.mul_f64(0.15 + 0.5 * fraction(moment.random))
        } else {
            PAUSE
        }
    }

    /// Who comes back from an outage, too, has to be heard before anything is claimed.
    pub(super) fn settles_anew(&mut self) {
        self.version = self.version.take().map(|(version, _)| (version, None));
    }

    /// An outage of the store is no silence of a claim's holder.
    fn forget_silence(&mut self) {
        self.watched = self.watched.take().filter(|_| !self.settings.rules.outage_is_no_silence);
    }

    /// How long a claim is waited for: all see it at the same time, and one is enough to say that it is silent.
    fn patience(&self, spread: f64) -> SignedDuration {
        let Timing { term, spread: over, .. } = self.settings.timing;
        // A holder of another version may have said that it takes longer.
        let said = self.stored.claim.as_ref().map_or(0, |claim| claim.term_s.clamp(0, 3600));
        term.max(SignedDuration::from_secs(said)) + over.mul_f64(spread)
    }

    /// The id of the claim, once it was read unchanged for a whole term with no failed read in between. A claim that
    /// was called a doubt and is back was put there by a holder that is alive: it is waited for anew.
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

/// Whether a token that is remembered belongs to the document's login and is nowhere in it.
fn is_lost(document: &Document, orphan: &Spare) -> bool {
    orphan.seed_seq == document.progress().0 && !knows(document, &orphan.fp)
}

/// 0 to 1.
pub(super) fn fraction(random: u128) -> f64 {
    f64::from((random >> 112) as u16) / f64::from(u16::MAX)
}

/// The API server's time at a boot time that is past.
fn then(boot: Duration, moment: &Moment) -> Timestamp {
    moment.now - signed(moment.boot.saturating_sub(boot))
}

fn unsigned(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
