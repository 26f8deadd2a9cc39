//! Random numbers from the system.

/// `N` random bytes.
#[expect(
    clippy::expect_used,
    reason = "without the system's random numbers nothing here is safe: the process ends"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("random numbers from the system");
    bytes
}
