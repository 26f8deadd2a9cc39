//! `helm upgrade` to a version that injects differently, and `helm rollback`, while agents run. Each of the two builds
//! of the webhook (`tests/versions/`) issues identities to sidecars that the other one injected.

use agent_creds_tests::cluster::{SYSTEM, eventually, get, helm, kubectl, pipe};
use serde_json::Value;

use crate::e2e::agent::{ask, document, logs, name, restarts, shell};
use crate::e2e::login::Login;
use crate::e2e::platform::{ACCOUNT, PLATFORM, START, why};

/// Longer than a renewal of a sidecar's identity takes, so that its agent is served meanwhile.
const TOKEN_LIFE: u64 = 60;

/// The differences between two versions.
#[derive(Debug, PartialEq)]
struct Version {
    /// Tag of the images.
    tag: &'static str,
    /// Name of the volume that only the sidecar mounts.
    volume: &'static str,
    /// Period of the startup probe, in seconds.
    period: u64,
    /// The sidecar's user.
    uid: u64,
    /// Value of `AGENT_CREDS_VERSION` in the agent.
    variable: &'static str,
}

const FIRST: Version =
    Version { tag: "test", volume: "agent-creds-spool", period: 1, uid: 54911, variable: "" };
const NEXT: Version =
    Version { tag: "next", volume: "agent-creds-memory", period: 2, uid: 54912, variable: "next" };

impl Version {
    /// Checks that this version injected the pod.
    fn has_injected(&self, login: &Login, pod: &Value) {
        let sidecar = &pod["spec"]["initContainers"][0];
        let image = sidecar["image"].as_str().unwrap_or_default();
        assert!(image.ends_with(&format!("/sidecar:{}", self.tag)), "{image}");
        assert_eq!(sidecar["startupProbe"]["periodSeconds"], self.period, "{sidecar}");
        assert_eq!(sidecar["securityContext"]["runAsUser"], self.uid, "{sidecar}");
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let named: Vec<_> = volumes.filter_map(|volume| volume["name"].as_str()).collect();
        for version in [FIRST, NEXT] {
            assert_eq!(named.contains(&version.volume), version == *self, "{named:?}");
        }
        let variable = shell(login.agent, name(pod), r#"echo "$AGENT_CREDS_VERSION""#).expect("a shell");
        assert_eq!(variable.trim(), self.variable);
    }

    /// Waits until every pod of the release is ready and of this version.
    fn is_released(&self) {
        let suffix = format!("/webhook:{}", self.tag);
        eventually(START, || {
            let pods = get(&["pods", "--namespace", SYSTEM])["items"].clone();
            let status = |pod: &Value| {
                let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
                (image, pod["status"]["containerStatuses"][0]["ready"] == true)
            };
            let found: Vec<_> = pods.as_array().into_iter().flatten().map(status).collect();
            let all = found.iter().all(|(image, ready)| *ready && image.ends_with(&suffix));
            // Two of `admit`, two of `identity`, one of `manage`.
            if all && found.len() == 5 { Ok(()) } else { Err(format!("{found:?}\n{}", why(SYSTEM))) }
        });
    }
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn an_upgrade_to_another_injection_and_a_rollback_leave_running_agents_working() {
    let login = Login::open("versions", TOKEN_LIFE);
    let before = login.run(1);
    let first = &before[0];
    FIRST.has_injected(&login, first);

    let _back = Back;
    let user = format!("sidecar.uid={}", NEXT.uid);
    let tags = ["webhook", "sidecar"].map(|image| format!("image.{image}.tag={}", NEXT.tag));
    // Chart values whose defaults a next version may change, too.
    let values = ["--set", &user, "--set", &tags[0], "--set", &tags[1]];
    let more = ["--set", "sidecar.resources.requests.memory=24Mi", "--wait", "--timeout", "4m"];
    meanwhile_served(&login, &before, || PLATFORM.helm("upgrade", &[&values[..], &more].concat()));
    NEXT.is_released();
    renew(&login, &before);
    admission_knows(&login, first, "after-the-upgrade");

    kubectl(&["scale", "deployment/devops-agent", "--replicas=2", "--namespace", login.agent])
        .expect("scaling to two");
    let both = login.all_serve(2);
    let second = both.iter().find(|pod| name(pod) != name(first)).expect("the new pod");
    NEXT.has_injected(&login, second);

    meanwhile_served(&login, &both, || {
        helm(&["rollback", "agent-creds", "--namespace", SYSTEM, "--wait", "--timeout", "4m"], "")
    });
    FIRST.is_released();
    renew(&login, &both);
    admission_knows(&login, first, "after-the-rollback");
    admission_knows(&login, second, "after-the-rollback");

    let uids = |pods: &[Value]| pods.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect::<Vec<_>>();
    assert_eq!(uids(&login.all_serve(2)), uids(&both), "the pods are the same");
    assert_eq!(restarts(login.agent), [].into());
    login.is_kept();
}

/// Changes the release, and checks that each of these agents gets tokens meanwhile.
fn meanwhile_served(login: &Login, pods: &[Value], change: impl FnOnce() -> Result<String, String> + Send) {
    std::thread::scope(|scope| {
        let changing = scope.spawn(change);
        while !changing.is_finished() {
            all_are_served(login, pods);
        }
        let changed = changing.join().expect("no panic");
        changed.unwrap_or_else(|error| panic!("helm: {error}\n{}", why(SYSTEM)));
    });
}

fn all_are_served(login: &Login, pods: &[Value]) {
    for pod in pods {
        ask(login.agent, name(pod), "/v1/token/pagerduty")
            .unwrap_or_else(|error| panic!("{error}\n{}", why(login.agent)));
    }
}

/// Makes the running sidecars renew their identities: it recreates the account, so the API server rejects all existing
/// tokens, and each sidecar requests another one. No identity request may be refused.
fn renew(login: &Login, pods: &[Value]) {
    let renewals = |pod: &Value| logs(login.agent, name(pod)).matches("API token renewed").count();
    let before: Vec<_> = pods.iter().map(renewals).collect();
    let account = get(&["serviceaccount", &format!("{ACCOUNT}-creds"), "--namespace", login.agent]);
    pipe(&account.to_string(), &["replace", "--force"]).expect("recreating the account");
    eventually(START, || {
        all_are_served(login, pods);
        // Each refresh sends requests to the API server, which caches a token's validity for ten seconds.
        if document(login.agent)["request"].is_null() {
            login.request();
        }
        let now: Vec<_> = pods.iter().map(renewals).collect();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            Ok(())
        } else {
            Err(format!("{before:?} renewals before, {now:?} now\n{}\n{}", why(login.agent), why(SYSTEM)))
        }
    });
    assert!(answers("issued") >= pods.len(), "issued by the current version");
    assert_eq!(answers("refused"), 0, "{}", why(SYSTEM));
}

/// Returns how many answers with this outcome the identity servers have counted since their start.
fn answers(outcome: &str) -> usize {
    let servers = get(&["pods", "--namespace", SYSTEM, "--selector", "app.kubernetes.io/component=identity"]);
    let label = format!("outcome=\"{outcome}\"");
    let count = |server: &Value| -> usize {
        let page = format!("/api/v1/namespaces/{SYSTEM}/pods/{}:8080/proxy/metrics", name(server));
        let page = kubectl(&["get", "--raw", &page]).expect("the metrics");
        let lines = page.lines().filter(|line| line.starts_with("agent_creds_identity_total"));
        let lines = lines.filter(|line| line.contains(&label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
    };
    servers["items"].as_array().expect("a list").iter().map(count).sum()
}

/// Changes a label, for which admission is not called, and adds an ephemeral container, for which admission verifies
/// the seal.
fn admission_knows(login: &Login, pod: &Value, when: &str) {
    let changed = |what: &[&str]| {
        kubectl(&[&["--namespace", login.agent], what].concat())
            .unwrap_or_else(|error| panic!("{} {when}: {error}", name(pod)));
    };
    changed(&["label", "pod", name(pod), &format!("example.com/seen={when}"), "--overwrite"]);
    let debugger = ["--image=localhost/test-agent:1", "--profile=baseline", "--quiet", "--target=agent"];
    let container = format!("--container={when}");
    changed(&[&["debug", name(pod), &container], &debugger[..], &["--", "true"]].concat());
}

/// Restores the release's version if the test fails half way.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // An error here must not hide the test's own panic.
            let _ = PLATFORM.helm("upgrade", &["--wait", "--timeout", "4m"]);
        }
    }
}
