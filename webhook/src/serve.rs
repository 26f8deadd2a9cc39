//! HTTP and TLS, and nothing else: what a request means is decided in `pod`.

pub mod certificates;
pub mod identity;
pub mod probes;
pub mod review;
<<<<<<< HEAD
pub mod seal_keys;
=======
mod sources;
>>>>>>> 1728a65 (The identity server: a proven pod gets a token of its credential account)
pub mod tls;
