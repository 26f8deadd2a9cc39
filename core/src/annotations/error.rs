//! Why the annotations of a pod are refused.

use super::annotation::Annotation;
use crate::names::{ISSUED_AT_ANNOTATION, NameError};

/// An error in a pod's annotations: one sentence that names the annotation, what was found and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// The value is not one of those allowed.
    #[error("annotation {key}: found {found:?}; write {allowed}")]
    Value {
        /// The annotation.
        key: &'static str,
        /// Its value, shortened.
        found: String,
        /// The values that are allowed.
        allowed: &'static str,
    },
    /// A name in a list is malformed.
    #[error("annotation {key}: {found:?} is not a valid entry: {source}")]
    Name {
        /// The annotation.
        key: &'static str,
        /// The entry, shortened.
        found: String,
        /// The rule that the name breaks.
        source: NameError,
    },
    /// An entry appears twice.
    #[error("annotation {key}: {found:?} is given twice; keep one")]
    Duplicate {
        /// The annotation.
        key: &'static str,
        /// The entry.
        found: String,
    },
    /// A list has too many entries.
    #[error("annotation {key}: found {found} names; a pod may have at most {most}")]
    TooMany {
        /// The annotation.
        key: &'static str,
        /// The number of entries.
        found: usize,
        /// The highest number that is allowed.
        most: usize,
    },
    /// The pod names no grant and the platform has no default.
    #[error(
        "annotation agent-creds/grants: not set, and this cluster has no defaultGrants; write \
         agent-creds/grants: \"<name>,…\", for instance \"pagerduty\""
    )]
    NoGrants,
    /// Both ports are the same.
    #[error(
        "annotations agent-creds/port and agent-creds/metrics-port: both are {found}; write two different ports"
    )]
    SamePort {
        /// The port.
        found: u16,
    },
    /// Known, but not built in this version.
    #[error("annotation {key}: not built in this version of agent-creds; remove it")]
    NotBuilt {
        /// The annotation.
        key: &'static str,
    },
    /// There is no such annotation.
    #[error("annotation {found:?}: no such annotation of agent-creds; {}", remedy(.found, *.meant))]
    Unknown {
        /// The annotation, shortened.
        found: String,
        /// The annotation that it was probably meant to be.
        meant: Option<&'static str>,
    },
}

fn remedy(found: &str, meant: Option<&str>) -> String {
    if let Some(meant) = meant {
        return format!("did you mean {meant}?");
    }
    if found == ISSUED_AT_ANNOTATION {
        return "write it on the grant Secret".to_owned();
    }
    let known: Vec<_> = Annotation::settings().map(Annotation::key).collect();
    format!("the known ones are {}", known.join(", "))
}
