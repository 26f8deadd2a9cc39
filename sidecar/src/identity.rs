//! Obtains and renews the sidecar's API token in identity mode `exchange`: the sidecar sends the projected token of its pod to the
//! identity server and receives a token of the credential ServiceAccount, the only account that may read the grant Secrets.
//! [`renewal`], [`response`], [`condition`] and [`commands`] are pure; [`renewer`] acts on them; [`token_source`] holds the token,
//! in memory alone, for requests to the API server.

pub mod commands;
pub mod condition;
pub mod renewal;
pub mod renewer;
pub mod response;
pub mod token_source;
