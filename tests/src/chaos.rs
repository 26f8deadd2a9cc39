//! The pure part of the chaos run (`tests/tests/chaos.rs`): [`schedule`] plans the faults, [`record`] holds the
//! observations, and [`oracle`] judges them. No module does I/O or reads a clock.

pub mod oracle;
pub mod random;
pub mod record;
pub mod schedule;
