//! The thinking part of the chaos run (`tests/tests/chaos.rs`): what is to go wrong and when ([`schedule`]), what was
//! seen ([`record`]), and what it means ([`oracle`]). Nothing here does I/O or reads a clock.

pub mod oracle;
pub mod random;
pub mod record;
pub mod schedule;
