//! Plays one row: brings a process to its step, lets the fault happen, brings it back, and sees how it ends.

use agent_creds_tests::authority::Authority;
use agent_creds_tests::sidecar::{Sidecar, eventually};
use rustix::process::Signal;
use tokio::time::Instant;

use super::case::{Case, Fault, Step, Successor};
use super::gate::Hold;
use super::judge::{Row, Story, judge};
use super::stage::{GRANT, Licences, Stage, TERM, now_ms, uncommitted};
use super::stop::{Call, Missed, Snare, stop};

/// One row, from the login to the verdict.
pub(crate) async fn play(case: Case, authority: &Authority) -> Result<Row, Missed> {
    let stage = Stage::new(authority).await;
    let mut victim = stage.sidecar().start().await;
    victim.becomes(GRANT, "ready", "ok").await;
    let mut successor = None;
    if case.successor != Successor::Idle {
        let other = stage.sidecar().start().await;
        other.becomes(GRANT, "ready", "ok").await;
        // It has seen all that came before, and sleeps while the other one makes its exchange.
        stop(&other).await;
        successor = Some(other);
    }
    if let Some(spoilt) = case.answer.spoilt() {
        stage.standin.fail_next(1, &spoilt);
    }
    bring_to(&case, &stage, &victim).await?;
    if !is_at(&case, &stage, &victim) {
        return Err(Missed);
    }
    let (stopped, stopped_ms) = (Instant::now(), now_ms());
    // What has arrived at the provider is carried out, at the latest before anybody is back; the answer to a process
    // that is stopped waits in its socket.
    if case.step != Step::Sent || case.successor == Successor::PastLast {
        release(&stage, &case).await;
    }
    if case.fault == Fault::Kill {
        victim.signal(Signal::KILL);
        victim.ended().await;
    }
    let mut licences = Licences::new();
    if let Some(successor) = &successor {
        successor.signal(Signal::CONT);
        stage.is_acted_upon().await;
        if case.successor == Successor::PastLast {
            stage.settles(&[successor], &mut licences).await;
        }
    }
    if case.fault == Fault::Freeze {
        tokio::time::sleep_until(stopped + 2 * TERM).await;
    }
    release(&stage, &case).await;
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
        victim = stage.sidecar().volumes(&volumes).start().await;
    } else {
        victim.signal(Signal::CONT);
    }
    let sidecars: Vec<_> = [&victim].into_iter().chain(&successor).collect();
    let end = stage.settles(&sidecars, &mut licences).await;
    Ok(judge(&Story { case, stage: &stage, sidecars: &sidecars, licences, stopped_ms, back_ms, end }).await)
}

/// Makes a refresh due, and stops the process in it.
async fn bring_to(case: &Case, stage: &Stage, victim: &Sidecar) -> Result<(), Missed> {
    let spool = victim.volumes().path().join("spool");
    let fresh = spool.join(format!("uncommitted-{GRANT}.new"));
    let lock = stage.secrets.path().join(format!(".{GRANT}-state.lock"));
    // strace knows a renaming by the name before.
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
            stage.gate.hold(Hold::Requests);
            stage.secrets.age(GRANT);
            eventually("the request has arrived", async || {
                let arrived = stage.gate.arrived();
                if arrived > 1 { Ok(()) } else { Err(arrived) }
            })
            .await;
            stop(victim).await;
            return Ok(());
        }
        Step::Answered => {
            stage.gate.hold(Hold::Answers);
            stage.secrets.age(GRANT);
            is_carried_out(stage).await;
            stop(victim).await;
            return Ok(());
        }
        Step::Committed => {
            stage.gate.hold(Hold::Answers);
            stage.secrets.age(GRANT);
            is_carried_out(stage).await;
            // Nobody writes while strace is attached; the first write after it is the commit. When it lets go of the
            // lock, it is done and nobody has heard of it.
            let held = stage.secrets.lock(GRANT);
            let snare = Snare::at(victim, &Call { names: "close", path: Some(lock), number: 1 }).await;
            stage.gate.hold(Hold::Nothing);
            drop(held);
            return snare.holds().await;
        }
    };
    let snare = Snare::at(victim, &call).await;
    stage.secrets.age(GRANT);
    snare.holds().await
}

async fn is_carried_out(stage: &Stage) {
    stage.standin.log_when(|log| log.len() > 1).await;
}

/// Lets the provider and its answers go, and waits until the request, if it was sent, is carried out.
async fn release(stage: &Stage, case: &Case) {
    stage.gate.hold(Hold::Nothing);
    if case.was_sent() {
        is_carried_out(stage).await;
    }
}

/// Whether the step is what the store, the spool and the provider say it is.
fn is_at(case: &Case, stage: &Stage, victim: &Sidecar) -> bool {
    let claimed = stage.state()["claim"].is_object();
    let uncommitted = uncommitted(victim);
    let answered =
        uncommitted.as_ref().map(|record| record["answer"].is_object() || record["answer"].is_string());
    let presented = stage.presented().len() - 1;
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
