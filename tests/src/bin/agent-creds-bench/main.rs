//! Measures what `wrk` cannot measure, for `make bench`: load at a fixed rate, and the time from the start of a process
//! to its first successful answer. Each subcommand prints one line of JSON.
//!
//! A request is a file with the exact bytes to send, so that both sides of a comparison get the same request. The
//! program connects to loopback addresses only.

mod http;
mod paced;
mod start;

use std::io::{self, Write as _};
use std::time::Duration;

use clap::Parser;

/// Measures servers on this machine.
#[derive(Parser)]
enum Command {
    /// Sends requests at a fixed rate and prints percentiles of the response times
    Paced(paced::Arguments),
    /// Starts a program repeatedly and prints the time to its first answer
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
