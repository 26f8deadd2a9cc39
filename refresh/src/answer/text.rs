//! A body as text. JSON is UTF-8 (RFC 8259 §8.1); servers also send a byte order mark, UTF-16, and Latin-1. Tokens are ASCII, so
//! a character of an unknown encoding is only a character in another field.

/// Returns the text of a body without its byte order mark.
pub(super) fn text(bytes: &[u8]) -> String {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        // Text that begins with two ASCII characters has no zero byte there in any other encoding.
        [1..=255, 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, 1..=255, ..] => utf16(bytes, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_recognised_by_the_first_bytes() {
        let body = r#"{"a":"ü"}"#;
        let little: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = body.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (name, bytes) in [
            ("UTF-8", body.as_bytes().to_vec()),
            ("UTF-8 with a mark", [b"\xef\xbb\xbf", body.as_bytes()].concat()),
            ("UTF-16 LE", little.clone()),
            ("UTF-16 LE with a mark", [b"\xff\xfe".to_vec(), little].concat()),
            ("UTF-16 BE", big.clone()),
            ("UTF-16 BE with a mark", [b"\xfe\xff".to_vec(), big].concat()),
        ] {
            assert_eq!(text(&bytes), body, "{name}");
        }
        assert_eq!(text(b"{\"a\":\"\xfc\"}"), "{\"a\":\"\u{fffd}\"}");
        assert_eq!(text(b""), "");
    }
}
