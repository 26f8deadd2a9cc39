//! Tests that need no cluster: files, OAuth servers in this process, the real sidecar with a directory for Secrets, the rendered
//! chart.

mod chart;
mod crash;
mod fixtures;
mod oauth_servers;
mod sidecar;
mod tree;
