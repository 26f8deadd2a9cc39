//! Reads a pod as the API server does before admission: `null` in annotations and labels is an empty string, and other types
//! are refused where it expects a string.

use agent_creds_core::annotations::INJECT;
use serde_json::Value;

use crate::outcome::{Reason, Refusal};
use crate::pod::view::{items, quoted};

/// The maps of a pod whose values are text.
const MAPS: [&str; 2] = ["annotations", "labels"];
/// The lists of containers.
const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Changes a pod that asks for injection to what the API server reads. Returns the values that it refuses.
pub(super) fn read(pod: &mut Value) -> Vec<Refusal> {
    let asks = pod["metadata"]["annotations"].get(INJECT);
    if asks.is_none_or(|value| value == "false") {
        return Vec::new();
    }
    let mut refusals = Vec::new();
    for list in MAPS {
        let Some(map) = pod["metadata"].get_mut(list).and_then(Value::as_object_mut) else { continue };
        for (key, value) in map.iter_mut() {
            if value.is_null() {
                *value = Value::String(String::new());
            }
            refusals.extend(not_text(value, || format!("metadata.{list}[{}]", quoted(key))));
        }
    }
    for list in LISTS {
        for (index, container) in items(&pod["spec"], list).iter().enumerate() {
            for (at, variable) in items(container, "env").iter().enumerate() {
                let value = &variable["value"];
                refusals.extend(not_text(value, || format!("spec.{list}[{index}].env[{at}].value")));
            }
        }
    }
    refusals
}

fn not_text(value: &Value, path: impl FnOnce() -> String) -> Option<Refusal> {
    let found = match value {
        Value::Null | Value::String(_) => return None,
        Value::Bool(_) => "a boolean; write it in quotes",
        Value::Number(_) => "a number; write it in quotes",
        Value::Array(_) => "a list; write text",
        Value::Object(_) => "a map; write text",
    };
    Some(Refusal::new(Reason::PodInvalid, &path(), format_args!("expected a string, found {found}")))
}
