//! The crash matrix. Real sidecars are killed or frozen at each step of an exchange, for each kind of answer, while
//! another replica sleeps or continues, and with the spool kept or lost. The provider revokes a token family when a
//! token is presented twice, and its log is the evidence. The losses that the protocol cannot prevent are computed
//! beforehand; every other grant must survive.
//!
//! The rows are written to `target/results/crash.json`. `CRASH_ROWS="Freeze at Sent"` runs only the rows with these
//! words in their name, and writes nothing.

mod case;
mod environment;
mod gate;
mod judge;
mod run;
mod stop;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;

use agent_creds_tests::authority::Authority;
use serde_json::Value;

use self::case::Case;
use self::judge::Row;
use self::run::run;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Number of concurrent rows; they mostly wait.
const AT_A_TIME: usize = 12;
/// Number of attempts of a row whose process gave up before its step because the machine was busy.
const TRIES: usize = 5;

#[test]
#[expect(clippy::disallowed_methods, reason = "a person selects rows by name")]
fn a_grant_survives_a_crash_at_every_step_unless_it_is_unsaveable() {
    let wanted = std::env::var("CRASH_ROWS").unwrap_or_default();
    let cases = Case::all().into_iter().filter(|case| case.to_string().contains(&wanted));
    let (authority, left) = (Authority::new(), Mutex::new(cases.enumerate()));
    let rows = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no row panics under the lock").next();
                    let Some((number, case)) = next else { return };
                    let row = run_row(case, &authority);
                    rows.lock().expect("no row panics under the lock").insert(number, row);
                }
            });
        }
    });
    let rows: Vec<_> = rows.into_inner().expect("no row panicked under the lock").into_values().collect();
    if wanted.is_empty() {
        assert!(rows.len() >= 200, "{} rows", rows.len());
        write(&rows);
    }
    report(&rows);
}

/// Runs a row. A row that panics counts as failed and does not hide the others.
fn run_row(case: Case, authority: &Authority) -> Row {
    for _ in 0..TRIES {
        let result = std::thread::scope(|scope| {
            let run_case = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(run(case, authority))
            };
            scope.spawn(run_case).join()
        });
        match result {
            Ok(Ok(row)) => return row,
            Ok(Err(_missed)) => {}
            Err(why) => {
                let text = why.downcast_ref::<String>().map_or("it panicked", String::as_str);
                return Row::failed(case, text);
            }
        }
    }
    Row::failed(case, "the process never reached the step")
}

fn write(rows: &[Row]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/results");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    let rows: Vec<_> = rows.iter().map(|row| row.json().to_string()).collect();
    std::fs::write(folder.join("crash.json"), format!("[{}]\n", rows.join(",\n"))).expect("the results");
}

/// Prints the number of rows by fault, step and outcome, and fails if a row is wrong.
#[expect(clippy::print_stdout, reason = "people read the summary")]
fn report(rows: &[Row]) {
    let mut summary: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
    for row in rows {
        let json = row.json();
        let of = |field: &str| json[field].as_str().unwrap_or_default().to_owned();
        let counts = summary.entry((of("fault"), row.case.step)).or_default();
        *counts.entry(of("how")).or_default() += 1;
    }
    let mut table = String::new();
    for ((fault, step), counts) in &summary {
        let counts: Vec<_> = counts.iter().map(|(how, count)| format!("{how} {count}")).collect();
        let _ = writeln!(table, "{fault:<16} {:<15} {}", format!("{step:?}"), counts.join(", "));
    }
    let lost = rows.iter().filter(|row| row.json()["lost"] == Value::Bool(true)).count();
    println!("{table}{} rows, {lost} lost", rows.len());
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|row| row.wrong.as_ref().map(|what| format!("{}: {what}", row.case)))
        .collect();
    assert!(wrong.is_empty(), "{} rows are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
