//! The crates of this repository: which uses which, and the modules of each with the first sentence of their documentation.

mod graph;
mod metadata;
mod modules;

use std::path::Path;

use anyhow::Context as _;
use metadata::Package;

/// The programs that are shipped. Of them and of what they use, two levels of modules are shown; of the others one.
const SHIPPED: [&str; 2] = ["agent-creds-sidecar", "agent-creds-webhook"];

pub(super) fn crates(root: &Path) -> anyhow::Result<String> {
    let packages = metadata::packages(root)?;
    let edges = graph::edges(&packages);
    let ships = |package: &Package| SHIPPED.iter().any(|shipped| graph::uses(&edges, shipped, &package.name));
    let (shipped, others): (Vec<_>, Vec<_>) =
        graph::in_order(&packages, &edges).into_iter().partition(|package| ships(package));
    let mut text = format!("```mermaid\n{}```\n", graph::mermaid(&packages, &edges));
    for (package, depth) in shipped.iter().map(|p| (p, 2)).chain(others.iter().map(|p| (p, 1))) {
        text.push_str(&describe(package, root, depth).with_context(|| format!("crate {}", package.name))?);
    }
    Ok(text)
}

/// Folder, name and description of a crate, and its modules as a tree.
fn describe(package: &Package, root: &Path, depth: usize) -> anyhow::Result<String> {
    let source = package.root().context("neither a library nor a program")?;
    let folder = package.manifest_path.parent().context("a folder")?;
    let folder = folder.strip_prefix(root).unwrap_or(folder).display();
    let description = package.description.as_deref().context("no description in Cargo.toml; write one")?;
    let tree = modules::tree(source, depth, &|path| std::fs::read_to_string(path).ok())?;
    Ok(format!("\n`{folder}/` ({}): {description}.\n\n```\n{tree}```\n", package.name))
}
