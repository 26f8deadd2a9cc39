//! What happens to a pod: functions from a pod as JSON, the platform's policy and a namespace to a decision, without I/O or clock.
//! The pod stays a `serde_json::Value`, so that fields of future Kubernetes versions are kept.

pub mod decide;
mod differences;
pub mod forbidden;
pub mod fragment;
pub mod patch;
pub mod presence;
#[cfg(test)]
pub(crate) mod sample;
pub mod seal;
pub mod seal_keys;
pub mod verify;
pub(crate) mod view;
