//! `refresh --once`: keeps grants alive that no agent uses, as a CronJob. It runs the refreshers of `serve` without serving; they
//! redeem only what would otherwise end, and finish when nothing is due.

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::words::Word as _;
use agent_creds_refresh::status::State;
use agent_creds_runtime::signals::Termination;
use anyhow::{Context, bail};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::setup;
use crate::cli::RefreshArgs;
use crate::clock::Clock;
use crate::lifecycle::{Phase, advance};
use crate::metrics::Metrics;
use crate::refresher::{Ended, EventRecorder, Logins, Refresher, Tools};
use crate::store::Store;
use crate::token_cache::TokenCache;

/// Default time limit in terms of a claim: enough to wait for another replica's claim and for a few failures.
const TERMS: i32 = 10;

/// The result for the exit code, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Uncommitted,
    Reauth,
    Condition,
    Fine,
}

/// Redeems what is due, and returns the exit code.
///
/// # Errors
/// Where the arguments contradict each other, or a volume cannot be used.
pub async fn run(args: RefreshArgs) -> anyhow::Result<ExitCode> {
    if let Err(sentence) = args.grants.validate() {
        bail!(sentence);
    }
    setup::on_store(&args.grants, Refresh(&args)).await
}

struct Refresh<'a>(&'a RefreshArgs);

impl setup::Task for Refresh<'_> {
    type Output = ExitCode;

    async fn run<S: Store>(
        self,
        store: S,
        cluster: Option<String>,
        clock: Clock,
    ) -> anyhow::Result<ExitCode> {
        refresh_from(store, cluster, clock, self.0).await
    }
}

async fn refresh_from<S: Store>(
    store: S,
    cluster: Option<String>,
    clock: Clock,
    args: &RefreshArgs,
) -> anyhow::Result<ExitCode> {
    let mut termination = Termination::listen().context("installing signal handlers")?;
    let timing = setup::timing(&args.grants);
    let usual = Duration::try_from(timing.term * TERMS).unwrap_or_default();
    let limit = args.deadline.map_or(usual, Duration::from_secs);
    let (phase, phases) = watch::channel(Phase::Running);
    let events = EventRecorder::default();
    let tools = Tools {
        store,
        cluster,
        connector: setup::connector(&args.grants)?,
        clock: clock.clone(),
        spool: setup::spool(&args.grants)?,
        logins: Arc::new(Logins::default()),
        events: events.clone(),
        timing,
        once: Some(Instant::now() + limit),
        phase: phases,
        metrics: Metrics::default(),
    };
    let mut refreshers = JoinSet::new();
    for cache in setup::caches(&args.grants) {
        let refresher = Refresher::new(tools.clone(), cache.clone()).context("the spool")?;
        refreshers.spawn(async move { (refresher.run().await, cache) });
    }
    let verdicts = async {
        let mut worst = Verdict::Fine;
        while let Some(ended) = refreshers.join_next().await {
            let (ended, cache) = ended.context("a refresher")?;
            worst = worst.min(judged(ended, &cache, &clock));
        }
        anyhow::Ok(worst)
    };
    let mut verdicts = pin!(verdicts);
    let worst = tokio::select! {
        worst = &mut verdicts => worst?,
        () = termination.received() => {
            advance(&phase, Phase::Stopping);
            verdicts.await?
        }
    };
    events.finish().await;
    Ok(match worst {
        Verdict::Uncommitted => 3.into(),
        Verdict::Reauth => 4.into(),
        Verdict::Condition => ExitCode::FAILURE,
        Verdict::Fine => ExitCode::SUCCESS,
    })
}

/// Returns the result for one grant, and logs it.
#[expect(clippy::print_stderr, reason = "the first thing that a person reads about a failed Job")]
fn judged(ended: Ended, cache: &TokenCache, clock: &Clock) -> Verdict {
    let status = cache.status(clock.now());
    let verdict = match (ended, status.state) {
        (Ended::Uncommitted, _) => Verdict::Uncommitted,
        (_, State::ReauthRequired) => Verdict::Reauth,
        (_, State::ScopeDenied | State::Misconfigured) => Verdict::Condition,
        (Ended::Through, _) | (_, State::Ready) => Verdict::Fine,
        (Ended::Unfinished, _) => Verdict::Condition,
    };
    let (grant, state, reason) = (&cache.secret, status.state.as_str(), status.reason.word);
    if verdict == Verdict::Fine {
        tracing::info!(%grant, state, reason, "nothing is due");
    } else {
        eprintln!("agent-creds-sidecar: grant {grant}: {state}: {}", status.message);
    }
    verdict
}
