//! Tests beside a real API server.

mod admission;
mod chaos;
mod chart_lifecycle;
mod identity;
mod manage;
mod scale;
mod sidecar_cluster;
mod sidecar_identity;
mod sidecar_providers;
