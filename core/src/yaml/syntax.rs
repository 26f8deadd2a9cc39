//! Parses text to a value, within limits, and words the errors of the YAML library for people.

use serde_json::Value;
use serde_yaml::Error;
use serde_yaml::budget::BudgetBreach;

use super::error::{FieldError, Place};
use super::format::Format;

const ALIAS: (&str, &str) = ("found an anchor or alias", "write the value itself at each place");
const SECOND: (&str, &str) = ("found a second document", "write one document, without ---");

/// Reads one document; an empty text is null.
pub(super) fn value(text: &str, format: Format) -> Result<Value, FieldError> {
    let Format { max_nodes, max_depth, .. } = format;
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: max_nodes, max_depth: max_depth, max_documents: 1, max_aliases: 0, max_anchors: 0
        },
        with_snippet: false,
    };
    let read = serde_yaml::from_str_with_options::<Option<Value>>(text, options);
    read.map(Option::unwrap_or_default).map_err(|error| {
        let at = error.location().map(|at| (at.line(), at.column()));
        let place = at.map_or(Place::File, |(line, column)| Place::Line(line, column));
        let line = at.and_then(|(line, _)| text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?));
        let (problem, remedy) = sentence(&error, line.unwrap_or_default(), format);
        FieldError::new(place, problem, remedy)
    })
}

fn sentence(error: &Error, line: &str, format: Format) -> (String, String) {
    let (problem, remedy) = match error.without_snippet() {
        Error::DuplicateMappingKey { .. } => ("found a key that stands there twice", "write each key once"),
        Error::MultipleDocuments { .. } => SECOND,
        Error::UnknownAnchor { .. } | Error::AliasError { .. } => ALIAS,
        Error::Budget { breach, .. } => match breach {
            BudgetBreach::Documents { .. } => SECOND,
            BudgetBreach::Aliases { .. }
            | BudgetBreach::Anchors { .. }
            | BudgetBreach::AliasAnchorRatio { .. } => ALIAS,
            BudgetBreach::Depth { .. } => {
                let most = format.max_depth;
                return (format!("found more than {most} levels of nesting"), "write fewer".to_owned());
            }
            _ => {
                let most = format.max_nodes;
                return (format!("found more than {most} keys and values"), "write fewer".to_owned());
            }
        },
        _ if line.starts_with(|c: char| c.is_whitespace())
            && line.trim_start_matches(' ').starts_with('\t') =>
        {
            ("found a tab before the text", "indent with spaces")
        }
        _ => ("found something that is not YAML", "write keys and values, as in 'key: value'"),
    };
    (problem.to_owned(), remedy.to_owned())
}
