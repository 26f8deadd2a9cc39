//! What happens to a pod: pure functions from a pod as JSON, the platform's policy and a namespace to a
//! decision. No I/O, no clock. The pod stays a `serde_json::Value`, so that fields of future Kubernetes
//! versions survive.

pub mod decide;
mod differences;
pub mod forbidden;
pub mod fragment;
pub mod keys;
pub mod patch;
pub mod presence;
#[cfg(test)]
pub(crate) mod sample;
pub mod seal;
pub mod verify;
mod view;
