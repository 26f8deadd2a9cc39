//! Admission of agent-creds: adds the credential sidecar to annotated pods, or refuses them with a sentence that says what to
//! change; gives the sidecars of injected pods their API tokens; and keeps the certificates for both.
//!
//! [`pod`] decides about pods, [`token_exchange`] about requests for tokens, [`rotation`] and [`leader_election`] about
//! certificates, seal keys and which manager acts: all without I/O. [`serve`] speaks HTTP, [`manage`] reads and writes objects,
//! and [`roles`] are the subcommands. Admission never sees a provider's credential, calls nothing over the network and has no
//! rights in the Kubernetes API.

pub mod json_size;
pub mod leader_election;
pub mod manage;
pub mod manifests;
pub mod metrics;
pub mod outcome;
pub mod pod;
pub mod policy;
pub mod roles;
pub mod rotation;
pub mod serve;
pub mod token_exchange;
