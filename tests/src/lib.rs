//! Shared code of the tests of agent-creds.
//!
//! There are two OAuth servers with TLS: [`standin`], our own, is as strict as the providers and can be told to fail;
//! [`oidc`] runs an independent implementation, which cannot share our mistakes. Both log the presented tokens
//! ([`event`]). [`authority`] signs their certificates. [`https`] is a client that sends each request once, on its own
//! connection, without redirects. [`cluster`] and [`api`] are for tests beside a real API server, and [`sidecar`] runs
//! the sidecar as a process.
//!
//! Nothing here is shipped, so an unexpected failure panics.

pub mod api;
pub mod authority;
pub mod chaos;
pub mod cluster;
pub mod event;
pub mod https;
pub mod oidc;
pub mod platform;
pub mod rights;
pub mod sidecar;
pub mod standin;
