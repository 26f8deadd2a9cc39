//! The words that all binaries of agent-creds share: names in a pod, annotations, grants and provider
//! definitions. Nothing here does I/O or reads a clock, so that every rule can be tested to the corner and
//! the webhook, the sidecar and the command line cannot disagree about one.

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
