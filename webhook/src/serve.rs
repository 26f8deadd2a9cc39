//! HTTP around the decisions of [`crate::pod`] and [`crate::token_exchange`].

pub mod exchange;
pub mod review;
pub mod seal_keys;
