//! Rotation of certificates, of their CA and of the seal keys: decisions of the role `manage`, without I/O or clock. Times are Unix
//! seconds for certificates, else durations of a monotonic clock.

pub mod ca_rotation;
mod certificate;
pub mod certificate_set;
mod issue;
mod request;
pub mod seal_key_rotation;
pub mod stable_since;
pub mod step;
mod timing;

pub use certificate::{Certificate, Pair};
pub use issue::IssueError;
pub use request::{ASK, DONE, UNDERWAY};
pub use timing::Timing;
