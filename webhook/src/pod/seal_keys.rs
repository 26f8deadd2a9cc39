//! The keys that make and verify seals: the current key, and the previous or next one. The Secret contains at most
//! these two, so removing one withdraws all seals that it made.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;

/// Shortest key, in bytes: as long as the MAC.
const SHORTEST: usize = 32;
const LONGEST: usize = 1024;

/// One key. Its bytes are not printed.
#[derive(Clone)]
struct Key {
    id: String,
    mac: hmac::Key,
}

/// The current and the previous key.
#[derive(Clone)]
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

/// A key of the wrong length. The message names the key and not its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {which} seal key has {length} bytes; {SHORTEST} to {LONGEST} are allowed")]
pub struct KeyError {
    which: &'static str,
    length: usize,
}

impl Key {
    fn new(which: &'static str, bytes: &[u8]) -> Result<Self, KeyError> {
        if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
            return Err(KeyError { which, length: bytes.len() });
        }
        // Half of a digest distinguishes keys and reveals nothing about them.
        let digest = digest::digest(&digest::SHA256, bytes);
        let id = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, mac: hmac::Key::new(hmac::HMAC_SHA256, bytes) })
    }
}

impl Keys {
    /// Creates the keys from their bytes. An empty previous key counts as absent.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Self, KeyError> {
        let previous = previous.filter(|bytes| !bytes.is_empty());
        Ok(Self {
            current: Key::new("current", current)?,
            previous: previous.map(|bytes| Key::new("previous", bytes)).transpose()?,
        })
    }

    /// Returns the id of the key that makes seals.
    pub fn id(&self) -> &str {
        &self.current.id
    }

    /// Returns the MAC of `bytes` with the current key.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.current.mac, bytes).as_ref().to_vec()
    }

    /// Whether `mac` is the MAC of `bytes`, compared in constant time; `None` where no key has this id.
    pub(super) fn verify(&self, id: &str, bytes: &[u8], mac: &[u8]) -> Option<bool> {
        let mut keys = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        keys.find(|key| key.id == id).map(|key| hmac::verify(&key.mac, bytes, mac).is_ok())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = self.previous.as_ref().map(|key| &key.id);
        f.debug_struct("Keys").field("current", &self.current.id).field("previous", &previous).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_an_id_that_tells_nothing() {
        let keys = Keys::new(&[1; 32], Some(&[2; 32])).unwrap();
        let other = Keys::new(&[2; 32], Some(b"")).unwrap();
        let mac = other.sign(b"x");
        assert_eq!(keys.verify(other.id(), b"x", &mac), Some(true), "the previous one still counts");
        assert_eq!(keys.verify(keys.id(), b"x", &mac), Some(false));
        assert_eq!(other.verify(keys.id(), b"x", &keys.sign(b"x")), None, "a key that was taken out");
        assert_eq!(keys.id().len(), 16);
        assert!(!format!("{keys:?}").contains("0101"));
    }

    #[test]
    fn short_keys_are_none() {
        assert_eq!(
            Keys::new(&[1; 31], None).unwrap_err().to_string().split(';').next(),
            Some("the current seal key has 31 bytes")
        );
        assert!(Keys::new(&[1; 32], Some(&[2; 8])).is_err());
    }
}
