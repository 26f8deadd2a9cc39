//! The refresh protocol: how any number of replicas share one grant whose refresh token changes with every use, and never
//! lose it.
//!
//! [`replica`] is the protocol as a state machine: inputs and the time in, effects out. It decides with [`decision`] on what
//! [`document`] (the state Secret) and [`login`] (the grant Secret) say; [`commit`] files an answer, [`status`] names the
//! state of a grant.
//!
//! **Invariant:** nothing here does I/O or reads a clock, and the crate depends on nothing that could.

pub mod answer;
pub mod cause;
pub mod clients;
pub mod commit;
pub mod condition;
pub mod decision;
pub mod document;
pub mod doubt;
pub mod event;
pub mod fingerprint;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod login;
pub mod memory;
pub mod reason;
pub mod replica;
pub mod reply;
pub mod safeguards;
pub mod schedule;
pub mod seed;
pub mod spread;
pub mod status;
pub mod timing;
pub mod token;
pub mod unread;
pub mod view;
