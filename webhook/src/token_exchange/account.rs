//! Names of ServiceAccounts that are used in paths of the API.

use agent_creds_core::names::{ObjectName, is_label, is_subdomain};

/// Returns the name of an account; `None` where it is not valid. A valid name in a path cannot lead to another object.
pub(super) fn account(namespace: &str, name: &str) -> Option<ObjectName> {
    let valid = is_label(namespace) && is_subdomain(name);
    valid.then(|| ObjectName { namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_cannot_lead_elsewhere() {
        assert_eq!(account("ops", "a.b-creds").unwrap().to_string(), "ops/a.b-creds");
        let long = "a".repeat(254);
        for (namespace, name) in [
            ("", "a"),
            ("ops", ""),
            ("ops", ".."),
            ("..", "a"),
            ("ops", "a/token"),
            ("ops", "a?x"),
            ("ops/x", "a"),
            ("ops", "a%2f"),
            ("Ops", "a"),
            ("a.b", "a"),
            ("ops", &long),
        ] {
            assert_eq!(account(namespace, name), None, "{namespace}/{name}");
        }
    }
}
