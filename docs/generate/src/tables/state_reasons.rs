//! The reasons for a grant's state, of every layer that has some.

use agent_creds_core::words::Word as _;
use agent_creds_refresh::condition::Condition;
use agent_creds_refresh::document::Document;
use agent_creds_refresh::login::Login;
use agent_creds_refresh::reason::{NotSent, Outlook, Reason, ReasonSet, Refused};
use agent_creds_refresh::status::Status;
use agent_creds_sidecar::identity::condition::IdentityReason;
use agent_creds_sidecar::store::reason::SecretReason;
use jiff::SignedDuration;

use crate::example;
use crate::markdown::{codes, table};

pub(super) fn state_reasons() -> anyhow::Result<String> {
    let login = example::login()?;
    let document = example::document(&login)?;
    let reasons = layers().into_iter().flat_map(|(_, reasons)| reasons);
    let rows = reasons.filter(|reason| !reason.sentence.is_empty()).map(|reason| {
        [codes([reason.word]), codes(states(&document, &login, reason)), reason.sentence.to_owned()]
    });
    Ok(table(["reason", "state with a valid, an ended, and no token", "message"], rows))
}

/// The states of a grant that has this reason: one, where the token makes no difference.
fn states(document: &Document, login: &Login, reason: Reason) -> Vec<&'static str> {
    let condition = Condition { reason, message: String::new() };
    let (now, later) = (example::now(), example::now() + SignedDuration::from_hours(1));
    let cases = [(document, now), (document, later), (&Document::default(), now)];
    let state = |(document, at)| Status::of(document, Some(login), Some(&condition), at).state.as_str();
    let mut states = cases.map(state).to_vec();
    states.dedup();
    states
}

/// The sets of reasons, one for each layer, by the names of their types.
fn layers() -> Vec<(&'static str, Vec<Reason>)> {
    fn of<T: ReasonSet>() -> (&'static str, Vec<Reason>) {
        let name = std::any::type_name::<T>();
        (name.rsplit("::").next().unwrap_or(name), T::VARIANTS.iter().map(|r| Reason::from(*r)).collect())
    }
    vec![of::<Outlook>(), of::<NotSent>(), of::<Refused>(), of::<SecretReason>(), of::<IdentityReason>()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The types below a folder that implement the trait of such sets.
    fn implemented(folder: &Path, into: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                implemented(&path, into);
            } else {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let names = text.lines().filter_map(|line| line.strip_prefix("impl ReasonSet for "));
                into.extend(names.map(|name| name.trim_end_matches(" {").to_owned()));
            }
        }
    }

    #[test]
    fn no_set_of_reasons_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut sets = BTreeSet::new();
        for part in ["core", "refresh", "runtime", "sidecar", "webhook"] {
            implemented(&root.join(part).join("src"), &mut sets);
        }
        let shown: BTreeSet<_> = layers().into_iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(shown, sets);
    }

    #[test]
    fn a_reason_that_passes_by_itself_depends_on_the_token() {
        let login = example::login().expect("a login");
        let document = example::document(&login).expect("a document");
        let states = |reason: Reason| states(&document, &login, reason);
        assert_eq!(states(NotSent::Dns.into()), ["degraded", "expired", "pending"]);
        assert_eq!(states(SecretReason::GrantMissing.into()), ["misconfigured"]);
    }
}
