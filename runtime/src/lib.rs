//! What sidecar and webhook share at their edges: no rule of the product is decided here.
//!
//! [`server`] accepts connections within limits, [`certificates`] keeps a serving certificate current, [`api_server`] is the
//! client of the Kubernetes API, [`probes`] and [`metrics`] face the kubelet and Prometheus, [`process`] and [`signals`] are
//! how a process begins and ends.

pub mod api_server;
pub mod certificates;
pub mod metrics;
pub mod probes;
pub mod process;
pub mod random;
pub mod server;
pub mod signals;
