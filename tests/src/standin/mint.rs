//! Creates tokens in the formats of the providers.

use super::Provider;

/// The purpose of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Access,
    Refresh,
}

/// Creates a token of `provider`. PagerDuty's and the generic ones contain characters that a careless client encodes
/// wrongly, above all `+`, which means a space in a form.
pub(super) fn token(provider: Provider, kind: Kind) -> String {
    let digit = if kind == Kind::Access { 0 } else { 1 };
    match provider {
        Provider::PagerDuty => format!("pdus+_{digit}XSTANDIN_{}", uuid()),
        Provider::Datadog(_) => format!("{}{}", uuid(), uuid()).replace('-', ""),
        Provider::Generic => format!("{digit}+/{}==", uuid()),
    }
}

/// Creates a random UUID (version 4).
fn uuid() -> String {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let variant = ["8", "9", "a", "b"][usize::from(bytes[0] % 4)];
    format!("{}-{}-4{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pagerduty_token_has_a_plus_a_kind_an_account_and_a_uuid() {
        let token = token(Provider::PagerDuty, Kind::Refresh);
        let uuid = token.strip_prefix("pdus+_1XSTANDIN_").expect("the prefix of a refresh token");
        let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(uuid.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{uuid}");
    }

    #[test]
    fn two_tokens_differ() {
        let one = token(Provider::Generic, Kind::Access);
        assert_ne!(one, token(Provider::Generic, Kind::Access));
    }
}
