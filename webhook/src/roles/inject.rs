//! Role `inject`: prints manifests as admission would leave them. It makes the same decision as the role `admit`, without a
//! cluster.

use std::fmt;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use agent_creds_core::names::is_label;
use anyhow::Context as _;

use crate::manifests::preview;
use crate::outcome::Refusal;
use crate::policy::Policy;

/// Maximum size of an input, in bytes.
const MAX_INPUT: u64 = 32 * 1024 * 1024;

/// Arguments of `inject`.
#[derive(Debug, clap::Args)]
pub struct Config {
    /// Manifests (YAML or JSON, one or more documents), or - for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    file: PathBuf,
    /// Policy file; without one: the defaults, and a placeholder for the image
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// CA bundle of the API server (PEM); without one: a placeholder
    #[arg(long, value_name = "FILE")]
    api_ca: Option<PathBuf>,
    /// Namespace of manifests that name none
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
}

/// The pods that are refused, at least one.
#[derive(Debug, thiserror::Error)]
pub struct Refused(Vec<(String, Refusal)>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")?;
        self.0.iter().try_for_each(|(object, refusal)| write!(f, "\n  {object}: {refusal}"))
    }
}

/// Reads the manifests, and prints them to `output` as admission would leave them. Notes and warnings go to `notices`.
///
/// # Errors
/// If a pod is refused, a file cannot be read, or no document is an object. Nothing is written to `output` then.
pub fn main(config: Config, output: &mut impl Write, notices: &mut impl Write) -> anyhow::Result<()> {
    let Config { file, policy, api_ca, namespace } = config;
    anyhow::ensure!(
        is_label(&namespace),
        "--namespace: expected a name of a namespace, found {namespace:?}; write lowercase letters, digits and -"
    );
    let text = policy.as_deref().map(read).transpose()?;
    let ca = api_ca.as_deref().map(read).transpose()?;
    let policy =
        Policy::for_preview(text.as_deref(), ca.as_deref().map(str::as_bytes)).context("in the policy")?;
    if text.is_none() {
        writeln!(
            notices,
            "note: without --policy the defaults hold; the image and the identity server are placeholders"
        )?;
    }
    writeln!(
        notices,
        "note: a preview has no seal, so the webhook refuses it; apply the original manifests"
    )?;
    if ca.is_none() {
        writeln!(notices, "note: without --api-ca the CA of the cluster is a placeholder")?;
    }
    let (printed, notes) = preview(&read(&file)?, &policy, &namespace).with_context(|| name(&file))?;
    for note in &notes.notes {
        writeln!(notices, "note: {note}")?;
    }
    for warning in &notes.warnings {
        writeln!(notices, "warning: {warning}")?;
    }
    if !notes.refusals.is_empty() {
        return Err(Refused(notes.refusals).into());
    }
    output.write_all(printed.as_bytes()).context("printing")
}

/// Returns the name of an input for messages.
fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let context = || format!("reading {}", name(path));
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT).read_to_end(&mut bytes))
    };
    let length = read.with_context(context)?;
    anyhow::ensure!(
        length as u64 != MAX_INPUT,
        "{}: larger than 32 MiB; divide it into several files",
        name(path)
    );
    String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        anyhow::anyhow!("{}: line {line} is not UTF-8 text; save the file as UTF-8", name(path))
    })
}

#[cfg(test)]
mod tests;
