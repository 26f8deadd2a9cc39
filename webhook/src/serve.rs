//! HTTP and TLS, and nothing else: what a request means is decided in `pod` and `identity`.

pub mod certificates;
pub mod identity;
pub mod probes;
pub mod review;
pub mod seal_keys;
mod sources;
pub mod tls;
