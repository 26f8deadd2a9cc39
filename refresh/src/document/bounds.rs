//! Times and numbers that can be counted on. A document in which one is so far out that the next sum would not fit is
//! damaged; without this it would end every process that reads it, again and again.

use jiff::Timestamp;

use crate::token::Token;

/// Until the year 8307, in Unix seconds.
const LATEST: i64 = 200_000_000_000;
/// More than two centuries, in seconds.
const LONGEST: i64 = 1 << 33;

/// Whether all times and numbers in it leave room to count.
pub(super) trait Bounded {
    fn is_bounded(&self) -> bool;
}

impl Bounded for Timestamp {
    fn is_bounded(&self) -> bool {
        (0..=LATEST).contains(&self.as_second())
    }
}

impl Bounded for i64 {
    fn is_bounded(&self) -> bool {
        (0..=LONGEST).contains(self)
    }
}

impl Bounded for u64 {
    fn is_bounded(&self) -> bool {
        *self < Self::MAX / 2
    }
}

impl Bounded for u32 {
    fn is_bounded(&self) -> bool {
        *self < Self::MAX / 2
    }
}

impl<T: Bounded> Bounded for Option<T> {
    fn is_bounded(&self) -> bool {
        self.iter().all(T::is_bounded)
    }
}

impl<T: Bounded> Bounded for Vec<T> {
    fn is_bounded(&self) -> bool {
        self.iter().all(T::is_bounded)
    }
}

/// Nothing is counted with these.
macro_rules! uncounted {
    ($($type:ty),+) => {
        $(impl Bounded for $type {
            fn is_bounded(&self) -> bool {
                true
            }
        })+
    };
}

uncounted!(bool, u16, String, Token);

#[cfg(test)]
mod tests {
    use crate::document::{Document, DocumentError};

    #[test]
    fn times_and_numbers_out_of_range_are_damage_unless_a_newer_version_wrote_them() {
        let read = |text: &str| Document::parse(Some(text.as_bytes())).map(|document| document.r#gen);
        assert_eq!(
            read(r#"{"gen":7,"last":{"redeemed_at":"2027-01-15T08:00:00Z","outcome":"","by":""}}"#),
            Ok(7)
        );
        for damaged in [
            r#"{"last":{"redeemed_at":"9999-12-30T22:00:00Z","outcome":"","by":""}}"#,
            r#"{"last":{"redeemed_at":"-000001-01-01T00:00:00Z","outcome":"","by":""}}"#,
            r#"{"gen":18446744073709551615}"#,
            r#"{"doubt":{"parent_fp":"","first_sent_at":"2027-01-15T08:00:00Z","cause":"","replay_not_before":"2027-01-15T08:00:00Z","replays":4294967295}}"#,
        ] {
            assert_eq!(read(damaged), Err(DocumentError::Malformed), "{damaged}");
        }
        assert_eq!(read(r#"{"v":2,"gen":18446744073709551615}"#), Err(DocumentError::Newer));
    }
}
