//! How a refresher ends.

/// How a refresher ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is due.
    Through,
    /// A received refresh token is not stored yet; it is in the spool.
    Uncommitted,
    /// Something is still to be done.
    Unfinished,
}
