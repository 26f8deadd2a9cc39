//! Why the policy is refused.

/// An error in the policy file or the CA bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct PolicyError {
    /// The key, as in `allowHostPaths[0]`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl PolicyError {
    pub(super) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}
