//! Prints a trace for people: time, action, and the state document after it.

use std::fmt::Write as _;

use agent_creds_refresh::replica::Effect;
use stateright::Path;

use super::step::Action;
use super::world::World;

/// One line for each event.
pub(crate) fn told(path: Path<World, Action>) -> String {
    let mut text = String::new();
    for (world, action) in path.into_vec() {
        let Some(action) = action else { continue };
        let seconds = world.now as f64 / 1000.0;
        let _ = writeln!(text, "{seconds:>8.3} {:<40} {}", happened(&world, action), stored(&world));
    }
    text
}

/// An action, with the replica's next effect.
fn happened(world: &World, action: Action) -> String {
    let wants = |who: u8| match &world.actors[usize::from(who)].effect {
        Effect::Wait(_) => "wake",
        Effect::Read => "read",
        Effect::Connect(_) => "connect",
        Effect::Write(_) => "write",
        Effect::Spool(_) => "spool",
        Effect::Send(..) => "send",
    };
    match action {
        Action::Go(who) => format!("{who} {}", wants(who)),
        Action::Fail(who, failure) => format!("{who} {} FAILS {failure:?}", wants(who)),
        Action::Crash { who, .. } | Action::Freeze(who, _) | Action::Cut(who, _) => {
            format!("{action:?} at {}", wants(who))
        }
        other => format!("{other:?}"),
    }
}

/// The document in one line.
fn stored(world: &World) -> String {
    let document = &world.store.document;
    let head = document.refresh.as_ref().map_or("-", |head| head.token.expose());
    let spare: Vec<_> = document.spare.iter().map(|spare| spare.token.expose()).collect();
    let claim = document.claim.as_ref().map(|claim| format!("claim of {} {:?}", claim.holder, claim.purpose));
    let doubt = document.doubt.as_ref().map(|doubt| format!("doubt until {}", doubt.replay_not_before));
    let verdict = document.verdict.as_ref().map(|verdict| verdict.error.clone());
    let told: Vec<_> = [claim, doubt, verdict].into_iter().flatten().collect();
    let (version, (seq, generation)) = (world.store.version, document.progress());
    format!("v{version} login {seq}.{generation} head {head} spare {spare:?} {}", told.join(", "))
}
