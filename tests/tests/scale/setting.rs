//! What a run is told, and its times.

use std::path::PathBuf;
use std::time::Duration;

/// What a run is told.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Fleets of so many real sidecars; the first is what the others are compared with.
    pub(crate) sidecars: Vec<usize>,
    /// So many machines in this process.
    pub(crate) simulated: Option<usize>,
    /// The sidecar to measure; none: the one beside the tests.
    pub(crate) program: Option<PathBuf>,
    /// The file for the rows.
    pub(crate) rows: Option<PathBuf>,
}

/// Seconds that an access token lives. Refreshes are spread over a tenth of that, 6 s; those of a token of an hour over
/// 360 s. What decides is how much of it passes until the others see that one has gone first: here, all on one machine,
/// 20 to 100 ms, or about 1 %; in a cluster with a provider that is 100 ms away half a second, or 0.15 %. So races are
/// more likely here than where it matters. Shorter it cannot be: ten thousand read both Secrets after each write, and
/// one machine takes most of a minute for that.
pub(crate) const TOKEN_LIFE_S: u64 = 60;
/// Token lives that are counted while all is well, besides the one that brought the first token.
pub(crate) const LIVES: usize = 2;
/// The protocol's minute is so many of ours. Its shortest time, the 3 s in which a claim has to be acted on, becomes 1 s:
/// long enough for one of ten thousand machines in one process to get its turn.
pub(crate) const TIME_SCALE: f64 = 1.0 / 3.0;
/// Seconds that the last token lives before the provider's outage, and so a tenth of the outage.
pub(crate) const LAST_LIFE_S: u64 = 12;
/// Token lives that the outage is long.
pub(crate) const OUTAGE_LIVES: u32 = 10;

/// How long the provider is down, from the first refresh that fails.
pub(crate) const OUTAGE: Duration = Duration::from_secs(LAST_LIFE_S * OUTAGE_LIVES as u64);

impl Setting {
    /// From what `make bench` sets.
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
