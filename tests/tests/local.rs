//! Tests without a cluster: files, OAuth servers in this process, the real sidecar with a directory of Secrets, and the
//! rendered chart.

mod chart;
mod crash;
mod fixtures;
mod oauth_servers;
mod sidecar;
mod tree;
