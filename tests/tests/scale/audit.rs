//! Counts the requests in the API server's audit log, by account and outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use agent_creds_tests::cluster;
use jiff::Timestamp;
use serde::Deserialize;

use super::group::Window;

/// The requests of sidecars within one window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    pub(crate) reads: usize,
    /// All writes of the state Secret, also the refused ones.
    pub(crate) writes: usize,
    /// The writes that were refused because of an earlier write.
    pub(crate) conflicts: usize,
    pub(crate) events: usize,
    /// The watches that are open at the end of the window.
    pub(crate) watches: usize,
    /// All other requests. A sidecar has no right to any.
    pub(crate) others: BTreeMap<String, usize>,
}

/// The requests of each window.
pub(crate) struct Audit(Vec<(Window, Requests)>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    id: String,
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct ObjectRef {
    resource: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: Option<u16>,
}

impl Audit {
    /// Reads the log once for all windows.
    pub(crate) fn read(windows: Vec<Window>) -> Self {
        let mut found: Vec<_> = windows.into_iter().map(|window| (window, Requests::default())).collect();
        let mut watches: Vec<BTreeSet<String>> = vec![BTreeSet::new(); found.len()];
        let log = File::open(cluster::directory().join("audit.log")).expect("the audit log");
        for line in BufReader::new(log).lines() {
            let line = line.expect("reading the audit log");
            // Parsing the lines of other accounts would take long and has no use.
            if !line.contains("system:serviceaccount:scale-") {
                continue;
            }
            let line: Line = serde_json::from_str(&line).expect("a line of the audit log");
            for ((window, requests), open) in found.iter_mut().zip(&mut watches) {
                if line.user.username == format!("system:serviceaccount:{}:agent", window.namespace) {
                    line.count(window, requests, open);
                }
            }
        }
        for ((_, requests), open) in found.iter_mut().zip(watches) {
            requests.watches = open.len();
        }
        Self(found)
    }

    /// Returns the requests of a window.
    pub(crate) fn within(&self, window: &Window) -> &Requests {
        let same = |(other, _): &&(Window, Requests)| {
            other.namespace == window.namespace && other.from == window.from
        };
        &self.0.iter().find(same).expect("a window that was read").1
    }
}

impl Line {
    fn count(&self, window: &Window, requests: &mut Requests, open: &mut BTreeSet<String>) {
        let object = self.object_ref.as_ref();
        let here = object.is_some_and(|object| object.namespace.as_ref() == Some(&window.namespace));
        let resource = object.map_or("nothing", |object| &object.resource);
        if self.verb == "watch" && here {
            if self.stage == "ResponseStarted" && self.stage_timestamp < window.to {
                open.insert(self.id.clone());
            } else if self.stage == "ResponseComplete" && self.stage_timestamp < window.to {
                open.remove(&self.id);
            }
            return;
        }
        let within = (window.from..window.to).contains(&self.request_received_timestamp);
        if !within || self.stage != "ResponseComplete" {
            return;
        }
        match (&*self.verb, resource) {
            ("get", "secrets") => requests.reads += 1,
            ("update", "secrets") => {
                requests.writes += 1;
                let status = self.response_status.as_ref().and_then(|status| status.code);
                requests.conflicts += usize::from(status == Some(409));
            }
            ("create", "events") => requests.events += 1,
            (verb, resource) => *requests.others.entry(format!("{verb} {resource}")).or_default() += 1,
        }
    }
}
