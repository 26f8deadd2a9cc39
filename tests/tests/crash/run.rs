//! Runs one row: brings a process to its step, applies the fault, restarts or continues the process, and waits for the
//! outcome.

use agent_creds_tests::authority::Authority;
use agent_creds_tests::sidecar::{Sidecar, eventually};
use rustix::process::Signal;
use tokio::time::Instant;

use super::case::{Case, Fault, Step, Successor};
use super::environment::{Environment, GRANT, Licences, TERM, now_ms, uncommitted};
use super::gate::Hold;
use super::judge::{Events, Row, judge};
use super::stop::{Breakpoint, Call, Missed, stop};

/// Runs one row from the login to the judgement.
pub(crate) async fn run(case: Case, authority: &Authority) -> Result<Row, Missed> {
    let environment = Environment::new(authority).await;
    let mut victim = environment.sidecar().start().await;
    victim.becomes(GRANT, "ready", "ok").await;
    let mut successor = None;
    if case.successor != Successor::Idle {
        let other = environment.sidecar().start().await;
        other.becomes(GRANT, "ready", "ok").await;
        // It has seen the state so far, and is stopped during the other process's exchange.
        stop(&other).await;
        successor = Some(other);
    }
    if let Some(spoilt) = case.answer.spoilt() {
        environment.standin.fail_next(1, &spoilt);
    }
    bring_to(&case, &environment, &victim).await?;
    if !is_at(&case, &environment, &victim) {
        return Err(Missed);
    }
    let (stopped, stopped_ms) = (Instant::now(), now_ms());
    // The provider processes an arrived request before any process is back. The answer to a stopped process waits in
    // its socket.
    if case.step != Step::Sent || case.successor == Successor::PastLast {
        release(&environment, &case).await;
    }
    if case.fault == Fault::Kill {
        victim.signal(Signal::KILL);
        victim.ended().await;
    }
    let mut licences = Licences::new();
    if let Some(successor) = &successor {
        successor.signal(Signal::CONT);
        environment.is_acted_upon().await;
        if case.successor == Successor::PastLast {
            environment.settles(&[successor], &mut licences).await;
        }
    }
    if case.fault == Fault::Freeze {
        tokio::time::sleep_until(stopped + 2 * TERM).await;
    }
    release(&environment, &case).await;
    let back_ms = now_ms();
    if case.fault == Fault::Kill {
        let volumes = victim.volumes().clone();
        drop(victim);
        if !case.spool_kept {
            let spool = volumes.path().join("spool");
            for entry in std::fs::read_dir(spool).expect("the spool").flatten() {
                std::fs::remove_file(entry.path()).expect("removing our own file");
            }
        }
        victim = environment.sidecar().volumes(&volumes).start().await;
    } else {
        victim.signal(Signal::CONT);
    }
    let sidecars: Vec<_> = [&victim].into_iter().chain(&successor).collect();
    let end = environment.settles(&sidecars, &mut licences).await;
    Ok(judge(&Events {
        case,
        environment: &environment,
        sidecars: &sidecars,
        licences,
        stopped_ms,
        back_ms,
        end,
    })
    .await)
}

/// Makes a refresh due, and stops the process at its step.
async fn bring_to(case: &Case, environment: &Environment, victim: &Sidecar) -> Result<(), Missed> {
    let spool = victim.volumes().path().join("spool");
    let fresh = spool.join(format!("uncommitted-{GRANT}.new"));
    let lock = environment.secrets.path().join(format!(".{GRANT}-state.lock"));
    // strace identifies a rename by the old name.
    let (open, rename) = ("openat", "?rename,?renameat,?renameat2");
    let call = match case.step {
        Step::BeforeConnect => Call { names: "socket", path: None, number: 1 },
        Step::Connected => Call { names: open, path: Some(lock), number: 1 },
        Step::Claimed => Call { names: open, path: Some(fresh), number: 1 },
        Step::Marked => Call { names: rename, path: Some(fresh), number: 1 },
        Step::Received => Call { names: open, path: Some(fresh), number: 2 },
        Step::Spooled => Call { names: rename, path: Some(fresh), number: 2 },
        Step::After => Call { names: rename, path: Some(fresh), number: 3 },
        Step::Sent => {
            environment.gate.hold(Hold::Requests);
            environment.secrets.age(GRANT);
            eventually("the request arrives", async || {
                let arrived = environment.gate.arrived();
                if arrived > 1 { Ok(()) } else { Err(arrived) }
            })
            .await;
            stop(victim).await;
            return Ok(());
        }
        Step::Answered => {
            environment.gate.hold(Hold::Answers);
            environment.secrets.age(GRANT);
            is_carried_out(environment).await;
            stop(victim).await;
            return Ok(());
        }
        Step::Committed => {
            environment.gate.hold(Hold::Answers);
            environment.secrets.age(GRANT);
            is_carried_out(environment).await;
            // No process writes while strace is attached, so the next release of the lock ends the commit. At that
            // point the process has not yet read the result.
            let held = environment.secrets.lock(GRANT);
            let breakpoint =
                Breakpoint::at(victim, &Call { names: "close", path: Some(lock), number: 1 }).await;
            environment.gate.hold(Hold::Nothing);
            drop(held);
            return breakpoint.holds().await;
        }
    };
    let breakpoint = Breakpoint::at(victim, &call).await;
    environment.secrets.age(GRANT);
    breakpoint.holds().await
}

async fn is_carried_out(environment: &Environment) {
    environment.standin.log_when(|log| log.len() > 1).await;
}

/// Releases requests and answers, and waits until a sent request is processed.
async fn release(environment: &Environment, case: &Case) {
    environment.gate.hold(Hold::Nothing);
    if case.was_sent() {
        is_carried_out(environment).await;
    }
}

/// Whether store, spool and provider show that the process is at its step.
fn is_at(case: &Case, environment: &Environment, victim: &Sidecar) -> bool {
    let claimed = environment.state()["claim"].is_object();
    let uncommitted = uncommitted(victim);
    let answered =
        uncommitted.as_ref().map(|record| record["answer"].is_object() || record["answer"].is_string());
    let presented = environment.presented().len() - 1;
    (presented, claimed, answered)
        == match case.step {
            Step::BeforeConnect | Step::Connected => (0, false, None),
            Step::Claimed => (0, true, None),
            Step::Marked | Step::Sent => (0, true, Some(false)),
            Step::Answered | Step::Received => (1, true, Some(false)),
            Step::Spooled => (1, true, Some(true)),
            Step::Committed => (1, false, Some(true)),
            Step::After => (1, false, None),
        }
}
