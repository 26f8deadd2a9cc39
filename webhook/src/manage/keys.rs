//! Looks at the key ring, and carries out the one step that is due.

use super::api::ApiError;
use super::objects::{self, SEAL};
use super::{Look, Manager};
use crate::authority::keys::{Ring, Step};
use crate::authority::settled::Settled;
use crate::random;

/// How long the Secret has been as it is.
#[derive(Default)]
pub(super) struct Memory(Settled<String>);

impl Memory {
    pub(super) fn forget(&mut self) {
        self.0.forget();
    }
}

/// Looks, decides, and does one thing at most.
pub(super) async fn look(manager: &mut Manager) -> Result<Look, ApiError> {
    let path = objects::path(&manager.duties, "secrets", SEAL);
    let Some((mut secret, _)) = objects::read(&manager.api, &path).await? else {
        return Err(ApiError::NotFound(path));
    };
    let ring = Ring { data: secret.secret(), annotations: secret.annotations() };
    let settled = manager.keys.0.seen(secret.version(), manager.now());
    let step = ring.next(settled, &manager.duties.timing);
    let (reason, note) = match step {
        Step::Rest => return Ok(Look::Done),
        Step::Refuse(name) => {
            tracing::warn!(
                secret = SEAL,
                key = name,
                "not 32 bytes, so no key: take it out, or put the right one"
            );
            return Ok(Look::Done);
        }
        Step::Make => ("SealKeyMade", "a new key seals, since there was none"),
        Step::Announce => ("SealKeyAnnounced", "a new key is known, as previous; it seals in two minutes"),
        Step::Swap => ("SealKeyRotated", "the new key seals; the one before it still verifies"),
    };
    let after = ring.after(step, &random::bytes());
    secret.set_secret(&after.data);
    secret.annotate(&after.annotations);
    manager.may_write()?;
    manager.api.put(&path, &secret.0).await?;
    manager.tell(&secret, reason, note).await;
    Ok(Look::Again)
}
