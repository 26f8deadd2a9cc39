//! An upper bound of the memory that a JSON text takes as a [`serde_json::Value`], computed from its bytes before anything is
//! built. A `Value` can be a hundred times as large as its text: an object that is not empty takes a node of a B-tree, so
//! `{"":0}` is the worst.

/// Bytes of an object that is not empty: one node of a B-tree.
const OBJECT: usize = 704;
/// Bytes of a list that is not empty: room for four values.
const LIST: usize = 176;
/// Bytes of each further entry of an object or a list: its place in a half-empty node, or in a list that has just doubled.
const ENTRY: usize = 144;
/// Bytes of a text besides its characters: what the allocator adds.
const TEXT: usize = 32;

/// The size of a JSON text, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonSize {
    /// Bytes in memory, at most.
    pub memory: usize,
    /// Objects and lists within each other, at most.
    pub depth: usize,
}

impl JsonSize {
    /// Computes the size in one pass. `text` need not be valid JSON: a parser stops at the first error, so the bound holds, too.
    pub fn of(text: &[u8]) -> Self {
        let (mut memory, mut depth, mut deepest) = (0_usize, 0_usize, 0);
        // The cost of the object or list that the last byte opened; it counts if the next byte does not close it.
        let mut opened = None;
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            let empty = matches!((opened, byte), (Some(OBJECT), b'}') | (Some(LIST), b']'));
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => continue,
                _ if empty => {}
                _ => memory += opened.unwrap_or_default(),
            }
            opened = None;
            match byte {
                b'"' => memory += TEXT + skip_text(&mut bytes),
                b',' => memory += ENTRY,
                b'{' | b'[' => {
                    opened = Some(if *byte == b'{' { OBJECT } else { LIST });
                    depth += 1;
                    deepest = deepest.max(depth);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        Self { memory, depth: deepest }
    }
}

/// Skips the rest of a text and returns its length. A text with escapes counts twice: the parser builds it in a buffer first.
fn skip_text(bytes: &mut std::slice::Iter<'_, u8>) -> usize {
    let start = bytes.len();
    let mut escapes = 1;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                escapes = 2;
                bytes.next();
            }
            _ => {}
        }
    }
    (start - bytes.len()) * escapes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> (usize, usize) {
        let JsonSize { memory, depth } = JsonSize::of(text.as_bytes());
        (memory, depth)
    }

    #[test]
    fn objects_cost_a_node_and_empty_ones_nothing() {
        assert_eq!(size("0"), (0, 0));
        assert_eq!(size("{ }"), (0, 1));
        assert_eq!(size("[[], {}]"), (LIST + ENTRY, 2));
        assert_eq!(size(r#"{"":0}"#), (OBJECT + TEXT + 1, 1));
        assert_eq!(size(r#"[{"":0},{"":0}]"#), (LIST + ENTRY + 2 * (OBJECT + TEXT + 1), 2));
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        assert_eq!(size(r#""[{,:""#), (TEXT + 5, 0));
        assert_eq!(size(r#""\"[[""#), (TEXT + 2 * 5, 0));
        assert_eq!(size(r#"["\\",[1]]"#), (2 * LIST + ENTRY + TEXT + 2 * 3, 2));
    }

    #[test]
    fn depth_counts_what_is_open_at_the_same_time() {
        assert_eq!(size("[[[]],[[[]]]]").1, 4);
        assert_eq!(size(&"[".repeat(1000)).1, 1000);
        assert_eq!(size("]]]]").1, 0);
    }

    #[test]
    fn a_text_without_an_end_is_counted() {
        assert_eq!(size(r#""abc"#), (TEXT + 3, 0));
        assert_eq!(size(r#""abc\"#), (TEXT + 2 * 4, 0));
    }
}
