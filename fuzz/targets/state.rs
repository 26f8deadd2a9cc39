//! Fuzzes the reader of state documents.
#![no_main]

#[path = "../invariants.rs"]
#[allow(dead_code, reason = "the other fuzz target uses the rest")]
mod invariants;

libfuzzer_sys::fuzz_target!(|document: &[u8]| invariants::state(document));
