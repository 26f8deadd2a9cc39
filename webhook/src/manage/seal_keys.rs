//! Reconciles the seal keys.

use super::api::ApiError;
use super::candidate::{Candidate, Reconciled};
use super::objects::{self, SEAL};
use crate::rotation::seal_key_rotation::{KeyRing, Step};
use crate::rotation::stable_since::StableSince;
use agent_creds_runtime::random;

/// For how long the Secret has been unchanged.
#[derive(Default)]
pub(super) struct Memory(StableSince<String>);

impl Memory {
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }
}

/// Reads, decides, and writes at most one object.
pub(super) async fn reconcile(candidate: &Candidate, memory: &mut Memory) -> Result<Reconciled, ApiError> {
    let path = objects::path(&candidate.duties, "secrets", SEAL);
    let Some((mut secret, _)) = objects::read(&candidate.api, &path).await? else {
        return Err(ApiError::NotFound(path));
    };
    let ring = KeyRing { data: secret.secret(), annotations: secret.annotations() };
    let stable_for = memory.0.observe(secret.version(), candidate.now());
    let step = ring.next(stable_for, &candidate.duties.timing);
    let (reason, note) = match step {
        Step::Rest => return Ok(Reconciled::Done),
        Step::Refuse(name) => {
            tracing::warn!(
                secret = SEAL,
                key = name,
                "seal key is not 32 bytes; remove it or write the right one"
            );
            return Ok(Reconciled::Done);
        }
        Step::Make => ("SealKeyMade", "a new key seals, since there was none"),
        Step::Announce => ("SealKeyAnnounced", "a new key is known as previous; it seals in two minutes"),
        Step::Swap => ("SealKeyRotated", "the new key seals; the replaced key still verifies"),
    };
    let after = ring.after(step, &random::bytes());
    secret.set_secret(&after.data);
    secret.annotate(&after.annotations);
    candidate.may_write()?;
    candidate.api.put(&path, &secret.0).await?;
    candidate.record(&secret, reason, note).await;
    Ok(Reconciled::Again)
}
