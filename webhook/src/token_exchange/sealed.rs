//! Checks the stored pod as admission did, and returns the account that its seal names.

use agent_creds_core::words::Word as _;
use serde_json::Value;

use super::account::account;
use super::outcome::Reason;
use super::stopped::Stopped;
use crate::outcome::{Reason as Rule, Refusal};
use crate::pod::seal_keys::Keys;
use crate::pod::verify::proven;
use crate::policy::Policy;
use agent_creds_core::names::ObjectName;

/// Most refusals that one line of the log names.
const MOST: usize = 3;

/// Returns the account that the seal of a pod of `namespace` names, at `now` (Unix seconds).
///
/// # Errors
/// Where the seal is not valid for this pod, or the pod contains something that is forbidden.
pub fn sealed(
    pod: &Value,
    namespace: &str,
    policy: &Policy,
    keys: Option<&Keys>,
    now: i64,
) -> Result<ObjectName, Stopped> {
    let keys = keys.ok_or(Reason::KeysMissing)?;
    let fragment = proven(pod, policy, keys, namespace, now).map_err(|refusals| stopped(&refusals))?;
    let Some(named) = fragment.credential else {
        let detail = "sealed in identity mode pod, which has no exchange; create the pod again";
        return Err(Stopped::because(Reason::Seal, detail));
    };
    account(&named.namespace, &named.name)
        .ok_or_else(|| Stopped::because(Reason::Seal, format_args!("{named} is not a valid account name")))
}

fn stopped(refusals: &[Refusal]) -> Stopped {
    let of_the_seal = |refusal: &Refusal| {
        use Rule::{
            KeysMissing, NameTaken, PodInvalid, SealInvalid, SealMissing, SealTime, SealWithdrawn,
            SidecarStripped,
        };
        matches!(
            refusal.reason,
            SealMissing
                | SealInvalid
                | SealWithdrawn
                | SealTime
                | SidecarStripped
                | NameTaken
                | PodInvalid
                | KeysMissing
        )
    };
    let reason = if refusals.iter().any(of_the_seal) {
        Reason::Seal
    } else if refusals.iter().any(|refusal| refusal.reason == Rule::CredentialAccount) {
        Reason::OwnAccount
    } else {
        Reason::PodForbidden
    };
    let said = |refusal: &Refusal| format!("{}: {}", refusal.reason.as_str(), refusal.message);
    let detail: Vec<_> = refusals.iter().take(MOST).map(said).collect();
    Stopped { reason, detail: Some(detail.join("; ")) }
}

#[cfg(test)]
mod tests;
