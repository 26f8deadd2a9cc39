//! The annotations of a pod.

use agent_creds_core::annotations::{Annotation, Usage};

use crate::markdown::{code, table};

pub(super) fn annotations() -> String {
    let rows = Annotation::all().map(|annotation| {
        let (key, set_by) = (annotation.key(), set_by(annotation.usage()));
        let written =
            annotation.example().map_or_else(|| key.to_owned(), |value| format!("{key}: \"{value}\""));
        let default = annotation.default_value().unwrap_or("–");
        [code(&written), set_by.to_owned(), default.to_owned(), annotation.meaning()]
    });
    table(["annotation", "set by", "default", "meaning"], rows)
}

const fn set_by(usage: Usage) -> &'static str {
    match usage {
        Usage::Setting => "the agent's author",
        Usage::NotBuilt => "nobody: not built in this version, and refused",
        Usage::Written => "the webhook",
    }
}
