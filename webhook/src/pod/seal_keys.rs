//! The keys that seals are made and checked with: the current one, and the one before or after it. The Secret holds no
//! more than these two, so that taking one out withdraws all that it sealed.

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::hmac;

/// A key has at least so many bytes: as many as the MAC.
const SHORTEST: usize = 32;
const LONGEST: usize = 1024;

/// One key. No `Debug` of its bytes.
#[derive(Clone)]
struct Key {
    id: String,
    mac: hmac::Key,
}

/// What seals are made and checked with.
#[derive(Clone)]
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

/// A key that cannot be one. Says which, and not what it is.
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
        // Half of a digest: enough to tell keys apart, and nothing about them.
        let digest = digest::digest(&digest::SHA256, bytes);
        let id = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { id, mac: hmac::Key::new(hmac::HMAC_SHA256, bytes) })
    }
}

impl Keys {
    /// Keys from their bytes; an empty previous one is none.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Self, KeyError> {
        let previous = previous.filter(|bytes| !bytes.is_empty());
        Ok(Self {
            current: Key::new("current", current)?,
            previous: previous.map(|bytes| Key::new("previous", bytes)).transpose()?,
        })
    }

    /// Id of the key that seals.
    pub fn id(&self) -> &str {
        &self.current.id
    }

    /// The MAC of `bytes` with the current key.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        hmac::sign(&self.current.mac, bytes).as_ref().to_vec()
    }

    /// Whether `mac` is that of `bytes`, in constant time. `None`: there is no key of this id.
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
