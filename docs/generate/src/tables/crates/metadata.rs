//! The crates of this repository, as cargo knows them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// As much of the output of `cargo metadata` as is needed.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A crate of this repository.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

/// A crate that another one uses.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// `dev`, `build`, or none.
    pub(super) kind: Option<String>,
}

/// Returns the crates of the workspace. Asks cargo, which is on the path since `make` runs this program with it.
pub(super) fn packages(root: &Path) -> anyhow::Result<Vec<Package>> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version=1", "--locked", "--offline"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("parsing the output of cargo metadata")?;
    Ok(metadata.packages)
}

impl Package {
    /// The source file at the root of its library, or of its program.
    pub(super) fn root(&self) -> Option<&Path> {
        let of =
            |kind: &str| self.targets.iter().find(|target| target.kind.iter().any(|found| found == kind));
        of("lib").or_else(|| of("bin")).map(|target| target.src_path.as_path())
    }
}
