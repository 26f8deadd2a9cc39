//! Content codings (RFC 9110 §8.4). The request asks for none (`Accept-Encoding: identity`); a body that is encoded all the same
//! is decoded within the size limit of a plain one, so that a small body cannot become a large one.

use std::io::Read;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::reply::MAX_BODY;

/// Most codings that are taken off one body.
const MAX_CODINGS: usize = 3;
/// The first bytes of gzip data (RFC 1952 §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A body without its codings.
pub(super) struct Plain {
    /// Its bytes, as far as they could be decoded.
    pub(super) bytes: Vec<u8>,
    /// Whether nothing is missing at the end.
    pub(super) whole: bool,
    /// Whether a coding is left that this version does not know, or that the data does not have.
    pub(super) encoded: bool,
}

/// Takes the codings off a body.
pub(super) fn decoded(content_encoding: &str, body: &[u8]) -> Plain {
    let mut codings: Vec<_> = content_encoding
        .split(',')
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
        .collect();
    // Some servers compress without saying so.
    if codings.is_empty() && body.starts_with(&GZIP) {
        codings.push("gzip".to_owned());
    }
    let as_it_is = |encoded| Plain { bytes: body.to_vec(), whole: true, encoded };
    if codings.len() > MAX_CODINGS {
        return as_it_is(true);
    }
    let mut plain = as_it_is(false);
    for coding in codings.iter().rev() {
        let Some((bytes, whole)) = without(coding, &plain.bytes) else {
            // Perhaps something on the way took the coding off and left the header.
            return Plain { encoded: true, ..plain };
        };
        plain = Plain { bytes, whole: plain.whole && whole, encoded: false };
    }
    plain
}

/// Returns the data without this coding, and whether it is whole; `None` where it does not have the coding, or the coding is
/// not known.
fn without(coding: &str, data: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (bytes, whole) = match coding {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(data)),
        // Zlib data by the standard; some servers send it without the zlib header, and then only a proper end distinguishes it
        // from text.
        "deflate" => match read(ZlibDecoder::new(data)) {
            (bytes, false) if bytes.is_empty() => {
                Some(read(DeflateDecoder::new(data))).filter(|(_, whole)| *whole)?
            }
            decoded => decoded,
        },
        _ => return None,
    };
    (whole || !bytes.is_empty()).then_some((bytes, whole))
}

/// Reads to the end, to the size limit, or to an error.
fn read(mut decoder: impl Read) -> (Vec<u8>, bool) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match decoder.read(&mut chunk) {
            Ok(0) => return (bytes, true),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(_) => return (bytes, false),
        }
        if bytes.len() > MAX_BODY {
            bytes.truncate(MAX_BODY);
            return (bytes, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn read_as(content_encoding: &str, body: &[u8]) -> (String, bool, bool) {
        let Plain { bytes, whole, encoded } = decoded(content_encoding, body);
        (String::from_utf8_lossy(&bytes).into_owned(), whole, encoded)
    }

    #[test]
    fn known_codings_are_taken_off_in_reverse_order() {
        let text = "{\"access_token\":\"a\"}";
        let good = (text.to_owned(), true, false);
        for (header, body) in [
            ("", text.into()),
            ("identity", text.into()),
            ("gzip", gzip(text.as_bytes())),
            ("x-gzip", gzip(text.as_bytes())),
            ("GZIP , identity", gzip(text.as_bytes())),
            ("", gzip(text.as_bytes())),
            ("deflate", zlib(text.as_bytes())),
            ("deflate", deflate(text.as_bytes())),
            ("deflate, gzip", gzip(&zlib(text.as_bytes()))),
            ("gzip, gzip", gzip(&gzip(text.as_bytes()))),
            ("gzip", [gzip(b"{\"access_token\":"), gzip(b"\"a\"}")].concat()),
        ] {
            assert_eq!(read_as(header, &body), good, "{header}");
        }
    }

    #[test]
    fn a_coding_that_is_not_known_or_not_there_leaves_the_body_as_it_is() {
        let text = "{\"access_token\":\"a\"}";
        for header in ["br", "zstd", "gzip", "deflate", "br, identity", "a, b, c, d"] {
            assert_eq!(read_as(header, text.as_bytes()), (text.to_owned(), true, true), "{header}");
        }
        let outer = decoded("br, gzip", &gzip(b"still encoded"));
        assert_eq!((outer.bytes.as_slice(), outer.encoded), (b"still encoded".as_slice(), true));
    }

    #[test]
    fn damaged_data_is_decoded_as_far_as_it_goes() {
        let text = "{\"refresh_token\":\"r\",".repeat(40);
        let whole = gzip(text.as_bytes());
        let (bytes, complete, encoded) = read_as("gzip", &whole[..whole.len() - 9]);
        assert!(text.starts_with(&bytes) && !bytes.is_empty() && !complete && !encoded);
    }

    #[test]
    fn a_small_body_does_not_become_a_large_one() {
        let bomb = gzip(&gzip(&vec![b' '; 50_000_000]));
        assert!(bomb.len() < 1_000);
        let Plain { bytes, whole, .. } = decoded("gzip, gzip", &bomb);
        assert_eq!((bytes.len(), whole), (MAX_BODY, false));
    }
}
