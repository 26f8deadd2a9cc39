//! A condition outside the state document that keeps the protocol from going on.

use crate::reason::Reason;

/// Something that is wrong outside of the state document: a Secret that is missing or wrong, a store that does not answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// The reason.
    pub reason: Reason,
    /// The sentence for a person. It begins with the object, as in `Secret ops/x: key client_id: …`.
    pub message: String,
}

impl Condition {
    /// A condition with the reason's own sentence.
    pub fn of(reason: impl Into<Reason>) -> Self {
        let reason = reason.into();
        Self { reason, message: reason.sentence.to_owned() }
    }
}
