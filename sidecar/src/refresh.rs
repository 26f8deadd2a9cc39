//! `refresh --once`: keeps grants alive that nobody uses, as a CronJob does it. The keepers of `serve` without anybody to
//! serve: they redeem only what would end otherwise, and are through when nothing is due.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::{RefreshArgs, StoreArg};
use crate::clock::Clock;
use crate::keeper::{Ended, Herald, Keeper, Logins, Tools};
use crate::lifecycle::{Phase, advance, terminated};
use crate::metrics::Metrics;
use crate::outcome::State;
use crate::shelf::Shelf;
use crate::store::Store;
use crate::store::directory::Directory;
use crate::wiring;

/// Terms of a claim after which it ends: a claim that another left, doubt, and a few failures have their time.
const TERMS: i32 = 10;

/// What is to be told to whoever started it, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Uncommitted,
    Reauth,
    Trouble,
    Fine,
}

/// Redeems what has to be redeemed, and says how it went.
pub async fn run(args: RefreshArgs) -> anyhow::Result<ExitCode> {
    if let Err(sentence) = args.grants.validate() {
        bail!(sentence);
    }
    let clock = Clock::system();
    match &args.grants.store {
        StoreArg::Directory(path) => run_with(Directory::new(path.clone()), None, clock, &args).await,
        StoreArg::Kubernetes => {
            let (store, cluster) = wiring::kubernetes(&args.grants, &clock)?;
            run_with(store, Some(cluster), clock, &args).await
        }
    }
}

async fn run_with<S: Store>(
    store: S,
    cluster: Option<String>,
    clock: Clock,
    args: &RefreshArgs,
) -> anyhow::Result<ExitCode> {
    let timing = wiring::timing(&args.grants);
    let usual = Duration::try_from(timing.term * TERMS).unwrap_or_default();
    let limit = args.deadline.map_or(usual, Duration::from_secs);
    let (phase, phases) = watch::channel(Phase::Running);
    let herald = Herald::default();
    let tools = Tools {
        store,
        cluster,
        connector: wiring::connector(&args.grants)?,
        clock: clock.clone(),
        spool: wiring::spool(&args.grants)?,
        logins: Arc::new(Logins::default()),
        herald: herald.clone(),
        timing,
        once: Some(Instant::now() + limit),
        phase: phases,
        metrics: Metrics::default(),
    };
    let mut keepers = JoinSet::new();
    for shelf in wiring::shelves(&args.grants) {
        let keeper = Keeper::new(tools.clone(), shelf.clone()).context("the spool")?;
        keepers.spawn(async move { (keeper.run().await, shelf) });
    }
    let verdicts = async {
        let mut worst = Verdict::Fine;
        while let Some(ended) = keepers.join_next().await {
            let (ended, shelf) = ended.context("a keeper")?;
            worst = worst.min(judged(ended, &shelf, &clock));
        }
        anyhow::Ok(worst)
    };
    let mut verdicts = pin!(verdicts);
    let worst = tokio::select! {
        worst = &mut verdicts => worst?,
        terminated = terminated() => {
            terminated.context("waiting for SIGTERM")?;
            advance(&phase, Phase::Stopping);
            verdicts.await?
        }
    };
    herald.finish().await;
    Ok(match worst {
        Verdict::Uncommitted => 3.into(),
        Verdict::Reauth => 4.into(),
        Verdict::Trouble => ExitCode::FAILURE,
        Verdict::Fine => ExitCode::SUCCESS,
    })
}

/// What became of one grant, with a line about it.
#[expect(clippy::print_stderr, reason = "what a person reads first who looks why the Job has failed")]
fn judged(ended: Ended, shelf: &Shelf, clock: &Clock) -> Verdict {
    let status = shelf.status(clock.now());
    let verdict = match (ended, status.state) {
        (Ended::Uncommitted, _) => Verdict::Uncommitted,
        (_, State::ReauthRequired) => Verdict::Reauth,
        (_, State::ScopeDenied | State::Misconfigured) => Verdict::Trouble,
        (Ended::Through, _) | (_, State::Ready) => Verdict::Fine,
        (Ended::Unfinished, _) => Verdict::Trouble,
    };
    let (grant, state, reason) = (&shelf.secret, status.state.as_str(), status.reason.as_str());
    if verdict == Verdict::Fine {
        tracing::info!(%grant, state, reason, "nothing is due");
    } else {
        eprintln!("agent-creds-sidecar: grant {grant}: {state}: {}", status.message);
    }
    verdict
}
