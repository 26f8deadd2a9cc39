//! The crash matrix: real sidecars, killed or frozen at each step of an exchange, with each answer on its way, while
//! another replica sleeps or goes on, with the spool kept or lost. The provider revokes a family of tokens when one
//! comes twice, and its log is the evidence. What cannot be saved is computed beforehand; everything else must be.
//!
//! The rows go to `target/results/crash.json`. `CRASH_ROWS="Freeze at Sent"` plays those alone whose name has this in
//! it, and writes nothing.

mod case;
mod gate;
mod judge;
mod play;
mod stage;
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
use self::play::play;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Rows at a time: they mostly wait.
const AT_A_TIME: usize = 12;
/// How often a row is tried whose process gave up before its step, because the machine was busy.
const TRIES: usize = 5;

#[test]
#[expect(clippy::disallowed_methods, reason = "who looks into one row names it")]
fn whatever_can_be_saved_is_saved() {
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
                    let row = played(case, &authority);
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

/// A row; one that panics is a failed row and does not hide the others.
fn played(case: Case, authority: &Authority) -> Row {
    for _ in 0..TRIES {
        let played = std::thread::scope(|scope| {
            let play = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(play(case, authority))
            };
            scope.spawn(play).join()
        });
        match played {
            Ok(Ok(row)) => return row,
            Ok(Err(_missed)) => {}
            Err(why) => {
                let text = why.downcast_ref::<String>().map_or("it panicked", String::as_str);
                return Row::failed(case, text);
            }
        }
    }
    Row::failed(case, "the step was never reached")
}

fn write(rows: &[Row]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/results");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    let rows: Vec<_> = rows.iter().map(|row| row.json().to_string()).collect();
    std::fs::write(folder.join("crash.json"), format!("[{}]\n", rows.join(",\n"))).expect("the results");
}

/// Prints how many rows came out how, by fault and step, and fails where one is wrong.
#[expect(clippy::print_stdout, reason = "the summary of the table is for people")]
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
