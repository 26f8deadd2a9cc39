//! The settings of a run.

use std::path::PathBuf;
use std::time::Duration;

/// The settings of a run.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Sizes of the groups of real sidecars; the first group is the reference.
    pub(crate) sidecars: Vec<usize>,
    /// Number of simulated replicas in this process.
    pub(crate) simulated: Option<usize>,
    /// The sidecar to measure; `None` is the one beside the tests.
    pub(crate) program: Option<PathBuf>,
    /// The output file for the rows.
    pub(crate) rows: Option<PathBuf>,
}

/// Lifetime of an access token in seconds. Refreshes are spread over a tenth of it, 6 s; those of an hour's token over
/// 360 s. The number of races depends on the share of that time until the other replicas see the first one's claim:
/// here, on one machine, 20 to 100 ms, or about 1 %; in a cluster with a provider 100 ms away half a second, or 0.15 %.
/// So races are more likely here than in production. The lifetime cannot be shorter: ten thousand replicas read both
/// Secrets after each write, which takes one machine most of a minute.
pub(crate) const TOKEN_LIFE_S: u64 = 60;
/// Number of measured token lives in normal operation, after the first one.
pub(crate) const LIVES: usize = 2;
/// Factor of all times of the protocol. The shortest one, the send window of 3 s, becomes 1 s, which is long enough for
/// one of ten thousand replicas in one process.
pub(crate) const TIME_SCALE: f64 = 1.0 / 3.0;
/// Lifetime of the last token before the outage in seconds, and so a tenth of the outage.
pub(crate) const LAST_LIFE_S: u64 = 12;
/// Duration of the outage in token lives.
pub(crate) const OUTAGE_LIVES: u32 = 10;

/// Duration of the outage, from the first failed refresh.
pub(crate) const OUTAGE: Duration = Duration::from_secs(LAST_LIFE_S * OUTAGE_LIVES as u64);

impl Setting {
    /// Reads the variables that `make bench` sets.
    #[expect(clippy::disallowed_methods, reason = "a test has no arguments of its own")]
    pub(crate) fn read() -> Self {
        let numbers = |name: &str, default: &str| -> Vec<usize> {
            let text = std::env::var(name).unwrap_or_else(|_| default.to_owned());
            let number = |word: &str| word.parse().unwrap_or_else(|_| panic!("{name}: whole numbers"));
            text.split_whitespace().map(number).collect()
        };
        Self {
            sidecars: numbers("BENCH_SCALE", "1 10 100"),
            simulated: numbers("BENCH_SCALE_SIMULATED", "10000").first().copied().filter(|count| *count > 0),
            program: std::env::var_os("SCALE_SIDECAR").map(Into::into),
            rows: std::env::var_os("SCALE_ROWS").map(Into::into),
        }
    }
}
