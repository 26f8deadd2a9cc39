//! The caller key: a random value in the shared memory volume of the pod. Only containers that mount the volume can read it; other
//! processes on the node and web pages cannot.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use agent_creds_runtime::random;

/// 64 hex characters. Not `Debug`, so that it cannot be printed.
pub struct CallerKey([u8; 64]);

impl CallerKey {
    /// Reads the key in `path`, or creates it. It is kept over a restart of the sidecar, since agents read it once.
    ///
    /// # Errors
    /// Where the volume cannot be used, or the file is damaged.
    pub fn load_or_create(path: &Path) -> std::io::Result<Self> {
        match OpenOptions::new().read(true).open(path) {
            Ok(file) => {
                let mut text = Vec::new();
                file.take(65).read_to_end(&mut text)?;
                let key = <[u8; 64]>::try_from(text).ok().filter(|key| key.iter().all(u8::is_ascii_hexdigit));
                key.map(Self)
                    .ok_or_else(|| std::io::Error::new(ErrorKind::InvalidData, "the caller key is damaged"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(path),
            Err(error) => Err(error),
        }
    }

    /// Creates the file by rename, so that no reader sees a part of it.
    fn create(path: &Path) -> std::io::Result<Self> {
        let text = random::hex::<32>();
        let fresh = path.with_extension("new");
        // A start that was interrupted here left a read-only file, whose key nobody has read.
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o444).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(Permissions::from_mode(0o444))?;
        std::fs::rename(&fresh, path)?;
        let mut key = [0; 64];
        key.copy_from_slice(text.as_bytes());
        Ok(Self(key))
    }

    /// Whether a request carries the key exactly once, as `Authorization: Bearer <key>`. Compared in constant time.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some((scheme, key)) = value.as_bytes().split_at_checked(7) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"bearer ")
            && aws_lc_rs::constant_time::verify_slices_are_equal(key, &self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[test]
    fn is_created_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("caller-key");
        let first = CallerKey::load_or_create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 64);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
        assert!(CallerKey::load_or_create(&path).unwrap().0 == first.0);
        assert!(first.admits(&headers(&[&format!("Bearer {text}")])));

        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(CallerKey::load_or_create(&path).is_err(), "a damaged key is not used and not replaced");
    }

    #[test]
    fn only_the_whole_key_given_once_admits() {
        let key = CallerKey(*b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        let text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert!(key.admits(&headers(&[&format!("Bearer {text}")])));
        assert!(key.admits(&headers(&[&format!("bearer {text}")])));
        for wrong in [
            "",
            "Bearer ",
            "Bearer",
            text,
            &format!("Basic {text}"),
            &format!("Bearer {}", &text[..63]),
            &format!("Bearer {text}0"),
            &format!("Bearer  {text}"),
            &format!("Bearer {}", text.to_uppercase()),
        ] {
            assert!(!key.admits(&headers(&[wrong])), "{wrong:?}");
        }
        let good = format!("Bearer {text}");
        assert!(!key.admits(&headers(&[&good, &good])), "given twice: which one is meant?");
        assert!(!key.admits(&HeaderMap::new()));
    }
}
