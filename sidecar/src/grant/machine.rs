//! What to do next about a grant: wait, or claim the right to present its refresh token. Pure: the two Secrets
//! and the time in, one step out. A claim is the only way to a presentation, and it is written (compare and
//! swap) before anything is sent, so that of any number of replicas one presents.

use agent_creds_core::grant::Grant;
use jiff::{SignedDuration, Timestamp};

use super::document::{
    Access, Claim, Document, Doubt, MAX_SEEDS_SEEN, MAX_SPARE, Presented, Purpose, Refresh, Seed, SeenSeed,
    Spare, Token,
};
use super::fingerprint;
use crate::outcome::Reason;

/// The protocol's times.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a silent claim is waited for.
    pub term: SignedDuration,
    /// Time for connecting, and again for the answer.
    pub budget: SignedDuration,
    /// A request leaves at most so long after its claim began, or never.
    pub window: SignedDuration,
}

/// Longest time that a provider's `Retry-After` is believed.
pub const MAX_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(1);

impl Default for Timing {
    /// `term >= window + 2 * budget`, so that a holder is silent only when it is dead.
    fn default() -> Self {
        Self {
            term: SignedDuration::from_secs(60),
            budget: SignedDuration::from_secs(15),
            window: SignedDuration::from_secs(3),
        }
    }
}

/// A grant with its fingerprints: what the grant Secret says today.
#[derive(Clone, Debug)]
pub struct Login {
    /// The grant.
    pub grant: Grant,
    /// [`fingerprint::of_login`]
    pub token_fp: String,
    /// [`fingerprint::of_binding`]
    pub binding: String,
    /// [`fingerprint::of_config`]
    pub config_fp: String,
}

impl Login {
    /// Computes the fingerprints.
    pub fn new(grant: Grant) -> Self {
        Self {
            token_fp: fingerprint::of_login(&grant),
            binding: fingerprint::of_binding(&grant),
            config_fp: fingerprint::of_config(&grant),
            grant,
        }
    }
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The grant Secret.
    pub login: &'a Login,
    /// The state Secret.
    pub document: &'a Document,
    /// The time.
    pub now: Timestamp,
    /// The id of a claim that was seen unchanged for its whole term.
    pub silent_claim: Option<&'a str>,
    /// This replica's place in the spread of refreshes, 0 to 1.
    pub spread: f64,
    /// Whether this replica is going away.
    pub draining: bool,
    /// The protocol's times.
    pub timing: Timing,
}

/// What follows.
#[derive(Debug)]
pub enum Step {
    /// Nothing before this time, unless a Secret changes. `None`: nothing until one changes.
    Wait(Option<Timestamp>),
    /// Write this document, which calls a silent claim a doubt.
    Write(Box<Document>),
    /// Claim, then present.
    Claim(Box<Attempt>),
    /// The two Secrets contradict each other.
    Refuse(Reason),
}

/// A presentation that may be claimed.
#[derive(Debug)]
pub struct Attempt {
    /// The document as it will stand, without the claim.
    pub document: Document,
    /// The token to present; empty in flows that have none.
    pub token: Token,
    /// Its fingerprint.
    pub parent_fp: String,
    /// Why it is presented.
    pub purpose: Purpose,
}

impl Attempt {
    /// The document with the claim in it.
    pub fn claimed(&self, id: &str, holder: &str, now: Timestamp, timing: Timing) -> Document {
        let claim = Claim {
            id: id.to_owned(),
            holder: holder.to_owned(),
            parent_fp: self.parent_fp.clone(),
            purpose: self.purpose,
            claimed_at: now,
            term_s: timing.term.as_secs(),
        };
        Document { claim: Some(claim), ..self.document.clone() }
    }
}

/// Decides. The order of the questions is the protocol.
pub fn next(view: &View<'_>) -> Step {
    let document = view.document;
    if !document.may_write() {
        return Step::Refuse(Reason::StateNewer);
    }
    let adopted = adopt(view);
    if adopted.seed.as_ref().is_some_and(|seed| seed.binding != view.login.binding) {
        return Step::Refuse(Reason::BindingChanged);
    }
    if let Some(claim) = &document.claim {
        return about_foreign(claim, view);
    }
    if view.draining {
        return Step::Wait(None);
    }
    let Some(head) = &adopted.refresh else {
        return Step::Wait(None);
    };
    let (due, purpose) = due(&adopted, head, view);
    if due > view.now {
        return Step::Wait(Some(due));
    }
    let (token, parent_fp) = (head.token.clone(), head.fp.clone());
    Step::Claim(Box::new(Attempt { token, parent_fp, purpose, document: adopted }))
}

/// A claim of somebody else (or of an earlier self): it is waited for, until it was silent for its whole term.
/// Then it means: perhaps sent.
fn about_foreign(claim: &Claim, view: &View<'_>) -> Step {
    if view.silent_claim != Some(claim.id.as_str()) {
        return Step::Wait(None);
    }
    let mut document = Document { claim: None, ..view.document.clone() };
    if view.login.grant.rules.rotates() {
        doubt(&mut document, claim, "silent", claim.claimed_at, view.now, view.timing);
    }
    Step::Write(Box::new(document))
}

/// Notes that the parent of `claim` was perhaps presented. A second doubt about the same token keeps its start.
pub fn doubt(
    document: &mut Document,
    claim: &Claim,
    cause: &str,
    sent_at: Timestamp,
    now: Timestamp,
    timing: Timing,
) {
    let before = document.doubt.take().filter(|doubt| doubt.parent_fp == claim.parent_fp);
    let replays = before.as_ref().map_or(0, |doubt| doubt.replays + 1);
    let backoff = SignedDuration::from_secs(timing.term.as_secs().saturating_mul(1 << replays.min(6)));
    let not_before = last_responsible_moment(claim.claimed_at, document.access.as_ref(), timing);
    document.doubt = Some(Doubt {
        parent_fp: claim.parent_fp.clone(),
        first_sent_at: before.map_or(sent_at, |doubt| doubt.first_sent_at),
        cause: cause.to_owned(),
        replay_not_before: if replays == 0 { not_before } else { not_before.max(now + backoff) },
        replays,
    });
    if let Some(head) = &mut document.refresh
        && head.fp == claim.parent_fp
    {
        head.presented = Presented::InDoubt;
    }
}

/// Until then waiting costs nothing, and a wrong presentation would cost the grant.
pub fn last_responsible_moment(claimed_at: Timestamp, access: Option<&Access>, timing: Timing) -> Timestamp {
    let term_ends = claimed_at + timing.term;
    access.map_or(term_ends, |access| {
        let margin = SignedDuration::from_secs((access.lifetime_s / 20).max(120));
        term_ends.max(access.expires_at - margin)
    })
}

/// The document with the grant Secret's login in it: as the first, as a new one, or unchanged where the login is
/// the current one, or one that was replaced or refused before.
fn adopt(view: &View<'_>) -> Document {
    let mut document = view.document.clone();
    let login = view.login;
    if document.seed.as_ref().is_some_and(|seed| seed.token_fp == login.token_fp)
        || is_stale(&document, login)
    {
        return document;
    }
    let seq = document.seed.as_ref().map_or(0, |seed| seed.seq) + 1;
    if let (Some(seed), Some(head)) = (document.seed.take(), document.refresh.take()) {
        remember(&mut document, &seed.token_fp, "replaced");
        // Until the new login has worked, the old one can come back.
        let (r#gen, seed_seq, presented) = (document.r#gen, seed.seq, head.presented);
        if seed.proven {
            let spare =
                Spare { token: head.token, fp: head.fp, seed_seq, r#gen, presented, seed: Some(seed) };
            keep_spare(&mut document, spare);
        }
    }
    document.seed = Some(Seed {
        seq,
        token_fp: login.token_fp.clone(),
        binding: login.binding.clone(),
        adopted_at: view.now,
        proven: false,
    });
    document.refresh = Some(Refresh {
        token: login.grant.refresh_token.clone().unwrap_or_default(),
        fp: login.token_fp.clone(),
        obtained_at: view.now,
        presented: Presented::Never,
    });
    (document.doubt, document.retry, document.verdict) = (None, None, None);
    document
}

/// Whether the grant Secret holds a login that was there before: GitOps or a backup put it back.
pub fn is_stale(document: &Document, login: &Login) -> bool {
    // What has no lineage cannot be stale: a client secret may come back.
    let current = document.seed.as_ref().is_some_and(|seed| seed.token_fp == login.token_fp)
        || login.grant.refresh_token.is_none();
    let seen = document.seeds_seen.iter().any(|seen| seen.fp == login.token_fp);
    !current && (seen || document.spent.contains(&login.token_fp))
}

/// Adds to the logins never to adopt again.
pub fn remember(document: &mut Document, fp: &str, verdict: &str) {
    document.seeds_seen.retain(|seen| seen.fp != fp);
    document.seeds_seen.push(SeenSeed { fp: fp.to_owned(), verdict: verdict.to_owned() });
    let excess = document.seeds_seen.len().saturating_sub(MAX_SEEDS_SEEN);
    document.seeds_seen.drain(..excess);
}

/// Adds a token that is not the head.
pub fn keep_spare(document: &mut Document, spare: Spare) {
    document.spare.retain(|other| other.fp != spare.fp);
    document.spare.push(spare);
    let excess = document.spare.len().saturating_sub(MAX_SPARE);
    document.spare.drain(..excess);
}

/// When the head may and should be presented, and as what. What all replicas share (backoff, doubt, verdict) is
/// spread too, or they would all connect in the same second.
fn due(document: &Document, head: &Refresh, view: &View<'_>) -> (Timestamp, Purpose) {
    let config_fp = &view.login.config_fp;
    let shared = |at: Timestamp| at + SignedDuration::from_millis((view.spread * 10_000.0) as i64);
    let verdict = document.verdict.as_ref().filter(|v| v.fp == head.fp && v.config_fp == *config_fp);
    let (mut at, mut purpose) = match verdict {
        Some(verdict) => (shared(verdict.next_probe), Purpose::Probe),
        None => (wanted(document, view), Purpose::Refresh),
    };
    if let Some(doubt) = document.doubt.as_ref().filter(|doubt| doubt.parent_fp == head.fp) {
        (at, purpose) = (at.max(shared(doubt.replay_not_before)), Purpose::Replay);
    }
    if let Some(retry) = document.retry.as_ref().filter(|retry| retry.config_fp == *config_fp) {
        // A writer whose clock was ahead holds nobody for longer than a provider could.
        at = at.max(shared(retry.not_before.min(view.now + MAX_RETRY_AFTER)));
    }
    // Two redemptions of a grant are never close together, whoever asks and for whatever reason.
    if let (Some(last), Some(access)) = (&document.last, &document.access) {
        let distance = SignedDuration::from_secs((access.lifetime_s / 10).clamp(1, 60));
        at = at.max(last.redeemed_at.min(view.now) + distance);
    }
    (at, purpose)
}

/// When a new access token is wanted: now if there is none of this login, else around 80 % of its life and, where
/// life allows, five minutes before its end; spread, so that replicas do not race each other.
fn wanted(document: &Document, view: &View<'_>) -> Timestamp {
    let now = view.now;
    let (Some(access), Some(seed)) = (&document.access, &document.seed) else { return now };
    if !seed.proven {
        return now;
    }
    let life = access.lifetime_s as f64;
    let early = life * (0.75 + 0.1 * view.spread);
    let after = if life >= 900.0 { early.min(life - 300.0 - 0.05 * life * view.spread) } else { early };
    let scheduled = access.issued_at + SignedDuration::from_millis((after * 1000.0) as i64);
    if access.config_fp == view.login.config_fp {
        return scheduled;
    }
    // A person is trying settings: soon, but not at every keystroke while there is something to serve.
    let last =
        document.last.as_ref().map_or(now, |last| last.redeemed_at.min(now) + SignedDuration::from_mins(5));
    scheduled.min(last)
}

/// How early serving stops before the end, in seconds: clocks differ, and answers travel.
pub fn margin_s(lifetime_s: i64) -> i64 {
    (lifetime_s / 20).min(30)
}

#[cfg(test)]
pub(crate) mod tests;
