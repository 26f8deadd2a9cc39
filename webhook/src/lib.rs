//! Admission of agent-creds: adds the credential sidecar to annotated pods, or refuses them with a sentence
//! that says what to change.
//!
//! `pod` decides and does no I/O; `serve` speaks HTTP and TLS and decides nothing; `roles` wires the two, one
//! file per subcommand. Admission never sees a provider's credential, calls nothing over the network and has
//! no rights in the Kubernetes API. `authority` decides, without I/O as well, who signs certificates and what seals pods;
//! `manage` looks and writes.

pub mod authority;
pub mod cluster;
pub mod identity;
pub mod manage;
pub mod metrics;
pub mod outcome;
pub mod pod;
pub mod policy;
mod random;
mod reasons;
pub mod roles;
pub mod serve;
