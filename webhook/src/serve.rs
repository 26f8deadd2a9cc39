//! HTTP and TLS, and nothing else: what a request means is decided in `pod`.

pub mod certificates;
pub mod probes;
pub mod review;
pub mod seal_keys;
pub mod tls;
