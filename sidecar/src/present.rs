//! Presenting a credential to a token endpoint. Connecting and sending are two functions, because a claim is
//! written between them: what can fail without cost fails before it, and what follows it is one request, once.

pub mod connect;
pub mod request;
pub mod send;
