//! Which account may do what in the API: as documented, as granted by the chart, and as used according to the audit
//! log.
//!
//! All three are the same closed set. `tests/tests/chart/rights.rs` compares the granted rights with the documented
//! ones, and `tests/tests/e2e/used_rights.rs` the used ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{SYSTEM, directory, root};

const AGENT: &str = "the agent's ServiceAccount";
const EVERYONE: &str = "every ServiceAccount";
const ANY: &str = "any";

/// One verb on one resource, in the terms of `tests/data/rights.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The role, or the kind of account.
    pub account: String,
    /// `get`.
    pub verb: String,
    /// `secrets`, `serviceaccounts/token`, `leases.coordination.k8s.io`.
    pub resource: String,
    /// The object's name, or its relation to the account; "any" for all objects.
    pub name: String,
}

impl Right {
    fn new(account: &str, verb: &str, resource: &str, name: Option<&str>) -> Self {
        let word = str::to_owned;
        Self {
            account: word(account),
            verb: word(verb),
            resource: word(resource),
            name: kind(resource, name),
        }
    }

    /// Returns whether this right allows a used one.
    #[must_use]
    pub fn allows(&self, used: &Self) -> bool {
        (&self.account, &self.verb, &self.resource) == (&used.account, &used.verb, &used.resource)
            && (self.name == ANY || self.name == used.name)
    }
}

/// Returns how a right names an object: our own by name, those of agents by their relation to the account.
fn kind(resource: &str, name: Option<&str>) -> String {
    let kind = match (resource, name) {
        (_, None) => ANY,
        (_, Some(ours)) if ours.starts_with("agent-creds") => ours,
        ("secrets", Some(name)) if name.ends_with("-state") => "its state Secrets",
        ("secrets", Some(_)) => "its grant Secrets",
        ("serviceaccounts" | "serviceaccounts/token", Some(_)) => "a credential ServiceAccount",
        (_, Some(other)) => other,
    };
    kind.to_owned()
}

/// Returns how a right names an account: ours by name, others by their kind.
fn account_of<'a>(namespace: &str, name: &'a str) -> &'a str {
    match name {
        ours if namespace == SYSTEM => ours,
        credential if credential.ends_with("-creds") => "the credential ServiceAccount",
        _ => AGENT,
    }
}

/// Returns `leases.coordination.k8s.io` for `leases` of group `coordination.k8s.io`.
fn qualified(resource: &str, group: Option<&str>) -> String {
    match group {
        None | Some("") => resource.to_owned(),
        Some(group) => format!("{resource}.{group}"),
    }
}

/// One entry of `tests/data/rights.yaml`: every verb on every resource with every name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The role, or the kind of account.
    pub who: String,
    /// Empty if the role has no rights.
    pub verbs: Vec<String>,
    /// As in [`Right`].
    pub resources: Vec<String>,
    /// As in [`Right`].
    pub names: Vec<String>,
    /// The reason for the rights.
    pub why: String,
}

/// Returns the documented rights.
///
/// # Panics
/// If `tests/data/rights.yaml` is missing or invalid.
#[must_use]
pub fn listed() -> BTreeSet<Right> {
    let text = std::fs::read_to_string(root().join("tests/data/rights.yaml")).expect("rights.yaml");
    let entries: Vec<Entry> = serde_yaml::from_str(&text).expect("rights.yaml");
    let mut rights = BTreeSet::new();
    for Entry { who, verbs, resources, names, .. } in &entries {
        for (verb, resource, name) in verbs.iter().flat_map(|verb| {
            resources.iter().flat_map(move |resource| names.iter().map(move |name| (verb, resource, name)))
        }) {
            rights.insert(Right {
                account: who.clone(),
                verb: verb.clone(),
                resource: resource.clone(),
                name: name.clone(),
            });
        }
    }
    rights
}

/// Returns the rights that these Roles and ClusterRoles grant through their bindings.
///
/// # Panics
/// If a binding refers to a role that is not among the objects.
#[must_use]
pub fn granted(objects: &[Value]) -> BTreeSet<Right> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(text).collect() };
    let mut rights = BTreeSet::new();
    for binding in objects.iter().filter(|object| text(&object["kind"]).ends_with("RoleBinding")) {
        let reference = &binding["roleRef"];
        let bound = |role: &&Value| {
            let near = role["kind"] == "ClusterRole"
                || role["metadata"]["namespace"] == binding["metadata"]["namespace"];
            role["kind"] == reference["kind"] && role["metadata"]["name"] == reference["name"] && near
        };
        let role = objects.iter().find(bound).unwrap_or_else(|| panic!("no such role: {binding}"));
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
            let all = subject["kind"] == "Group" && name == "system:serviceaccounts";
            let account = if all { EVERYONE } else { account_of(&namespace, &name) };
            for rule in role["rules"].as_array().into_iter().flatten() {
                let names = list(&rule["resourceNames"]);
                let names: Vec<_> =
                    if names.is_empty() { vec![None] } else { names.iter().map(|n| Some(&**n)).collect() };
                for group in list(&rule["apiGroups"]) {
                    for resource in list(&rule["resources"]) {
                        let resource = qualified(&resource, Some(&group));
                        for verb in list(&rule["verbs"]) {
                            let of = |name| Right::new(account, &verb, &resource, name);
                            rights.extend(names.iter().copied().map(of));
                        }
                    }
                }
            }
        }
    }
    rights
}

/// The requests of our accounts in the API server's audit log since its start.
#[derive(Default)]
pub struct Requests {
    /// All requests, also the refused ones.
    pub made: BTreeSet<Right>,
    /// The allowed requests.
    pub allowed: BTreeSet<Right>,
}

/// Reads the audit log.
///
/// # Panics
/// If there is no log, or a line cannot be parsed.
#[must_use]
pub fn used() -> Requests {
    let log = File::open(directory().join("audit.log")).expect("the audit log");
    let mut requests = Requests::default();
    for line in BufReader::new(log).lines() {
        let line = line.expect("reading the audit log");
        // Parsing the lines of other accounts would take long and has no use.
        if line.contains(r#""username":"system:serviceaccount:"#) {
            let line: Value = serde_json::from_str(&line).expect("a line of the audit log");
            let rights = of_line(&line);
            if line["annotations"]["authorization.k8s.io/decision"] == "allow" {
                requests.allowed.extend(rights.iter().flatten().cloned());
            }
            requests.made.extend(rights.into_iter().flatten());
        }
    }
    requests
}

/// Returns the right that a request needed, and the right that it asked about.
fn of_line(line: &Value) -> Option<[Right; 2]> {
    let user = line["user"]["username"].as_str()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, name) = user.split_once(':')?;
    let (verb, object) = (line["verb"].as_str()?, &line["objectRef"]);
    let resource = object["resource"].as_str().map(|resource| {
        let resource = qualified(resource, object["apiGroup"].as_str());
        object["subresource"].as_str().map_or(resource.clone(), |part| format!("{resource}/{part}"))
    });
    // A request without an object is listed with its URI, so that it shows up as an undocumented right.
    let resource = resource.or_else(|| Some(line["requestURI"].as_str()?.to_owned()))?;
    let object = object["name"].as_str();
    let account = match account_of(namespace, name) {
        // Requests of agents and of the cluster's controllers are not ours, except reads of the public CA.
        AGENT if object == Some("agent-creds-ca") => EVERYONE,
        AGENT => return None,
        ours => ours,
    };
    let made = Right::new(account, verb, &resource, object);
    // Only the identity server sends SubjectAccessReviews: whether the agent may `assume` the account.
    let question = &line["requestObject"]["spec"]["resourceAttributes"];
    let asked = match question["verb"].as_str() {
        Some(verb) if line["responseObject"]["status"]["allowed"] == true => {
            Right::new(AGENT, verb, question["resource"].as_str()?, question["name"].as_str())
        }
        _ => made.clone(),
    };
    Some([made, asked])
}
