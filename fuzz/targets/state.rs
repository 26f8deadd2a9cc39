//! State documents.
#![no_main]

#[path = "../invariants.rs"]
#[allow(dead_code, reason = "the other target's")]
mod invariants;

libfuzzer_sys::fuzz_target!(|document: &[u8]| invariants::state(document));
