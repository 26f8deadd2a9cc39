//! Answers of the API server.

use super::outcome::Reason;

/// An answer of the API server.
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Body, JSON.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// Returns the object of a successful answer. The caller decides first what 403 and 404 mean for its request.
    pub(super) fn object<T: serde::de::DeserializeOwned>(&self) -> Result<T, Reason> {
        match self.status {
            200..=299 => serde_json::from_slice(self.body).map_err(|_| Reason::ApiAnswer),
            401 | 403 => Err(Reason::OwnRights),
            _ => Err(Reason::ApiError),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_the_api_server_does_not_answer_is_nobodys_fault_outside() {
        let reason = |status, body: &'static [u8]| Answer { status, body }.object::<Value>().err();
        assert_eq!(reason(200, b"{}"), None);
        assert_eq!(reason(201, b"{"), Some(Reason::ApiAnswer));
        assert_eq!(reason(403, b"{}"), Some(Reason::OwnRights));
        assert_eq!(reason(401, b"{}"), Some(Reason::OwnRights));
        for status in [301, 404, 409, 429, 500, 503] {
            assert_eq!(reason(status, b"{}"), Some(Reason::ApiError), "{status}");
        }
    }
}
