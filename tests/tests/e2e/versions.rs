//! `helm upgrade` to a version that injects something else, and `helm rollback`, while agents run: two builds of the webhook
//! (`tests/versions/`), each of which gives identities to the sidecars that the other one injected.

use agent_creds_tests::cluster::{SYSTEM, eventually, get, helm, kubectl, pipe};
use serde_json::Value;

use crate::e2e::agent::{ask, document, logs, name, restarts, shell};
use crate::e2e::platform::{ACCOUNT, PLATFORM, START, why};
use crate::e2e::scene::Scene;

/// Access tokens live longer than a sidecar takes to get another identity, so that its agent is served meanwhile.
const TOKEN_LIFE: u64 = 60;

/// What tells two versions apart.
#[derive(Debug, PartialEq)]
struct Version {
    /// Of its images.
    tag: &'static str,
    /// What it calls the volume that is the sidecar's alone.
    volume: &'static str,
    /// Between two startup probes.
    period: u64,
    /// The sidecar's user.
    uid: u64,
    /// What agents read in `AGENT_CREDS_VERSION`.
    variable: &'static str,
}

const FIRST: Version =
    Version { tag: "test", volume: "agent-creds-spool", period: 1, uid: 54911, variable: "" };
const NEXT: Version =
    Version { tag: "next", volume: "agent-creds-memory", period: 2, uid: 54912, variable: "next" };

impl Version {
    /// Whether this version injected the pod.
    fn has_injected(&self, scene: &Scene, pod: &Value) {
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
        let variable = shell(scene.agent, name(pod), r#"echo "$AGENT_CREDS_VERSION""#).expect("a shell");
        assert_eq!(variable.trim(), self.variable);
    }

    /// Waits until each pod of the release is ready and of this version, and none of another is left.
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
            // Two of admission, two identity servers, one that manages.
            if all && found.len() == 5 { Ok(()) } else { Err(format!("{found:?}\n{}", why(SYSTEM))) }
        });
    }
}

#[test]
#[ignore = "needs the node: make test starts it"]
fn an_upgrade_to_another_injection_and_a_rollback_leave_running_agents_working() {
    let scene = Scene::open("versions", TOKEN_LIFE);
    let before = scene.run(1);
    let first = &before[0];
    FIRST.has_injected(&scene, first);

    let _back = Back;
    let user = format!("sidecar.uid={}", NEXT.uid);
    let tags = ["webhook", "sidecar"].map(|image| format!("image.{image}.tag={}", NEXT.tag));
    // Chart values, of which a next version may have other defaults, too.
    let values = ["--set", &user, "--set", &tags[0], "--set", &tags[1]];
    let more = ["--set", "sidecar.resources.requests.memory=24Mi", "--wait", "--timeout", "4m"];
    meanwhile_served(&scene, &before, || PLATFORM.helm("upgrade", &[&values[..], &more].concat()));
    NEXT.is_released();
    renew(&scene, &before);
    admission_knows(&scene, first, "after-the-upgrade");

    kubectl(&["scale", "deployment/devops-agent", "--replicas=2", "--namespace", scene.agent])
        .expect("a second one");
    let both = scene.all_serve(2);
    let second = both.iter().find(|pod| name(pod) != name(first)).expect("another one");
    NEXT.has_injected(&scene, second);

    meanwhile_served(&scene, &both, || {
        helm(&["rollback", "agent-creds", "--namespace", SYSTEM, "--wait", "--timeout", "4m"], "")
    });
    FIRST.is_released();
    renew(&scene, &both);
    admission_knows(&scene, first, "after-the-rollback");
    admission_knows(&scene, second, "after-the-rollback");

    let uids = |pods: &[Value]| pods.iter().map(|pod| pod["metadata"]["uid"].to_string()).collect::<Vec<_>>();
    assert_eq!(uids(&scene.all_serve(2)), uids(&both), "the same pods");
    assert_eq!(restarts(scene.agent), [].into());
    scene.is_kept();
}

/// Changes the release; until that is done, each of these agents gets a token whenever it asks.
fn meanwhile_served(scene: &Scene, pods: &[Value], change: impl FnOnce() -> Result<String, String> + Send) {
    std::thread::scope(|scope| {
        let changing = scope.spawn(change);
        while !changing.is_finished() {
            all_are_served(scene, pods);
        }
        let changed = changing.join().expect("no panic");
        changed.unwrap_or_else(|error| panic!("helm: {error}\n{}", why(SYSTEM)));
    });
}

fn all_are_served(scene: &Scene, pods: &[Value]) {
    for pod in pods {
        ask(scene.agent, name(pod), "/v1/token/pagerduty")
            .unwrap_or_else(|error| panic!("{error}\n{}", why(scene.agent)));
    }
}

/// Has the running sidecars renew their identities: the account is made anew, so the API server takes none of the tokens that
/// there are, and each sidecar asks for another one when it hears of that. No answer is a refusal.
fn renew(scene: &Scene, pods: &[Value]) {
    let renewals = |pod: &Value| logs(scene.agent, name(pod)).matches("API token renewed").count();
    let before: Vec<_> = pods.iter().map(renewals).collect();
    let account = get(&["serviceaccount", &format!("{ACCOUNT}-creds"), "--namespace", scene.agent]);
    pipe(&account.to_string(), &["replace", "--force"]).expect("the account, made anew");
    eventually(START, || {
        all_are_served(scene, pods);
        // Each refresh is some requests of the API server, which remembers a token for ten seconds.
        if document(scene.agent)["request"].is_null() {
            scene.request();
        }
        let now: Vec<_> = pods.iter().map(renewals).collect();
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            Ok(())
        } else {
            Err(format!("{before:?} renewals before, {now:?} now\n{}\n{}", why(scene.agent), why(SYSTEM)))
        }
    });
    assert!(answers("issued") >= pods.len(), "by the version that runs now");
    assert_eq!(answers("refused"), 0, "{}", why(SYSTEM));
}

/// How many answers with this outcome the identity servers have counted since they started.
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

/// A label, about which admission is not asked, and a debugger, about which it is: it has to know the pod by its seal.
fn admission_knows(scene: &Scene, pod: &Value, when: &str) {
    let changed = |what: &[&str]| {
        kubectl(&[&["--namespace", scene.agent], what].concat())
            .unwrap_or_else(|error| panic!("{} {when}: {error}", name(pod)));
    };
    changed(&["label", "pod", name(pod), &format!("example.com/seen={when}"), "--overwrite"]);
    let debugger = ["--image=localhost/test-agent:1", "--profile=baseline", "--quiet", "--target=agent"];
    let container = format!("--container={when}");
    changed(&[&["debug", name(pod), &container], &debugger[..], &["--", "true"]].concat());
}

/// A test that failed half way leaves the version of the other tests behind.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whether that works is no part of the test.
            let _ = PLATFORM.helm("upgrade", &["--wait", "--timeout", "4m"]);
        }
    }
}
