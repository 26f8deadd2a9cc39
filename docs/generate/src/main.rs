//! `make docs`: writes the tables of the documentation that mirror the source, between `<!-- generated: NAME -->` and
//! `<!-- end: NAME -->`. With `--check` it writes nothing and says what differs; `make lint` runs it so.
//!
//! [`tables`] computes each table from the part of the source that it is about, [`blocks`] puts it into a document; both are
//! without side effects. This file reads and writes.

mod blocks;
mod documents;
mod example;
mod markdown;
mod mentions;
mod policies;
mod tables;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;

/// Writes the tables of the documentation that mirror the source.
#[derive(Debug, Parser)]
struct Args {
    /// Write nothing. Exit code 1: a table is not what the source says, or a page names something that does not exist.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let Args { check } = Args::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let done = root.canonicalize().context("the repository").and_then(|root| run(&root, check));
    let problems = done.unwrap_or_else(|error| format!("{error:#}\n"));
    if problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    // Where this cannot be written, there is the exit code.
    let _ = write!(io::stderr(), "{problems}");
    ExitCode::FAILURE
}

/// Writes the tables, or checks them; returns what is wrong, line by line.
fn run(root: &Path, check: bool) -> anyhow::Result<String> {
    let pages = pages(root)?;
    let filled = documents::fill_all(&pages, &tables::all(root)?, &tables::KEPT)?;
    let mut problems = String::new();
    for (page, filled) in &filled {
        if check {
            problems.push_str(&documents::report(page, filled));
        } else if pages.get(*page) != Some(&filled.text) {
            std::fs::write(root.join(page), &filled.text).with_context(|| format!("writing {page}"))?;
        }
    }
    if !problems.is_empty() {
        problems.push_str("run `make docs`, and commit what it writes\n");
    }
    for (page, filled) in &filled {
        problems.push_str(&mentions::missing(page, &filled.text, root)?);
    }
    problems.push_str(&policies::unexplained(root)?);
    Ok(problems)
}

/// The pages of the documentation by their paths below the repository's root.
fn pages(root: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pages = BTreeMap::new();
    for folder in ["", "docs", "charts/agent-creds", "tests/cluster"] {
        for entry in std::fs::read_dir(root.join(folder)).with_context(|| format!("listing {folder:?}"))? {
            let path: PathBuf = entry.with_context(|| format!("listing {folder:?}"))?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text =
                    std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let name = path.strip_prefix(root).context("a page of the repository")?;
                pages.insert(name.display().to_string(), text);
            }
        }
    }
    Ok(pages)
}
