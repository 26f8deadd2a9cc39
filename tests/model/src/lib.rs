//! Model checking of the refresh protocol. The model runs the shipped state machine in several replicas, with a store,
//! a provider and faults. [`predicates`] checks the promises of the README; [`step`] defines the actions.

mod predicates;
mod provider;
mod step;
mod trace;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_creds_core::grant::Grant;
use agent_creds_core::provider::FlowRules;
use agent_creds_refresh::document::{Access, Document, Last, Refresh, Seed, Token};
use agent_creds_refresh::fingerprint::of_token;
use agent_creds_refresh::login::Login;
use agent_creds_refresh::replica::{Effect, Record, Settings};
use agent_creds_refresh::safeguards::Safeguards;
use agent_creds_refresh::timing::Timing;
use jiff::Timestamp;
use stateright::{Checker, HasDiscoveries, Model, Property, UniformChooser};

use self::predicates::{Class, at_the_end, is_alive};
use self::provider::Provider;
pub use self::provider::Variant;
use self::step::{Action, Failure};
use self::world::{Actor, EPOCH, History, Store, World};

/// Time of the last fault, in milliseconds since the start of a trace.
const QUIET: i64 = 200_000;
/// Time at which the end of a trace is judged, in milliseconds since its start.
const HORIZON: i64 = 1_000_000;

/// Offsets of the replicas' clocks from the API server's time, in milliseconds.
const SKEWS: [i64; 3] = [0, 15_000, -15_000];

/// The state document at the start of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// An empty state.
    Empty,
    /// An access token that is due for renewal soon.
    Late,
    /// A fresh access token: a refresh takes place only on request.
    Early,
}

impl Start {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Late, Self::Empty, Self::Early];
}

/// The parameters of one exploration.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The active safeguards of the protocol.
    pub safeguards: Safeguards,
    /// The behaviour of the provider.
    pub variant: Variant,
    /// The number of replicas that share the grant.
    pub replicas: u8,
    /// The greatest number of faults in a trace.
    pub faults: u8,
    /// The state document at the start.
    pub start: Start,
    /// Whether the replicas' clocks differ, by half a minute at most.
    pub skewed: bool,
}

/// A setting, with the logins that the grant Secret can hold.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    safeguards: Safeguards,
    variant: Variant,
    replicas: u8,
    faults: u8,
    start: Start,
    skewed: bool,
    logins: Vec<Login>,
}

impl Protocol {
    fn new(setting: &Setting) -> Self {
        let Setting { safeguards, variant, replicas, faults, start, skewed } = *setting;
        let logins = ["0.0", "1.0", "never-issued"].iter().map(|token| login(token, variant)).collect();
        Self { safeguards, variant, replicas, faults, start, skewed, logins }
    }

    fn may_fail(&self, world: &World) -> bool {
        world.faults < self.faults && world.now <= QUIET
    }

    fn settings(&self, index: u8, pod: String, incarnation: u8) -> Settings {
        Settings {
            pod,
            process: incarnation.to_string(),
            spread: u16::from(index / 2) * 30_000,
            keep_alive: false,
            timing: Timing::PRODUCTION,
            safeguards: self.safeguards,
        }
    }
}

fn login(token: &str, variant: Variant) -> Login {
    let data = BTreeMap::from(
        [
            ("client_id", "id"),
            ("client_secret", "hush"),
            ("refresh_token", token),
            ("grant.yaml", "token_url: https://id.example.com/token"),
        ]
        .map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())),
    );
    let mut grant = Grant::read(Some("oauth2"), &data).expect("a grant");
    // Provider definitions are `'static`.
    let rules = FlowRules { replay: variant.replay(), ..grant.rules.clone() };
    grant.rules = Box::leak(Box::new(rules));
    Login::new(grant)
}

/// A document whose access token lives 600 s and is `age` seconds old.
fn living(login: &Login, provider: &mut Provider, age: i64) -> Document {
    let _ = provider.present("0.0", 0);
    let token = "0.1".to_owned();
    let access = Token::from(format!("a1@{}", -age * 1000));
    let at = |seconds: i64| Timestamp::from_millisecond(EPOCH + seconds * 1000).expect("a time");
    let head = if provider.is_alive("0.1") { token } else { "0.0".to_owned() };
    let mut clients = Vec::new();
    agent_creds_refresh::clients::accept(&mut clients, &login.asked());
    Document {
        clients,
        seed: Some(Seed {
            seq: 1,
            token_fp: login.token_fp.clone(),
            binding: login.binding.clone(),
            adopted_at: at(-age),
            proven: true,
            ..Seed::default()
        }),
        r#gen: 1,
        spent: vec![login.token_fp.clone()].into_iter().filter(|_| head != "0.0").collect(),
        refresh: Some(Refresh {
            fp: of_token(&head.clone().into()),
            token: head.into(),
            ..Refresh::default()
        }),
        access: Some(Access {
            fp: of_token(&access),
            token: access,
            issued_at: at(-age),
            expires_at: at(600 - age),
            lifetime_s: 600,
            config_fp: login.config_fp.clone(),
            ..Access::default()
        }),
        last: Some(Last { redeemed_at: at(-age), outcome: "success".to_owned(), ..Last::default() }),
        ..Document::default()
    }
}

/// The ways in which the actor's next effect can fail.
fn failures(actor: &Actor) -> &'static [Failure] {
    match &actor.effect {
        Effect::Write(_) if actor.cut_until.is_none() => &[Failure::AnswerOfWrite, Failure::Write],
        Effect::Send(..) => &[
            Failure::Answer,
            Failure::Unreadable,
            Failure::Request,
            Failure::Late(20),
            Failure::Late(90),
            Failure::Unavailable,
            Failure::Busy,
        ],
        _ => &[],
    }
}

/// Adds the faults that can happen to the actor's process.
fn strikes_at(actor: &Actor, actions: &mut Vec<Action>) {
    let who = actor.index;
    let crash = |spool, seconds| Action::Crash { who, spool, seconds };
    actions.extend([crash(true, 1), crash(true, 200)]);
    if matches!(actor.spool, Some(Record::Uncommitted(_))) {
        actions.push(crash(false, 1));
    }
    actions.extend([30, 130].map(|seconds| Action::Freeze(who, seconds)));
    if actor.cut_until.is_none() {
        actions.extend([30, 130].map(|seconds| Action::Cut(who, seconds)));
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut provider = Provider::new(self.variant, 2);
        let document = match self.start {
            Start::Empty => Document::default(),
            Start::Late => living(&self.logins[0], &mut provider, 420),
            Start::Early => living(&self.logins[0], &mut provider, 60),
        };
        let accesses: BTreeSet<_> = document.access.iter().map(|access| access.fp.clone()).collect();
        let peak = document.progress();
        let actors = (0..self.replicas)
            .map(|index| {
                let settings = self.settings(index, format!("p{index}"), 0);
                let skew = if self.skewed { SKEWS[usize::from(index) % SKEWS.len()] } else { 0 };
                Arc::new(Actor::start(settings, (index, 0), skew, None, 0))
            })
            .collect();
        vec![World {
            now: 0,
            store: Store { document: Arc::new(document), version: 1, backup: None, login: 0, accesses },
            provider,
            actors,
            late: Vec::new(),
            faults: 0,
            history: History { peak, ..History::default() },
            slack: if self.skewed { 30_000 } else { 0 },
            broken: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.now >= HORIZON || world.broken.is_some() {
            return;
        }
        let runs = |actor: &Actor| actor.is_up() && actor.wakes_at(world) <= world.now;
        let runnable = || world.actors.iter().filter(|actor| runs(actor));
        // An effect that no other replica sees commutes with all actions of the others, so one order is enough.
        let private = runnable().find(|actor| actor.is_private());
        if let Some(actor) = private {
            actions.push(Action::Go(actor.index));
            if self.may_fail(world) && !matches!(actor.effect, Effect::Wait(_)) {
                strikes_at(actor, actions);
            }
            return;
        }
        actions.extend(runnable().map(|actor| Action::Go(actor.index)));
        let waits = |actor: &Actor| actor.is_up() && matches!(actor.effect, Effect::Wait(_));
        let due = |actor: &&Arc<Actor>| {
            waits(actor) && actor.reply.as_ref().is_some_and(|(at, _)| *at <= world.now)
        };
        actions.extend(world.actors.iter().filter(due).map(|actor| Action::Deliver(actor.index)));
        let idle = actions.is_empty();
        if idle {
            actions.push(Action::Tick);
        }
        if !self.may_fail(world) {
            return;
        }
        for actor in runnable() {
            actions.extend(failures(actor).iter().map(|failure| Action::Fail(actor.index, *failure)));
        }
        // A fault of an idle replica commutes with the actions of the others, so it is explored only before time
        // passes.
        let struck = |actor: &&Arc<Actor>| actor.is_up() && (idle || runs(actor) || actor.reply.is_some());
        for actor in world.actors.iter().filter(struck) {
            strikes_at(actor, actions);
        }
        // In the other starts a refresh takes place without a request.
        if self.start == Start::Early && world.store.document.request.is_none() {
            actions.push(Action::Request);
        }
        actions.push(Action::Wipe);
        actions.extend([30, 130].map(Action::Outage));
        if world.store.backup.is_some() {
            actions.push(Action::Restore);
        }
        actions.extend((0..self.logins.len()).filter(|login| *login != world.store.login).map(Action::Login));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut world = world.clone();
        match action {
            Action::Go(who) => self.go(&mut world, usize::from(who), None),
            Action::Deliver(who) => Self::deliver(&mut world, usize::from(who)),
            Action::Fail(who, failure) => self.go(&mut world, usize::from(who), Some(failure)),
            Action::Tick => {
                self.tick(&mut world);
                if world.now >= HORIZON {
                    at_the_end(&mut world);
                }
            }
            fault => self.strike(&mut world, fault),
        }
        if !matches!(action, Action::Go(_) | Action::Deliver(_) | Action::Tick) {
            world.faults += 1;
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn lost_by(world: &World, class: Class) -> bool {
            world.now >= HORIZON && !is_alive(world) && world.history.classes == class.bit()
        }
        macro_rules! promises {
            ($($name:literal),+) => { vec![$(Property::always($name, |_, world: &World| world.broken != Some($name)),)+] };
        }
        let mut all = promises!("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P10", "P11", "P12", "P13");
        all.extend([
            Property::sometimes("L1", |_, world| lost_by(world, Class::AnswerLost)),
            Property::sometimes("L2", |_, world| lost_by(world, Class::Killed)),
            Property::sometimes("L3", |_, world| lost_by(world, Class::SpoolGone)),
            Property::sometimes("L4", |_, world| lost_by(world, Class::CutOff)),
            Property::sometimes("L5", |_, world| lost_by(world, Class::FrozenSend)),
            Property::sometimes("L6", |_, world| lost_by(world, Class::Forgotten)),
            Property::sometimes("L7", |_, world| lost_by(world, Class::Unreadable)),
        ]);
        all
    }
}

/// The result of an exploration.
#[derive(Debug)]
pub struct Findings {
    /// Number of distinct states.
    pub states: usize,
    /// Whether all reachable states were explored.
    pub complete: bool,
    /// Each broken promise, with a trace that breaks it.
    pub broken: Vec<(&'static str, String)>,
    /// Classes of loss (L1 to L6) that occurred alone in a trace.
    pub classes: Vec<&'static str>,
}

impl Findings {
    fn of(checker: &impl Checker<Protocol>, complete: bool) -> Self {
        let (mut broken, mut classes) = (Vec::new(), Vec::new());
        for (name, path) in checker.discoveries() {
            if name.starts_with('P') {
                broken.push((name, trace::told(path)));
            } else {
                classes.push(name);
            }
        }
        Self { states: checker.unique_state_count(), complete, broken, classes }
    }
}

/// Explores every order of events, until `most` states are reached or a promise is broken. The result is deterministic.
pub fn explore(setting: &Setting, most: usize) -> Findings {
    let checker = Protocol::new(setting).checker().threads(1).target_state_count(most);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    Findings::of(&checker, checker.state_count() < most)
}

/// Explores long random traces, until `most` states are reached or a promise is broken.
pub fn wander(setting: &Setting, seed: u64, most: usize) -> Findings {
    let checker = Protocol::new(setting).checker().threads(1).target_state_count(most);
    let checker = checker.finish_when(HasDiscoveries::AnyFailures);
    Findings::of(&checker.spawn_simulation(seed, UniformChooser).join(), false)
}
