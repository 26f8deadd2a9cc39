//! Annotations by which people ask for a rotation, and by which the manager answers.

/// Annotation with which a person asks for a new CA or a new key: any value that it did not have before.
pub const ASK: &str = "agent-creds/rotate";
/// Annotation that answers: the value of [`ASK`] when the rotation was finished.
pub const DONE: &str = "agent-creds/rotated";
/// Annotation while a new key is known and does not seal yet: the value of [`ASK`] when it was announced.
pub const UNDERWAY: &str = "agent-creds/rotating";
