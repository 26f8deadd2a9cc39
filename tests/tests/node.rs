//! Tests on a real node, which runs pods.

mod e2e;
mod hostile;
