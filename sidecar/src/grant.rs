//! The refresh protocol: how any number of sidecars share one grant whose refresh token changes with every use, and
//! never lose it. Pure: no I/O and no clock in here.

pub mod answer;
pub mod commit;
pub mod document;
pub mod doubt;
pub mod fingerprint;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod login;
pub mod machine;
pub mod memory;
pub mod news;
pub mod replica;
pub mod rules;
pub mod schedule;
pub mod seed;
pub mod spread;
pub mod status;
pub mod token;
pub mod view;
