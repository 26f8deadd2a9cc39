//! Role `inject`: what admission would make of manifests, printed. The same decision, without a cluster.

use std::fmt;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use agent_creds_core::annotations::INJECT;
use agent_creds_core::names::is_label;
use anyhow::Context as _;
use serde_json::Value;

use crate::outcome::Refusal;
use crate::pod::decide::{self, Decision};
use crate::policy::Policy;

/// Largest input.
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

/// Messages of a preview besides its output.
#[derive(Debug, Default)]
pub struct Notes {
    /// One sentence each.
    pub warnings: Vec<String>,
    /// Refusals, with the object that each is about.
    pub refusals: Vec<(String, Refusal)>,
}

/// At least one pod is refused. The text names all of them.
#[derive(Debug, thiserror::Error)]
pub struct Refused(Vec<(String, Refusal)>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")?;
        self.0.iter().try_for_each(|(object, refusal)| write!(f, "\n  {object}: {refusal}"))
    }
}

/// Reads, previews and prints; nothing is printed where anything is refused.
pub fn main(config: Config, output: &mut impl Write, notices: &mut impl Write) -> anyhow::Result<()> {
    let Config { file, policy, api_ca, namespace } = config;
    anyhow::ensure!(is_label(&namespace), "--namespace: {namespace:?} is not a valid namespace name");
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
    let (printed, notes) = preview(&read(&file)?, &policy, &namespace)?;
    for warning in &notes.warnings {
        writeln!(notices, "warning: {warning}")?;
    }
    if !notes.refusals.is_empty() {
        return Err(Refused(notes.refusals).into());
    }
    output.write_all(printed.as_bytes()).context("printing")
}

/// The manifests in `text` as admission would leave them.
pub fn preview(text: &str, policy: &Policy, namespace: &str) -> anyhow::Result<(String, Notes)> {
    // Kubernetes reads YAML 1.1, where 0444 is octal.
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_yaml::from_multiple_with_options(text, options)
        .map_err(|error| anyhow::anyhow!("{}", error.without_snippet()))
        .context("reading the manifests")?;
    let mut notes = Notes::default();
    let mut printed = String::new();
    for mut document in documents.into_iter().filter(|document| !document.is_null()) {
        inject(&mut document, policy, namespace, &mut notes)?;
        if !printed.is_empty() {
            printed.push_str("---\n");
        }
        printed.push_str(&serde_yaml::to_string(&document).context("printing the manifests")?);
    }
    Ok((printed, notes))
}

fn inject(document: &mut Value, policy: &Policy, namespace: &str, notes: &mut Notes) -> anyhow::Result<()> {
    let kind = document["kind"].as_str().unwrap_or_default().to_owned();
    if kind.ends_with("List") {
        let items = document.get_mut("items").and_then(Value::as_array_mut);
        return items.into_iter().flatten().try_for_each(|item| inject(item, policy, namespace, notes));
    }
    let Some(pointer) = template(&kind) else { return Ok(()) };
    let named = |key: &str| document["metadata"][key].as_str().unwrap_or_default().to_owned();
    let namespace =
        Some(named("namespace")).filter(|name| !name.is_empty()).unwrap_or_else(|| namespace.to_owned());
    let object = format!("{kind} {namespace}/{}{}", named("name"), named("generateName"));
    if !pointer.is_empty() && document["metadata"]["annotations"].get(INJECT).is_some() {
        let path = pointer.replace('/', ".");
        notes.warnings.push(format!(
            "{object}: annotation {INJECT} is on the {kind} itself, where it has no effect; write it at \
             {}.metadata.annotations",
            path.trim_start_matches('.')
        ));
    }
    let Some(pod) = document.pointer_mut(pointer) else { return Ok(()) };
    match decide::preview(pod, policy, &namespace) {
        Decision::Unchanged(_) => {}
        Decision::Injected { patch, warnings, .. } => {
            notes.warnings.extend(warnings.into_iter().map(|warning| format!("{object}: {warning}")));
            patch.apply(pod).with_context(|| object.clone())?;
        }
        Decision::Refused(refusals) => {
            notes.refusals.extend(refusals.into_iter().map(|refusal| (object.clone(), refusal)));
        }
    }
    Ok(())
}

/// Where the pod is in an object of this kind, as a JSON pointer.
fn template(kind: &str) -> Option<&'static str> {
    match kind {
        "Pod" => Some(""),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            Some("/spec/template")
        }
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        "PodTemplate" => Some("/template"),
        _ => None,
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let context = || format!("reading {}", path.display());
    let mut text = String::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_INPUT).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT).read_to_string(&mut text))
    };
    let length = read.with_context(context)?;
    anyhow::ensure!(length as u64 != MAX_INPUT, "{} is larger than {MAX_INPUT} bytes", path.display());
    Ok(text)
}

#[cfg(test)]
mod tests;
