//! The role `manage` beside a real API server, as a process with the rights of its own ServiceAccount and no others.
//! The API server calls admission through its Service and by nothing but what `manage` told it to trust.

mod exchange;
mod process;
mod scene;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use agent_creds_tests::cluster::{self, SYSTEM, eventually, get, kubectl};
use rustix::process::Signal;
use scene::{Scene, annotate, annotation, data, pod};
use serde_json::Value;
use traffic::Traffic;

const MOMENT: Duration = Duration::from_secs(60);
const CERTIFICATES: &str = "agent-creds-certificates";
const SEAL: &str = "agent-creds-seal";

/// Whom the ConfigMap and both configurations trust.
fn trusted() -> BTreeSet<String> {
    use base64::Engine as _;
    let map = get(&["configmap", "agent-creds-ca", "--namespace", SYSTEM]);
    let mut bundles: BTreeSet<String> =
        [map["data"]["ca.crt"].as_str().unwrap_or_default().to_owned()].into();
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        for webhook in get(&[kind, "agent-creds"])["webhooks"].as_array().expect("webhooks") {
            let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            let bundle = base64::engine::general_purpose::STANDARD.decode(bundle).expect("base64");
            bundles.insert(String::from_utf8(bundle).expect("PEM"));
        }
    }
    bundles
}

fn events() -> BTreeSet<String> {
    let events = get(&["events.events.k8s.io", "--namespace", SYSTEM]);
    let reasons = events["items"].as_array().expect("items").iter();
    reasons.map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
}

fn answered(secret: &str, request: &str) {
    eventually(MOMENT, || match annotation(secret, "agent-creds/rotated") {
        Some(done) if done == request => Ok(()),
        other => Err(format!("{secret}: {other:?}")),
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: make test starts it"]
async fn certificates_and_keys_over_a_whole_rotation() {
    let scene = Scene::install().await;
    assert!(!scene.admission_is_ready().await, "it lives, and waits for its certificate and keys");
    let mut first = scene.manager("first");
    scene.admission_becomes_ready().await;
    assert_eq!(trusted().len(), 1, "one CA, everywhere");
    // A configuration takes a moment to be in force; from then on nothing may fail.
    eventually(MOMENT, || scene::admit(&pod("ops", "probe")));
    let traffic = Traffic::start(&scene);

    // The CA is replaced, and nobody notices.
    let before = data(CERTIFICATES);
    annotate(CERTIFICATES, "one");
    answered(CERTIFICATES, "one");
    eventually(MOMENT, || match data(CERTIFICATES) {
        data if data.contains_key("retired.crt") => Err("the CA before is still trusted".to_owned()),
        data => Ok(data),
    });
    let after = data(CERTIFICATES);
    for part in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        assert_ne!(before[part], after[part], "{part}");
    }
    let last = eventually(MOMENT, || {
        let trusted = trusted();
        if trusted.len() == 1 { Ok(trusted) } else { Err(format!("{trusted:?}")) }
    });
    assert_eq!(last.first().map(String::as_bytes), Some(after["ca.crt"].as_slice()), "nobody else's");

    // So is the key that seals.
    let before = data(SEAL);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["current"]);
    annotate(SEAL, "a");
    answered(SEAL, "a");
    let after = data(SEAL);
    assert_eq!(after["previous"], before["current"]);
    assert_ne!(after["current"], before["current"]);
    assert_eq!(after["current"].len(), 32);
    traffic.passed_without_a_failure().await;
    let told = events();
    for reason in
        ["CaAnnounced", "CaRotated", "CaRetired", "SealKeyMade", "SealKeyAnnounced", "SealKeyRotated"]
    {
        assert!(told.contains(reason), "{reason} is not among {told:?}");
    }

    // What counts and what is measured.
    scene.create(&pod("excluded", "uninjected"));
    eventually(MOMENT, || {
        let page = first.metrics();
        let says = |line: &str| page.lines().any(|found| found == line);
        let both = page.contains("certificate=\"ca\"") && page.contains("certificate=\"leaf\"");
        let well = says("agent_creds_uninjected_pods 1") && says("agent_creds_ca_bundle_mismatch 0") && both;
        if well { Ok(()) } else { Err(page) }
    });

    // Whatever helm does, what is kept stays; and what it takes away from its own objects comes back.
    let kept = (data(CERTIFICATES), data(SEAL), trusted());
    for more in [&[][..], &["--force"]] {
        scene.upgrade(more);
        assert!(kept.0 == data(CERTIFICATES) && kept.1 == data(SEAL), "after upgrade {more:?}");
        eventually(MOMENT, || if trusted() == kept.2 { Ok(()) } else { Err("still empty".to_owned()) });
    }

    // A second one waits for as long as the first one lives, and takes over when that is killed.
    let mut second = scene.manager("second");
    second.said("listening");
    let holder =
        || get(&["lease", "agent-creds-manage", "--namespace", SYSTEM])["spec"]["holderIdentity"].clone();
    assert!(holder().as_str().is_some_and(|name| name.starts_with("first_")), "{}", holder());
    first.signal(Signal::KILL);
    second.said("became leader");
    annotate(SEAL, "b");
    answered(SEAL, "b");
    // Asked to end, it gives the Lease back.
    second.signal(Signal::TERM);
    eventually(MOMENT, || if holder() == Value::Null { Ok(()) } else { Err(holder().to_string()) });
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: make test starts it"]
async fn it_may_do_what_it_does_and_nothing_else() {
    let scene = Scene::install().await;
    let may = |verb: &str, what: &str, namespace: &str| {
        let account = format!("system:serviceaccount:{SYSTEM}:agent-creds-manage");
        cluster::may(&account, verb, what, namespace)
    };
    for (verb, what, expected) in [
        ("get", "secrets/agent-creds-certificates", true),
        ("update", "secrets/agent-creds-seal", true),
        ("watch", "secrets/agent-creds-seal", false),
        ("patch", "secrets/agent-creds-seal", false),
        ("delete", "secrets/agent-creds-seal", false),
        ("get", "secrets/agent-creds-admit-tls", false),
        ("list", "secrets", false),
        ("create", "secrets", false),
        ("update", "configmaps/agent-creds-ca", true),
        ("update", "configmaps/agent-creds-policy", false),
        ("update", "leases.coordination.k8s.io/agent-creds-manage", true),
        ("create", "leases.coordination.k8s.io", false),
        ("create", "events.events.k8s.io", true),
        ("patch", "mutatingwebhookconfigurations/agent-creds", true),
        ("patch", "mutatingwebhookconfigurations/other", false),
        ("update", "mutatingwebhookconfigurations/agent-creds", false),
        ("create", "mutatingwebhookconfigurations", false),
        ("list", "pods", true),
        ("get", "pods", false),
        ("create", "serviceaccounts --subresource=token", false),
    ] {
        assert_eq!(may(verb, what, SYSTEM), expected, "{verb} {what}");
    }
    for (verb, what) in [("get", "secrets/agent-creds-seal"), ("get", "configmaps/agent-creds-ca")] {
        assert!(!may(verb, what, "ops"), "{verb} {what} elsewhere");
    }
    // The CA is public; nothing else of the namespace is.
    let anyone = |verb: &str, what: &str| {
        let account = ["--as", "system:serviceaccount:ops:default", "--as-group", "system:serviceaccounts"];
        kubectl(&[&["auth", "can-i", verb, what, "--namespace", SYSTEM][..], &account].concat()).is_ok()
    };
    assert!(anyone("get", "configmaps/agent-creds-ca") && !anyone("watch", "configmaps/agent-creds-ca"));
    assert!(
        !anyone("update", "configmaps/agent-creds-ca") && !anyone("get", "secrets/agent-creds-certificates")
    );
    assert!(!anyone("get", "configmaps/agent-creds-policy") && !anyone("list", "configmaps"));
    scene.finish().await;
}
