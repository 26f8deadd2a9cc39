//! HTTP around the decisions of [`crate::pod`] and [`crate::token_exchange`].

mod body;
pub mod budget;
pub mod exchange;
pub mod review;
pub mod seal_keys;
