//! The sidecar: refreshes grants, keeps their refresh tokens, and serves short-lived tokens to the agent in the same pod.
//!
//! [`refresher`] carries out the refresh protocol (crate `agent_creds_refresh`) through [`store`], [`spool`], [`oauth_request`]
//! and [`http_client`]; [`identity`] obtains and renews the sidecar's API token; [`token_cache`] holds what may be served;
//! [`serve`] faces the agent; [`commands`] are the subcommands.

pub mod api_client;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod http_client;
pub mod identity;
pub mod lifecycle;
pub mod metrics;
pub mod oauth_request;
pub mod refresher;
pub mod rejected_tokens;
pub mod serve;
pub mod spool;
pub mod store;
pub mod token_cache;
