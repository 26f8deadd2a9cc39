//! Random numbers from the system.

use aws_lc_rs::rand;

/// Random bytes.
#[expect(
    clippy::expect_used,
    reason = "without the system's random numbers nothing here is safe: the process ends"
)]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("random numbers from the system");
    bytes
}

/// A random name.
pub(crate) fn tag() -> String {
    bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect()
}
