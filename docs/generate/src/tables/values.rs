//! The values of the chart: path, default and the comment `# --` right above each in `values.yaml`.

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::markdown::{code, table};

/// Below the repository's root.
pub(super) const FILE: &str = "charts/agent-creds/values.yaml";

pub(super) fn values(yaml: &str) -> anyhow::Result<String> {
    let rows =
        documented(yaml)?.into_iter().map(|value| [code(&value.path), code(&value.default), value.comment]);
    Ok(table(["value", "default", "meaning"], rows))
}

/// A value that a user of the chart sets as a whole: a scalar, a list, or a map whose keys are the user's own.
struct Documented {
    path: String,
    default: String,
    comment: String,
}

fn documented(yaml: &str) -> anyhow::Result<Vec<Documented>> {
    let values: Value = serde_yaml::from_str(yaml).context(FILE)?;
    let comments = comments(yaml);
    let mut documented = Vec::new();
    let mut left: Vec<(String, &Value)> = vec![(String::new(), &values)];
    while let Some((path, value)) = left.pop() {
        let comment = comments.iter().find(|(of, _)| *of == path).map(|(_, comment)| comment);
        match (comment, value) {
            (Some(comment), _) => {
                ensure!(
                    comment.len() > 20 && comment.ends_with('.'),
                    "{FILE}: {path}: the comment is {comment:?}; write a sentence"
                );
                documented.push(Documented { path, default: value.to_string(), comment: comment.clone() });
            }
            (None, Value::Object(map)) if !map.is_empty() => {
                left.extend(map.iter().map(|(key, value)| (join(&path, key), value)));
            }
            (None, _) => bail!("{FILE}: {path}: no comment of its own; write a line '# -- …' right above it"),
        }
    }
    if let Some((path, _)) =
        comments.iter().find(|(path, _)| documented.iter().all(|value| value.path != *path))
    {
        bail!("{FILE}: {path}: a value above it has a comment for the whole group; keep one of the two");
    }
    // In the order of the file, which a parsed map does not have.
    documented.sort_by_key(|value| comments.iter().position(|(path, _)| *path == value.path));
    Ok(documented)
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The comments `# --`, with the path of the key below each.
fn comments(yaml: &str) -> Vec<(String, String)> {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    let mut found = Vec::new();
    for line in yaml.lines() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        if let Some(first) = trimmed.strip_prefix("# -- ") {
            comment = Some(first.to_owned());
        } else if let (Some(next), Some(comment)) = (trimmed.strip_prefix("# "), comment.as_mut()) {
            comment.push(' ');
            comment.push_str(next);
        } else if let Some((key, _)) = trimmed.split_once(':').filter(|_| !trimmed.starts_with('#')) {
            path.retain(|(depth, _)| *depth < indent);
            path.push((indent, key));
            if let Some(comment) = comment.take() {
                found.push((path.iter().map(|(_, key)| *key).collect::<Vec<_>>().join("."), comment));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(yaml: &str) -> String {
        let error = values(yaml).map(drop).unwrap_err();
        error.to_string().strip_prefix("charts/agent-creds/values.yaml: ").expect("the file").to_owned()
    }

    #[test]
    fn shows_each_value_with_its_default_and_comment() {
        let yaml = "# Plain comments are for readers of the file.\nimage:\n  # -- Name of the image,\n  # as in the registry.\n  \
                    name: webhook\n  tags:\n    # -- The tag that is pulled.\n    latest: \"\"\n# -- Labels of the pods, as in a manifest.\n\
                    labels: {a: b}\n";
        let expected = "| value | default | meaning |\n|---|---|---|\n\
                        | `image.name` | `\"webhook\"` | Name of the image, as in the registry. |\n\
                        | `image.tags.latest` | `\"\"` | The tag that is pulled. |\n\
                        | `labels` | `{\"a\":\"b\"}` | Labels of the pods, as in a manifest. |\n";
        assert_eq!(values(yaml).unwrap(), expected);
    }

    #[test]
    fn refuses_a_value_without_a_comment() {
        let yaml = "# -- Number of pods of it.\nreplicas: 2\nport: 8443\n";
        assert_eq!(refused(yaml), "port: no comment of its own; write a line '# -- …' right above it");
        assert!(refused("labels: {}\n").starts_with("labels: no comment of its own"));
    }

    #[test]
    fn refuses_a_comment_that_is_no_sentence() {
        assert_eq!(
            refused("# -- replicas\nreplicas: 2\n"),
            "replicas: the comment is \"replicas\"; write a sentence"
        );
    }

    #[test]
    fn refuses_a_comment_of_a_group_whose_values_have_comments() {
        let yaml = "# -- Settings of the image.\nimage:\n  # -- Name of the image.\n  name: webhook\n";
        assert!(refused(yaml).starts_with("image.name: a value above it has a comment"));
    }
}
