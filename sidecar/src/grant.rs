//! The refresh protocol: how any number of sidecars share one grant whose refresh token changes with every use, and
//! never lose it. Pure: no I/O and no clock in here.

pub mod answer;
pub mod commit;
pub mod document;
pub mod fingerprint;
pub mod machine;
pub mod status;
