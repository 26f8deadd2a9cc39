//! The actions of the model: a replica carries out its next effect, time passes, or a fault happens.

use std::sync::Arc;

use agent_creds_refresh::cause::Cause;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::{Document, Request};
use agent_creds_refresh::reason::{Reason, Severity};
use agent_creds_refresh::replica::{Effect, Found, Input, Seen, WriteError};
use agent_creds_refresh::reply::{HttpReply, Reply};
use jiff::Timestamp;

use super::Protocol;
use super::predicates::{self, Class};
use super::provider::http;
use super::world::{Actor, EPOCH, Late, Said, World};

/// One action of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A replica carries out its next effect.
    Go(u8),
    /// A reply arrives, or the wait for it times out.
    Deliver(u8),
    /// Time passes until the next process wakes.
    Tick,
    /// A replica's next effect fails.
    Fail(u8, Failure),
    /// A process ends and starts again in the same pod after this many seconds, with or without its spool.
    Crash { who: u8, spool: bool, seconds: i64 },
    /// A process is frozen for this many seconds.
    Freeze(u8, i64),
    /// One replica cannot reach the store for this many seconds.
    Cut(u8, i64),
    /// No replica can reach the store for this many seconds.
    Outage(i64),
    /// The state Secret is emptied.
    Wipe,
    /// The state Secret is restored from a backup.
    Restore,
    /// The grant Secret gets another login.
    Login(usize),
    /// A refresh is requested.
    Request,
}

/// How an effect fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Failure {
    /// The write takes place, and its answer is lost.
    AnswerOfWrite,
    /// The write is lost.
    Write,
    /// The provider acts, and its answer is lost.
    Answer,
    /// The provider acts, and its answer comes in a form that cannot be read.
    Unreadable,
    /// The request is lost.
    Request,
    /// The request arrives this many seconds later, after the sender's timeout.
    Late(i64),
    /// The provider answers 503 and does nothing.
    Unavailable,
    /// The provider answers 429.
    Busy,
}

impl Protocol {
    /// Carries out the replica's next effect.
    pub(crate) fn go(&self, world: &mut World, who: usize, failure: Option<Failure>) {
        let mut actor = (*world.actors[who]).clone();
        let event = self.happen(world, &mut actor, failure);
        let moment = actor.moment(world.store.version, world.now);
        actor.effect = actor.replica.step(event, &moment);
        predicates::served(world, &actor);
        world.actors[who] = Arc::new(actor);
    }

    fn happen(&self, world: &mut World, actor: &mut Actor, failure: Option<Failure>) -> Input {
        match actor.effect.clone() {
            Effect::Wait(_) => Input::Woke,
            Effect::Connect(_) => Input::Connected(Ok(())),
            Effect::Spool(record) => {
                actor.spool = Some(record);
                Input::Spooled(true)
            }
            Effect::Read => Input::Read(Box::new(self.look(world, actor))),
            Effect::Write(document) => Input::Written(self.write(world, actor, &document, failure)),
            Effect::Send(_, token) => {
                predicates::sent(world, actor, token.expose());
                actor.sends_late = false;
                actor.reply = Some(Self::present(world, actor, token.expose(), failure));
                Input::Sent
            }
        }
    }

    fn look(&self, world: &World, actor: &mut Actor) -> Seen {
        if let Some(until) = actor.cut_until {
            (actor.noticed_cut, actor.back_since) = (true, until);
            return Seen { login: Err(outage()), state: Err(outage()) };
        }
        actor.seen = world.store.version;
        actor.looked = (world.store.version, world.store.login);
        let document = Ok((*world.store.document).clone());
        Seen {
            login: Ok(self.logins[world.store.login].clone()),
            state: Ok(Found { document, version: world.store.version.to_string(), home: None }),
        }
    }

    fn write(
        &self,
        world: &mut World,
        actor: &mut Actor,
        document: &Document,
        failure: Option<Failure>,
    ) -> Result<(), WriteError> {
        if actor.cut_until.is_some() {
            actor.noticed_cut = true;
            return Err(WriteError::Unclear(outage()));
        }
        if failure == Some(Failure::Write) {
            return Err(WriteError::Unclear(outage()));
        }
        if actor.seen != world.store.version {
            return Err(WriteError::Conflict);
        }
        predicates::written(world, actor, document);
        if document.r#gen > world.store.document.r#gen {
            world.store.backup = Some(world.store.document.clone());
        }
        world.store.accesses.extend(document.access.as_ref().map(|access| access.fp.clone()));
        world.store.document = Arc::new(document.clone());
        world.store.version += 1;
        if failure == Some(Failure::AnswerOfWrite) {
            return Err(WriteError::Unclear(outage()));
        }
        // Its own write must not wake the replica.
        (actor.seen, actor.looked.0) = (world.store.version, world.store.version);
        Ok(())
    }

    /// The time and the content of the provider's reply.
    fn present(
        world: &mut World,
        actor: &Actor,
        token: &str,
        failure: Option<Failure>,
    ) -> (i64, Option<Said>) {
        let said = match failure {
            Some(Failure::Unavailable) => http(503, "{}"),
            Some(Failure::Busy) => http(429, "{}"),
            Some(Failure::Unreadable) => {
                let _ = world.provider.present(token, world.now);
                world.history.add(Class::Unreadable);
                http(200, "<html>")
            }
            Some(Failure::Request | Failure::Answer | Failure::Late(_)) => {
                match failure {
                    Some(Failure::Late(seconds)) => {
                        world.late.push(Late { at: world.now + seconds * 1000, token: token.to_owned() });
                    }
                    Some(Failure::Answer) => {
                        let _ = world.provider.present(token, world.now);
                        world.history.add(Class::AnswerLost);
                    }
                    _ => {}
                }
                return (world.now + 15_000, None);
            }
            _ => world.provider.present(token, world.now),
        };
        predicates::replied(world, actor, &said);
        (world.now, Some(said))
    }

    /// Delivers a reply, or the end of the wait for it, to the replica.
    pub(crate) fn deliver(world: &mut World, who: usize) {
        let mut actor = (*world.actors[who]).clone();
        let Some((_, said)) = actor.reply.take() else { return };
        let reply = said.map_or(Reply::Lost(Cause::Timeout), |said| Reply::Http(http_reply(&said)));
        let moment = actor.moment(world.store.version, world.now);
        actor.effect = actor.replica.step(Input::Replied(reply), &moment);
        predicates::served(world, &actor);
        world.actors[who] = Arc::new(actor);
    }

    /// Time passes until the next process wakes; outages and freezes that end by then are ended.
    pub(crate) fn tick(&self, world: &mut World) {
        let next = world.actors.iter().map(|actor| actor.wakes_at(world));
        let ends = world.actors.iter().filter_map(|actor| actor.cut_until);
        let replies = world.actors.iter().filter(|actor| actor.is_up());
        let replies = replies.filter_map(|actor| actor.reply.as_ref().map(|(at, _)| *at));
        let late = world.late.iter().map(|late| late.at);
        let Some(at) = next.chain(ends).chain(late).chain(replies).min() else { return };
        world.now = at.max(world.now);
        for late in std::mem::take(&mut world.late) {
            if late.at > world.now {
                world.late.push(late);
            } else {
                let _ = world.provider.present(&late.token, world.now);
                world.history.add(Class::AnswerLost);
            }
        }
        for who in 0..world.actors.len() {
            let now = world.now;
            let over = |until: Option<i64>| until.is_some_and(|until| until <= now);
            let actor = &world.actors[who];
            if over(actor.down_until) {
                let (index, incarnation) = (actor.index, actor.incarnation + 1);
                let pod = if actor.spool_lost { format!("p{index}.{incarnation}") } else { actor.pod() };
                let settings = self.settings(index, pod, incarnation);
                let started =
                    Actor::start(settings, (index, incarnation), actor.skew, actor.spool.clone(), now);
                world.actors[who] = Arc::new(started);
            } else if over(actor.frozen_until) || over(actor.cut_until) {
                let mut actor = (**actor).clone();
                actor.away_until = now;
                if over(actor.frozen_until) {
                    actor.frozen_until = None;
                }
                if over(actor.cut_until) {
                    (actor.cut_until, actor.noticed_cut) = (None, false);
                }
                world.actors[who] = Arc::new(actor);
            }
        }
    }

    /// Applies a fault that is not the failure of an effect.
    pub(crate) fn strike(&self, world: &mut World, action: Action) {
        let now = world.now;
        let change = |world: &mut World, who: u8, how: &dyn Fn(&mut Actor)| {
            let mut actor = (*world.actors[usize::from(who)]).clone();
            how(&mut actor);
            world.actors[usize::from(who)] = Arc::new(actor);
        };
        match action {
            Action::Crash { who, spool, seconds } => {
                predicates::crashed(world, usize::from(who), spool);
                change(world, who, &|actor| {
                    actor.down_until = Some(now + seconds * 1000);
                    if !spool {
                        (actor.spool, actor.spool_lost) = (None, true);
                    }
                    (actor.frozen_until, actor.reply, actor.cut_until) = (None, None, None);
                });
            }
            Action::Freeze(who, seconds) => {
                predicates::frozen(world, seconds);
                change(world, who, &|actor| {
                    actor.frozen_until = Some(now + seconds * 1000);
                    actor.sends_late = matches!(actor.effect, Effect::Send(..));
                });
            }
            Action::Cut(who, seconds) => {
                change(world, who, &|actor| actor.cut_until = Some(now + seconds * 1000));
            }
            Action::Outage(seconds) => {
                for who in 0..self.replicas {
                    change(world, who, &|actor| {
                        actor.cut_until = actor.cut_until.max(Some(now + seconds * 1000));
                    });
                }
            }
            Action::Wipe => {
                world.history.rolled_back = true;
                world.store.document = Arc::new(Document::default());
                world.store.version += 1;
            }
            Action::Restore => {
                world.history.rolled_back = true;
                if let Some(backup) = world.store.backup.take() {
                    world.store.document = backup;
                    world.store.version += 1;
                }
            }
            Action::Login(login) => world.store.login = login,
            Action::Request => {
                let mut document = (*world.store.document).clone();
                let at = Timestamp::from_millisecond(EPOCH + now).unwrap_or_default();
                document.request = Some(Request { id: "please".to_owned(), at, ..Request::default() });
                world.store.document = Arc::new(document);
                world.store.version += 1;
            }
            Action::Go(_) | Action::Deliver(_) | Action::Tick | Action::Fail(..) => {}
        }
        predicates::forgotten_by_all(world, None);
    }
}

/// What a provider said, as it comes over the wire.
pub(crate) fn http_reply((status, body): &Said) -> HttpReply {
    HttpReply { status: *status, body: body.clone().into(), complete: true, ..HttpReply::default() }
}

fn outage() -> Condition {
    Condition {
        reason: Reason { word: "store_unavailable", sentence: "", severity: Severity::Outage },
        message: String::new(),
    }
}
