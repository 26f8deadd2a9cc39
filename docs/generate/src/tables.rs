//! The tables by their names. Each says what a part of the source says, so it is computed from that part.

mod admission_reasons;
mod annotations;
mod crates;
mod identity_reasons;
mod metrics;
mod providers;
mod rbac;
mod sidecar_arguments;
mod state_reasons;
mod states;
mod token_endpoint_answers;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// Blocks that other tools write, from the results of a run: `tests/hostile/table`.
pub(crate) const KEPT: [&str; 1] = ["hostile-results"];

/// All tables. Files are read below `root`.
pub(crate) fn all(root: &Path) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let read =
        |file: &str| std::fs::read_to_string(root.join(file)).with_context(|| format!("reading {file}"));
    let tables = [
        ("admission-reasons", Ok(admission_reasons::admission_reasons())),
        ("annotations", Ok(annotations::annotations())),
        ("crates", crates::crates(root)),
        ("identity-reasons", Ok(identity_reasons::identity_reasons())),
        ("metrics", metrics::metrics()),
        ("providers", Ok(providers::providers())),
        ("rbac", read(rbac::FILE).and_then(|yaml| rbac::rbac(&yaml))),
        ("sidecar-arguments", Ok(sidecar_arguments::sidecar_arguments())),
        ("state-reasons", state_reasons::state_reasons()),
        ("states", Ok(states::states())),
        ("token-endpoint-answers", token_endpoint_answers::token_endpoint_answers()),
        ("values", read(values::FILE).and_then(|yaml| values::values(&yaml))),
    ];
    let mut all = BTreeMap::new();
    for (name, table) in tables {
        let table = table.with_context(|| format!("table {name}"))?;
        // The first two lines of a table are its header.
        ensure!(
            table.lines().count() > 2,
            "table {name}: it has no rows; look at the source that it is computed from"
        );
        all.insert(name, table);
    }
    Ok(all)
}
