//! The subcommands: one file each.

pub mod refresh;
pub mod serve;
pub mod setup;
