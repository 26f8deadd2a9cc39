//! One request on one fresh connection. Connecting and sending are two functions, because the refresh protocol writes a claim
//! between them: what can fail without cost fails before the claim, and after it there is one request, once.

pub mod connect;
pub mod send;
