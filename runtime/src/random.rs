//! Random numbers from the operating system.

/// Returns `N` random bytes.
#[expect(
    clippy::expect_used,
    reason = "without random numbers from the system nothing here is safe: the process ends"
)]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("random numbers from the system");
    bytes
}

/// Returns `N` random bytes as lower-case hex.
pub fn hex<const N: usize>() -> String {
    bytes::<N>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a random number from 0 to 1.
pub fn fraction() -> f64 {
    f64::from(u16::from_be_bytes(bytes())) / f64::from(u16::MAX)
}
