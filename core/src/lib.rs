//! The definitions that all binaries of agent-creds share: names in a pod, annotations, grants and provider definitions.
//! Nothing here does I/O or reads a clock, so every rule can be tested, and webhook and sidecar apply the same one.

pub mod annotations;
pub mod exchange_api;
pub mod grant;
pub mod names;
pub mod pod;
pub mod provider;
pub mod sidecar_args;
pub mod spelling;
pub mod words;
pub mod yaml;
