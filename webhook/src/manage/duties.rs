//! Settings of the manager.

use std::collections::BTreeSet;

use crate::rotation::Timing;

/// Settings of the manager.
#[derive(Clone, Debug)]
pub struct Duties {
    /// The release's namespace.
    pub namespace: String,
    /// DNS names of our servers; `None` where another party issues their certificates.
    pub names: Option<BTreeSet<String>>,
    /// Identity of this process, in the Lease and in Events.
    pub identity: String,
    /// Times.
    pub timing: Timing,
}
