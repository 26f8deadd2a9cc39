//! Compares a name that was found with the names that are known, for "did you mean …" in messages.

/// Returns the known name that `found` is most likely a misspelling of; `None` where none is near.
///
/// Case, `_`, `-`, `.` and spaces are not compared, so that `clientId` and `client-id` are `client_id`. Of the rest a third
/// may differ.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = letters(found);
    let near = known.into_iter().filter_map(|name| {
        let compared = letters(name);
        let distance = distance(&found, &compared);
        let allowed = (compared.len() / 3).max(1);
        (distance <= allowed && distance < compared.len()).then_some((distance, name))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Returns the letters and digits of a name, in lower case.
pub fn letters(name: &str) -> String {
    // Longer than every known name by more than may differ, and short enough to compare with each of them.
    const COMPARED: usize = 64;
    name.chars().filter(char::is_ascii_alphanumeric).take(COMPARED).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns how many letters have to be added, removed, replaced or exchanged with their neighbour to turn one text into the
/// other (optimal string alignment).
pub fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_letters_that_differ() {
        for (one, other, expected) in
            [("", "", 0), ("", "ab", 2), ("token", "tokn", 1), ("ab", "ba", 1), ("cat", "dog", 3)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn finds_the_name_that_was_meant() {
        let known = ["client_id", "client_secret", "refresh_token"];
        for (found, meant) in [
            ("client-id", Some("client_id")),
            ("clientId", Some("client_id")),
            ("CLIENT_SECRET", Some("client_secret")),
            ("refresh_tokn", Some("refresh_token")),
            ("refersh_token", Some("refresh_token")),
            ("note", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(nearest(found, known), meant, "{found}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }
}
