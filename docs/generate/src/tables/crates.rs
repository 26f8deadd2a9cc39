//! The crates of this repository: which uses which, and the modules of each with the first sentence of their documentation.

mod graph;
mod modules;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// The programs that are shipped. Of them and of what they use, two levels of modules are shown; of the others one.
const SHIPPED: [&str; 2] = ["agent-creds-sidecar", "agent-creds-webhook"];

/// As much of the output of `cargo metadata` as is needed.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A crate of this repository.
#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    description: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or none.
    kind: Option<String>,
}

pub(super) fn crates(root: &Path) -> anyhow::Result<String> {
    let packages = metadata(root)?.packages;
    let edges = graph::edges(&packages);
    let ships = |package: &Package| SHIPPED.iter().any(|shipped| graph::uses(&edges, shipped, &package.name));
    let (shipped, others): (Vec<_>, Vec<_>) =
        graph::in_order(&packages, &edges).into_iter().partition(|package| ships(package));
    let mut text = format!("```mermaid\n{}```\n", graph::mermaid(&packages, &edges));
    for (package, depth) in shipped.iter().map(|p| (p, 2)).chain(others.iter().map(|p| (p, 1))) {
        text.push_str(&package.describe(root, depth).with_context(|| format!("crate {}", package.name))?);
    }
    Ok(text)
}

/// Asks cargo, which is on the path since `make` runs this program with it.
fn metadata(root: &Path) -> anyhow::Result<Metadata> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--locked", "--offline"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("the output of cargo metadata")
}

impl Package {
    /// Its folder, name and description, and its modules as a tree.
    fn describe(&self, root: &Path, depth: usize) -> anyhow::Result<String> {
        let source = self.root().context("neither a library nor a program")?;
        let folder = self.manifest_path.parent().context("a folder")?;
        let folder = folder.strip_prefix(root).unwrap_or(folder).display();
        let description = self.description.as_deref().context("no description in Cargo.toml; write one")?;
        let tree = modules::tree(source, depth, &|path| std::fs::read_to_string(path).ok())?;
        Ok(format!("\n`{folder}/` ({}): {description}.\n\n```\n{tree}```\n", self.name))
    }

    /// The source file at the root of its library, or of its program.
    fn root(&self) -> Option<&Path> {
        let of =
            |kind: &str| self.targets.iter().find(|target| target.kind.iter().any(|found| found == kind));
        of("lib").or_else(|| of("bin")).map(|target| target.src_path.as_path())
    }
}
