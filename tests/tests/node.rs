//! Tests on a real node: pods run.

mod e2e;
mod hostile;
