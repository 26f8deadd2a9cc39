//! What the sidecar and the identity server agree on: `POST /identity` over TLS. The sidecar shows the projected token of
//! its pod; the answer is a token of the credential ServiceAccount. Wire format, in JSON:
//!
//! | | |
//! |---|---|
//! | request | `{"token":"…"}`, `Content-Type: application/json` |
//! | 200 | `{"token":"…","expirationTimestamp":"2026-01-01T00:00:00Z"}` (RFC 3339), `Cache-Control: no-store` |
//! | 403 | `{"error":"access_denied"}`; to a pod that has proved itself also `"reason"`: one of [`Missing`] |
//! | 429, 503 | `{"error":"temporarily_unavailable"}` and `Retry-After` in seconds |

/// Path of the endpoint.
pub const PATH: &str = "/identity";
/// Largest request, in bytes. Projected tokens have one to two KiB.
pub const MAX_REQUEST: usize = 16 * 1024;
/// Largest answer, in bytes.
pub const MAX_ANSWER: usize = 64 * 1024;
/// ConfigMap in the release's namespace with the CA of the identity server: public, readable by every ServiceAccount.
pub const CA_CONFIG_MAP: &str = "agent-creds-ca";
/// Its key: PEM, one certificate or, while a CA is replaced, several.
pub const CA_KEY: &str = "ca.crt";
/// ServiceAccount of the identity server, in the release's namespace.
pub const SERVER_ACCOUNT: &str = "agent-creds-identity";

/// What the platform team has to give before a pod that has proved itself gets its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The pod's ServiceAccount may not `assume` the credential ServiceAccount.
    Assume,
    /// The credential ServiceAccount does not exist.
    Account,
    /// The identity server may not mint tokens of the credential ServiceAccount.
    Mint,
}

impl Missing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Assume, Self::Account, Self::Mint];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assume => "assume_missing",
            Self::Account => "account_missing",
            Self::Mint => "mint_missing",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|missing| missing.as_str() == word)
    }
}
