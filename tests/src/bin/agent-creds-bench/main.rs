//! The measuring side of `make bench`, for what `wrk` cannot do: a load that keeps a given rate, and the time from a
//! process's start to its first good answer. Each subcommand prints one line of JSON.
//!
//! Requests are files with their bytes as they go over the wire, so that both sides of a comparison get the same.
//! Nothing but loopback is talked to, whatever the arguments say.

mod http;
mod paced;
mod start;

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Parser;

/// Measures servers on this machine.
#[derive(Parser)]
enum Command {
    /// Sends requests at a rate and says how long the answers took
    Paced(paced::Arguments),
    /// Starts a program again and again and says how long its first answer took
    Start(start::Arguments),
}

fn main() -> anyhow::Result<()> {
    let line = match Command::parse() {
        Command::Paced(arguments) => paced::measure(&arguments)?,
        Command::Start(arguments) => start::measure(&arguments)?,
    };
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

/// The value that `share` of the sorted `values` do not exceed, in milliseconds and whole microseconds.
fn percentile(values: &[Duration], share: f64) -> f64 {
    let rank = (values.len() as f64 * share).ceil() as usize;
    let value = values.get(rank.clamp(1, values.len().max(1)) - 1);
    value.map_or(f64::NAN, |value| (value.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 0.5), 100.0);
        assert_eq!(percentile(&values, 0.99), 198.0);
        assert_eq!(percentile(&values, 1.0), 200.0);
        assert_eq!(percentile(&values[..1], 0.01), 1.0);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
