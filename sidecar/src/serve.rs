//! Towards the pod: the local API on loopback and on a Unix socket, and the kubelet's probes.

pub mod api;
pub mod caller_key;
pub mod probe;
pub mod rejected;
