//! The promises, as predicates. They use only what an observer sees: the provider's log, the stored documents, and the
//! times. The world records the first predicate that fails.
//!
//! - P1: a refresh token is presented once. Exceptions: the replay rule allows a second presentation after a doubt, or
//!   the presentation probes a verdict.
//! - P2: a served access token was stored before.
//! - P3: a received refresh token stays stored, as head, spare or spent, until a newer login is proven.
//! - P4: no write lowers the login number or the generation. Nothing is presented while a live replica remembers more
//!   than the store.
//! - P5: a verdict needs a refusal of that very token, and no open doubt that still has to wait.
//! - P6: no token in `spent` or `seeds_seen` is presented.
//! - P7: a request is sent within the send window of its claim. Without long freezes, only one is open at a time.
//! - P8: no expired access token is served.
//! - P10: if the head or a spare is alive at the end, every replica serves a valid access token.
//! - P11: replicas do not multiply writes, and the same token is not presented again within the least pause.
//! - P12: a proven login is lost only in the classes L1 to L6.
//! - P13: a claim counts as silent only after a whole term without a failed read.

use agent_creds_core::provider::Replay;
use agent_creds_core::words::Word as _;
use agent_creds_refresh::answer::Answer;
use agent_creds_refresh::cause::Cause;
use agent_creds_refresh::document::{Claim, Document, Purpose};
use agent_creds_refresh::fingerprint::of_token;
use agent_creds_refresh::replica::{Effect, Record, Uncommitted};
use agent_creds_refresh::reply::Reply;
use agent_creds_refresh::status::is_served;
use jiff::Timestamp;

use super::provider::LIFE;
use super::step::http_reply;
use super::world::{Actor, EPOCH, History, Said, World};

/// The protocol's times in milliseconds, written down independently of its code: claim term, send window, margin before
/// the end of an access token, and least pause.
const TERM: i64 = 60_000;
const WINDOW: i64 = 3_000;
const LAST_MOMENT: i64 = 120_000;
const PAUSE: i64 = 5_000;
/// Greatest number of writes in a trace. More would mean that replicas undo each other's writes.
const WRITES: u16 = 60;
/// Shortest freeze, in seconds, after which two sends can overlap: the term less the window and the budget.
const LONG: i64 = 42;

/// The seven classes of loss that the protocol cannot prevent (docs/refresh-protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// L1: the answer was lost on the network.
    AnswerLost,
    /// L2: the process was killed between the provider's commit and the spool.
    Killed,
    /// L3: the memory volume was lost between spool and commit.
    SpoolGone,
    /// L4: the holder was cut off or frozen past the last responsible moment.
    CutOff,
    /// L5: all clocks stood still between the check and the send.
    FrozenSend,
    /// L6: the state was rolled back or wiped, and no live replica remembers it.
    Forgotten,
    /// L7: an answer that came and cannot be read, and nobody took it out of the spool.
    Unreadable,
}

impl Class {
    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl History {
    /// Records that the trace belongs to a class.
    pub(crate) fn add(&mut self, class: Class) {
        self.classes |= class.bit();
    }
}

fn breaks(world: &mut World, predicate: &'static str) {
    world.broken.get_or_insert(predicate);
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond() - EPOCH
}

fn fp(token: &str) -> String {
    of_token(&token.to_owned().into())
}

/// P2 and P8: an access token that is served was stored before and has not expired.
pub(crate) fn served(world: &mut World, actor: &Actor) {
    let access = actor.replica.known().access.as_ref();
    if access.is_some_and(|access| !world.store.accesses.contains(&access.fp)) {
        breaks(world, "P2");
    }
    let end = access.and_then(|access| access.token.expose().split_once('@')?.1.parse::<i64>().ok());
    if let (Some(access), Some(issued)) = (access, end) {
        let own_time = Timestamp::from_millisecond(EPOCH + issued + LIFE + actor.skew).unwrap_or_default();
        if is_served(access.expires_at, access.lifetime_s, own_time) {
            breaks(world, "P8");
        }
    }
}

/// Checks P4, P5, P11 and P13 at a write.
pub(crate) fn written(world: &mut World, actor: &Actor, next: &Document) {
    let before = world.store.document.clone();
    world.history.writes += 1;
    if world.history.writes > WRITES {
        breaks(world, "P11");
    }
    if next.progress() < before.progress() || next.rev <= before.rev {
        breaks(world, "P4");
    }
    world.history.peak = world.history.peak.max(next.progress());
    // P13: a claim is silent only after a whole term in which no read failed.
    let silent = next
        .doubt
        .as_ref()
        .filter(|doubt| doubt.cause == Cause::Silent.as_str() && before.doubt.as_ref() != Some(doubt));
    let others = |claim: &&Claim| claim.holder != actor.replica.settings().holder();
    if let Some(claim) =
        before.claim.as_ref().filter(others).filter(|_| next.claim.is_none() && silent.is_some())
        && world.now + world.slack < actor.back_since.max(millis(claim.claimed_at)) + TERM
    {
        breaks(world, "P13");
    }
    let news = next
        .verdict
        .as_ref()
        .filter(|verdict| before.verdict.as_ref().is_none_or(|old| old.fp != verdict.fp));
    if let Some(verdict) = news {
        let refused = world.history.refused.contains(&verdict.fp);
        let open = before.doubt.as_ref().filter(|doubt| doubt.parent_fp == verdict.fp);
        let first =
            world.history.presented.iter().find(|(token, ..)| fp(token) == verdict.fp).map(|(_, at, _)| *at);
        let first = first.into_iter().chain(open.map(|doubt| millis(doubt.first_sent_at))).min();
        if !refused
            || (open.is_some()
                && first.is_some_and(|first| world.now + world.slack < last_moment(&before, first)))
        {
            breaks(world, "P5");
        }
    }
}

fn last_moment(document: &Document, claimed_at: i64) -> i64 {
    let access = document.access.as_ref().map_or(0, |access| millis(access.expires_at) - LAST_MOMENT);
    access.max(claimed_at + TERM)
}

/// Checks P1, P4, P6, P7 and P11 at a presentation.
pub(crate) fn sent(world: &mut World, actor: &Actor, token: &str) {
    let stored = world.store.document.clone();
    let owed = actor.owed().map(|owed| &owed.claim);
    let claim = stored.claim.as_ref().filter(|claim| owed.is_none_or(|owed| owed.id == claim.id));
    let fingerprint = fp(token);
    let rotates = actor.replica.login().is_some_and(|login| login.grant.rules.replay != Replay::None);
    let others: Vec<_> = world.actors.iter().filter(|other| other.index != actor.index).cloned().collect();
    forgotten_by_all(world, Some(actor));
    let claimed_at = owed.or(claim).map(|claim| millis(claim.claimed_at));
    if actor.sends_late {
        world.history.add(Class::FrozenSend);
        note(world, token, claimed_at, &stored, actor);
        return;
    }
    // P7
    if claimed_at.is_none_or(|at| world.now + actor.skew - at > WINDOW) {
        breaks(world, "P7");
    }
    let forgotten = world.history.classes & Class::Forgotten.bit() != 0;
    if rotates && !forgotten && !world.history.froze_long && others.iter().any(|other| other.reply.is_some())
    {
        breaks(world, "P7");
    }
    if let Some(claim) = claim.filter(|_| !forgotten) {
        // P4: a replica with a newer memory must have repaired the state first.
        let further = |other: &Actor| {
            other.is_live()
                && other.replica.memory().is_some_and(|memory| memory.progress() > stored.progress())
        };
        if rotates && others.iter().any(|other| further(other)) {
            breaks(world, "P4");
        }
        // P6
        let seen = stored.seeds_seen.iter().any(|seen| seen.fp == fingerprint);
        if rotates && (seen || stored.spent.contains(&fingerprint)) {
            breaks(world, "P6");
        }
        // P1
        let before = world.history.presented.iter().find(|(other, ..)| other == token);
        if let Some((_, _, licensed)) = before.filter(|_| rotates) {
            let probe = claim.purpose == Purpose::Probe;
            let replay = claim.purpose == Purpose::Replay && world.now + world.slack >= *licensed;
            if !probe && !replay {
                breaks(world, "P1");
            }
        }
    }
    // P11
    let probes = claim.is_some_and(|claim| claim.purpose == Purpose::Probe);
    let soon = world.history.last_send.as_ref().filter(|_| !world.history.rolled_back && !probes);
    if soon.is_some_and(|(other, at)| other == token && world.now + world.slack - at < PAUSE) {
        breaks(world, "P11");
    }
    world.history.last_send = Some((token.to_owned(), world.now));
    let holds_child = |other: &Actor| other.owed().is_some_and(|owed| owed.claim.parent_fp == fingerprint);
    // The other replica is away, or was away at the last responsible moment.
    let licensed = world.history.presented.iter().find(|(other, ..)| other == token).map(|(.., at)| *at);
    let away = |other: &Actor| !other.is_live() || licensed.is_some_and(|at| other.away_until >= at);
    if others.iter().any(|other| holds_child(other) && away(other)) {
        world.history.add(Class::CutOff);
    }
    note(world, token, claimed_at, &stored, actor);
}

/// Records when a token was presented first, and from when a replay is allowed.
fn note(world: &mut World, token: &str, claimed_at: Option<i64>, stored: &Document, actor: &Actor) {
    if world.history.presented.iter().any(|(other, ..)| other == token) {
        return;
    }
    let claimed_at = claimed_at.unwrap_or(world.now);
    let replay = actor.replica.login().map(|login| login.grant.rules.replay);
    let grace = matches!(replay, Some(Replay::Grace(_) | Replay::Prompt));
    let licensed = if grace { claimed_at + TERM } else { last_moment(stored, claimed_at) };
    world.history.presented.push((token.to_owned(), claimed_at, licensed));
}

/// Records the provider's answer.
pub(crate) fn replied(world: &mut World, actor: &Actor, said: &Said) {
    let Effect::Send(login, token) = &actor.effect else { return };
    let copy = Reply::Http(http_reply(said));
    let claimed_at = actor.owed().map_or(world.now, |owed| millis(owed.claim.claimed_at));
    let forget = |world: &mut World| world.history.presented.retain(|(other, ..)| other != token.expose());
    // An earlier presentation of the token stays in doubt.
    let forgive = |world: &mut World| {
        world.history.presented.retain(|(other, at, _)| other != token.expose() || *at != claimed_at);
    };
    match Answer::of(copy, &login.asked()) {
        Answer::Granted(tokens) => match tokens.refresh {
            Some(child) => world.history.received.push((of_token(&child), actor.index)),
            // Without a new refresh token the old one stays valid and will be presented again.
            None => forget(world),
        },
        Answer::InvalidGrant => world.history.refused.push(fp(token.expose())),
        Answer::NotSent(_) | Answer::Refused { .. } => forgive(world),
        Answer::InDoubt { .. } => {}
    }
}

/// Records the losses that the end of a process causes.
pub(crate) fn crashed(world: &mut World, who: usize, spool: bool) {
    let actor = world.actors[who].clone();
    let child = |owed: &Uncommitted| owed.answer.as_ref().and_then(Answer::child).map(of_token);
    let stored = world.store.document.clone();
    let unsaved = |fp: &String| !is_known(&stored, fp);
    let on_its_way = actor.reply.as_ref().is_some_and(|(_, said)| said.is_some());
    if on_its_way {
        world.history.add(Class::Killed);
        world.history.received.retain(|(_, index)| *index != actor.index);
    }
    if let Effect::Spool(Record::Uncommitted(owed)) = &actor.effect
        && let Some(fp) = child(owed).filter(unsaved)
    {
        world.history.add(Class::Killed);
        world.history.received.retain(|(other, _)| *other != fp);
    }
    let spooled = match &actor.spool {
        Some(Record::Uncommitted(owed)) => child(owed),
        _ => None,
    };
    if let Some(fp) = spooled.filter(unsaved).filter(|_| !spool) {
        world.history.add(Class::SpoolGone);
        world.history.received.retain(|(other, _)| *other != fp);
    }
}

/// Records whether a freeze was long enough for two sends to overlap.
pub(crate) fn frozen(world: &mut World, seconds: i64) {
    world.history.froze_long |= seconds >= LONG;
}

/// L6: checks whether any live replica still knows the last stored state and all presentations after a rollback.
pub(crate) fn forgotten_by_all(world: &mut World, sender: Option<&Actor>) {
    if !world.history.rolled_back {
        return;
    }
    // The sender's own claim says nothing about earlier presentations.
    let own = sender.and_then(Actor::owed).map(|owed| owed.claim.id.clone());
    let is_own = |id: &String| own.as_ref() == Some(id);
    let knows = |document: &Document, fp: &String| {
        document.claim.as_ref().is_some_and(|claim| claim.parent_fp == *fp && !is_own(&claim.id))
            || document.doubt.as_ref().is_some_and(|doubt| doubt.parent_fp == *fp)
            || document.verdict.as_ref().is_some_and(|verdict| verdict.fp == *fp)
            || document.spent.contains(fp)
    };
    let live: Vec<_> = world.actors.iter().filter(|actor| actor.is_live()).collect();
    let known = |fp: &String| {
        knows(&world.store.document, fp)
            || live.iter().any(|actor| actor.replica.memory().is_some_and(|memory| knows(memory, fp)))
            || live
                .iter()
                .filter_map(|actor| actor.owed())
                .any(|owed| owed.claim.parent_fp == *fp && !is_own(&owed.claim.id))
    };
    let further =
        |actor: &Actor| actor.replica.memory().is_some_and(|memory| memory.progress() >= world.history.peak);
    let behind =
        world.store.document.progress() < world.history.peak && !live.iter().any(|actor| further(actor));
    if behind || world.history.presented.iter().any(|(token, ..)| !known(&fp(token))) {
        world.history.add(Class::Forgotten);
    }
}

fn is_known(document: &Document, fp: &String) -> bool {
    document.refresh.as_ref().is_some_and(|head| head.fp == *fp)
        || document.spent.contains(fp)
        || document.spare.iter().any(|spare| spare.fp == *fp)
}

/// Whether a stored token can still be redeemed.
pub(crate) fn is_alive(world: &World) -> bool {
    let document = &world.store.document;
    let head = document.refresh.iter().map(|head| head.token.expose());
    let spare = document.spare.iter().map(|spare| spare.token.expose());
    head.chain(spare).any(|token| world.provider.is_alive(token))
}

/// Checks P3, P10 and P12 at the end, long after the last fault.
pub(crate) fn at_the_end(world: &mut World) {
    let forgotten = world.history.classes & Class::Forgotten.bit() != 0;
    let stored = world.store.document.clone();
    // A proven login replaces the earlier lineage.
    let replaced = stored.seed.as_ref().is_some_and(|seed| seed.proven && seed.seq > 1);
    if !forgotten && !replaced && world.history.received.iter().any(|(fp, _)| !is_known(&stored, fp)) {
        breaks(world, "P3");
    }
    let now = Timestamp::from_millisecond(EPOCH + world.now).unwrap_or_default();
    let served = |actor: &Actor| {
        let access = actor.replica.known().access.as_ref();
        access.is_some_and(|access| is_served(access.expires_at, access.lifetime_s, now))
    };
    if is_alive(world) {
        if !world.actors.iter().all(|actor| served(actor)) {
            breaks(world, "P10");
        }
    } else if world.history.classes == 0 && stored.seed.as_ref().is_some_and(|seed| seed.proven) {
        // A first login that never worked was not lost.
        breaks(world, "P12");
    }
}
