//! What the tests of agent-creds stand on.
//!
//! Two OAuth servers that speak TLS: [`standin`], our own, which is as strict as the providers are and can be
//! told to misbehave, and [`oidc`], somebody else's, which knows nothing of us and so can't share our mistakes.
//! Both write down what was presented to them ([`event`]). [`authority`] signs their certificates and
//! [`https`] is a client that hides nothing: one connection per request, no retry, no redirect. [`cluster`] and [`api`] are for
//! tests that run beside a real API server, and [`sidecar`] for those that run the sidecar as a process.
//!
//! Nothing here is part of what is shipped; so a broken promise of the machine ends in a panic that says which.

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
