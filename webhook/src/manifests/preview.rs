//! Previews the manifests of an input: prints them as admission would leave them, and explains what is not injected.

use agent_creds_core::annotations::{INJECT, misspelt};
use anyhow::Context as _;
use serde_json::Value;

use super::documents::{self, Document};
use super::path::{Path, Step};
use super::templates::{self, Stray, Template};
use super::{cluster, yaml};
use crate::outcome::{Reason, Refusal};
use crate::pod::decide::{self, Decision};
use crate::policy::Policy;

/// The sentences of a preview that are not part of its output.
#[derive(Debug, Default)]
pub struct Notes {
    /// Objects that are not injected, and why.
    pub notes: Vec<String>,
    /// Probable mistakes, and the warnings of the webhook.
    pub warnings: Vec<String>,
    /// Refusals, each with its object.
    pub refusals: Vec<(String, Refusal)>,
}

/// Returns the manifests in `text` as admission would leave them. `namespace` is that of manifests that name none.
pub fn preview(text: &str, policy: &Policy, namespace: &str) -> anyhow::Result<(String, Notes)> {
    let documents = documents::read(text).context("reading the manifests")?;
    check(&documents)?;
    let mut preview = Preview { policy, namespace, notes: Notes::default(), earlier: 0 };
    let mut printed = String::new();
    for Document { number, mut value, remarks } in documents {
        for remark in remarks {
            preview.notes.warnings.push(format!("document {number}, {remark}"));
        }
        if value.is_null() {
            continue;
        }
        preview.document(&mut value, &format!("document {number}"))?;
        if !printed.is_empty() {
            printed.push_str("---\n");
        }
        printed.push_str(&print(&value)?);
    }
    Ok((printed, preview.notes))
}

/// Refuses an input without any object.
fn check(documents: &[Document]) -> anyhow::Result<()> {
    let mut contents = documents.iter().filter(|document| !document.value.is_null()).peekable();
    let Some(first) = contents.peek() else {
        anyhow::bail!("the input has no manifest; write an object with apiVersion and kind");
    };
    let (number, found) = (first.number, name_of_type(&first.value));
    anyhow::ensure!(
        contents.any(|document| document.value.is_object()),
        "nothing in the input is an object: document {number} is {found}; write an object with apiVersion and kind"
    );
    Ok(())
}

/// Prints a document so that kubectl reads the same value. It does not read every text in block style.
fn print(value: &Value) -> anyhow::Result<String> {
    let printed = serde_yaml::to_string(value).context("printing the manifests")?;
    if yaml::read(&printed).is_ok_and(|read| read.value == *value) {
        return Ok(printed);
    }
    let plain = serde_yaml::ser_options! { prefer_block_scalars: false };
    serde_yaml::to_string_with_options(value, plain).context("printing the manifests")
}

struct Preview<'a> {
    policy: &'a Policy,
    namespace: &'a str,
    notes: Notes,
    /// How many warnings the objects before this one had.
    earlier: usize,
}

impl Preview<'_> {
    /// Adds a warning. Several templates of one object may have the same.
    fn warn(&mut self, warning: String) {
        if !self.notes.warnings[self.earlier..].contains(&warning) {
            self.notes.warnings.push(warning);
        }
    }

    /// Injects into an object, or into each of a list of objects.
    fn document(&mut self, value: &mut Value, place: &str) -> anyhow::Result<()> {
        let kind = value["kind"].as_str().unwrap_or_default().to_owned();
        if kind.ends_with("List")
            && let Some(items) = value.get_mut("items").and_then(Value::as_array_mut)
        {
            return items
                .iter_mut()
                .enumerate()
                .try_for_each(|(at, item)| self.document(item, &format!("{place}, items[{at}]")));
        }
        if value.is_object() {
            return self.object(value, place);
        }
        let found = name_of_type(value);
        self.warn(format!("{place}: not injected: expected an object, found {found}; kubectl refuses it"));
        Ok(())
    }

    fn object(&mut self, object: &mut Value, place: &str) -> anyhow::Result<()> {
        self.earlier = self.notes.warnings.len();
        let found = templates::find(object);
        let named = object["metadata"]["namespace"].as_str().filter(|name| !name.is_empty());
        let title = title(object, place, named.unwrap_or(self.namespace));
        if found.templates.is_empty() {
            self.notes.notes.push(format!("{title}: not injected: no pod template in it"));
        }
        for stray in &found.stray {
            self.warn(format!("{title}: {}", misplaced(stray, &found.templates)));
        }
        for template in &found.templates {
            if let Some(pod) = template.path.get_mut(object) {
                self.pod(pod, template, &title)?;
            }
        }
        Ok(())
    }

    /// Injects into one pod or pod template.
    fn pod(&mut self, pod: &mut Value, template: &Template, title: &str) -> anyhow::Result<()> {
        let annotations = template.path.field("metadata.annotations");
        for (found, meant) in misspelt_keys(pod) {
            let sentence = format!("{found:?} is no annotation of agent-creds; write {meant}");
            self.warn(format!("{title}: {annotations}: {sentence}"));
        }
        let namespace = template.namespace.as_deref().unwrap_or(self.namespace);
        let mut read = pod.clone();
        let refusals = cluster::read(&mut read);
        let decision = match refusals.is_empty() {
            true => decide::preview(&read, self.policy, namespace),
            false => Decision::Refused(refusals),
        };
        match decision {
            Decision::Unchanged(reason) => {
                let why = unasked(&read, reason, &annotations);
                self.notes.notes.push(format!("{title}: not injected: {why}"));
            }
            Decision::Injected { patch, warnings, .. } => {
                warnings.into_iter().for_each(|warning| self.warn(format!("{title}: {warning}")));
                patch.apply(&mut read).with_context(|| title.to_owned())?;
                *pod = read;
            }
            Decision::Refused(refusals) => {
                let placed = |Refusal { reason, message }| {
                    (title.to_owned(), Refusal { reason, message: template.path.field(&message) })
                };
                self.notes.refusals.extend(refusals.into_iter().map(placed));
            }
        }
        Ok(())
    }
}

/// Returns kind, namespace and name of an object, or its place in the input.
fn title(object: &Value, place: &str, namespace: &str) -> String {
    let named = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    match object["kind"].as_str() {
        None | Some("") => format!("{place}, an object without kind"),
        Some(kind) => format!("{kind} {namespace}/{}{}", named("name"), named("generateName")),
    }
}

fn unasked(pod: &Value, reason: Reason, annotations: &str) -> String {
    match reason {
        Reason::NotAsked if pod["metadata"]["annotations"].get(INJECT).is_some() => {
            format!("{INJECT} is \"false\" at {annotations}")
        }
        Reason::NotAsked => format!("no annotation {INJECT} at {annotations}"),
        Reason::MirrorPod => "it is the API's copy of a static pod, which cannot be changed".to_owned(),
        _ => "nothing is missing in it".to_owned(),
    }
}

/// Returns the misspelt annotations of a pod, each with the probable one.
fn misspelt_keys(pod: &Value) -> Vec<(String, &'static str)> {
    let keys = pod["metadata"]["annotations"].as_object().into_iter().flatten().map(|(key, _)| key);
    keys.filter_map(|key| Some((key.clone(), misspelt(key)?))).collect()
}

/// Returns the sentence about annotations that no pod gets. The place to write them is a template below, else any template
/// of the object.
fn misplaced(stray: &Stray, templates: &[Template]) -> String {
    let keys: Vec<&str> = stray.keys.iter().map(|key| misspelt(key).unwrap_or(key)).collect();
    let one = matches!(keys[..], [_]);
    let (noun, have, them) = if one { ("annotation", "has", "it") } else { ("annotations", "have", "them") };
    let found = format!("{noun} {} at {}", stray.keys.join(", "), stray.path);
    let spelt = if keys == stray.keys { them.to_owned() } else { keys.join(", ") };
    let owner = owner(&stray.path);
    let below: Vec<&Template> =
        templates.iter().filter(|template| template.path.0.starts_with(owner)).collect();
    let places = if below.is_empty() { templates.iter().collect() } else { below };
    let places: Vec<String> = places.iter().map(|place| place.path.field("metadata.annotations")).collect();
    match places.is_empty() {
        true => format!("{found}; the preview cannot tell whether a pod gets {them}"),
        false => format!("{found} {have} no effect there; write {spelt} at {}", places.join(" or ")),
    }
}

/// Returns the path of the object to which `metadata.annotations` at `path` belongs, else the parent of `path`.
fn owner(path: &Path) -> &[Step] {
    let steps = &path.0[..path.0.len().saturating_sub(1)];
    match steps.last() {
        Some(Step::Key(key)) if key == "metadata" => &steps[..steps.len() - 1],
        _ => steps,
    }
}

fn name_of_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
