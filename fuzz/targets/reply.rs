//! Replies of a token endpoint. The first byte is the status, in its low bits, and whether the body came whole; the second is
//! its media type and content coding.
#![no_main]

#[path = "../invariants.rs"]
#[allow(dead_code, reason = "the other fuzz target uses the rest")]
mod invariants;

const STATUSES: [u16; 16] = [200, 201, 204, 299, 302, 304, 400, 401, 403, 404, 429, 499, 500, 503, 100, 999];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [first, header, body @ ..] = input else { return };
    invariants::reply(STATUSES[usize::from(first & 15)], *header, body, first & 64 == 0);
});
