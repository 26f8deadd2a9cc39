//! The wire format between sidecar and identity server: `POST /identity` over TLS. The sidecar sends the projected token of
//! its pod and receives a token of the credential ServiceAccount. In JSON:
//!
//! | | |
//! |---|---|
//! | request | `{"token":"…"}`, `Content-Type: application/json` |
//! | 200 | `{"token":"…","expirationTimestamp":"2026-01-01T00:00:00Z"}` (RFC 3339), `Cache-Control: no-store` |
//! | 403 | `{"error":"access_denied"}`; to a pod that has proved itself also `"reason"`: one of [`Missing`] |
//! | 429, 503 | `{"error":"temporarily_unavailable"}` and `Retry-After` in seconds |

use strum::{EnumMessage, IntoStaticStr, VariantArray};

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

/// A right or an object that the platform team has to provide before a pod that has proved itself gets its token. The words
/// are those on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, EnumMessage)]
pub enum Missing {
    /// The pod's ServiceAccount may not `assume` the credential ServiceAccount.
    #[strum(serialize = "assume_missing")]
    Assume,
    /// The credential ServiceAccount does not exist.
    #[strum(serialize = "account_missing")]
    Account,
    /// The identity server may not create tokens of the credential ServiceAccount.
    #[strum(serialize = "mint_missing")]
    Mint,
}
