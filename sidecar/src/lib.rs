//! The sidecar: redeems a grant, keeps what lasts, and serves short-lived tokens to the agent beside it.
//!
//! [`grant`] is the refresh protocol, pure: Secrets, answers and the time in, steps and documents out. [`keeper`]
//! acts on it through [`store`], [`spool`] and [`present`]; [`identity`] is who it is there; [`shelf`] is what there is to serve; [`serve`] faces the agent.

pub mod api_server;
pub mod args;
pub mod clock;
pub mod grant;
pub mod identity;
pub mod keeper;
pub mod lifecycle;
pub mod metrics;
pub mod object_name;
pub mod outcome;
pub mod present;
pub mod process;
pub mod random;
pub mod refresh;
pub mod refusals;
pub mod run;
pub mod serve;
pub mod shelf;
pub mod spool;
pub mod store;
pub mod wiring;
