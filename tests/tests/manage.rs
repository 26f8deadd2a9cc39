//! The role `manage` beside a real API server, as a process with the rights of its ServiceAccount and no others. The
//! API server calls admission through its Service and trusts only what `manage` has configured.

mod environment;
mod exchange;
mod process;
mod traffic;

use std::collections::BTreeSet;
use std::time::Duration;

use agent_creds_tests::cluster::{self, SYSTEM, eventually, get, kubectl};
use environment::{Environment, annotate, annotation, data, pod};
use rustix::process::Signal;
use serde_json::Value;
use traffic::Traffic;

const TIMEOUT: Duration = Duration::from_secs(60);
const CERTIFICATES: &str = "agent-creds-certificates";
const SEAL: &str = "agent-creds-seal";

/// Returns the CA bundles in the ConfigMap and in both webhook configurations.
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
    eventually(TIMEOUT, || match annotation(secret, "agent-creds/rotated") {
        Some(done) if done == request => Ok(()),
        other => Err(format!("{secret}: {other:?}")),
    });
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: make test starts it"]
async fn rotates_ca_and_seal_keys_without_a_failed_request() {
    let environment = Environment::install().await;
    assert!(!environment.admission_is_ready().await, "admission waits for its certificate and keys");
    let mut first = environment.manager("first");
    environment.admission_becomes_ready().await;
    assert_eq!(trusted().len(), 1, "all targets trust the same CA");
    // A configuration takes a moment to be in force; from then on nothing may fail.
    eventually(TIMEOUT, || environment::admit(&pod("ops", "probe")));
    let traffic = Traffic::start(&environment);

    // The CA is replaced without a failed request.
    let before = data(CERTIFICATES);
    annotate(CERTIFICATES, "one");
    answered(CERTIFICATES, "one");
    eventually(TIMEOUT, || match data(CERTIFICATES) {
        data if data.contains_key("retired.crt") => Err("the old CA is still trusted".to_owned()),
        data => Ok(data),
    });
    let after = data(CERTIFICATES);
    for part in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
        assert_ne!(before[part], after[part], "{part}");
    }
    let last = eventually(TIMEOUT, || {
        let trusted = trusted();
        if trusted.len() == 1 { Ok(trusted) } else { Err(format!("{trusted:?}")) }
    });
    assert_eq!(
        last.first().map(String::as_bytes),
        Some(after["ca.crt"].as_slice()),
        "only the new CA is trusted"
    );

    // The seal key is replaced, too.
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

    // The gauges show what was counted.
    environment.create(&pod("excluded", "uninjected"));
    eventually(TIMEOUT, || {
        let page = first.metrics();
        let says = |line: &str| page.lines().any(|found| found == line);
        let both = page.contains("certificate=\"ca\"") && page.contains("certificate=\"leaf\"");
        let well = says("agent_creds_uninjected_pods 1") && says("agent_creds_ca_bundle_mismatch 0") && both;
        if well { Ok(()) } else { Err(page) }
    });

    // An upgrade keeps the generated data, and restores the CA bundles in helm's own objects.
    let kept = (data(CERTIFICATES), data(SEAL), trusted());
    for more in [&[][..], &["--force"]] {
        environment.upgrade(more);
        assert!(kept.0 == data(CERTIFICATES) && kept.1 == data(SEAL), "after upgrade {more:?}");
        eventually(TIMEOUT, || if trusted() == kept.2 { Ok(()) } else { Err("still empty".to_owned()) });
    }

    // A second manager waits while the first one runs, and takes over when it is killed.
    let mut second = environment.manager("second");
    second.wait_for_log("listening");
    let holder =
        || get(&["lease", "agent-creds-manage", "--namespace", SYSTEM])["spec"]["holderIdentity"].clone();
    assert!(holder().as_str().is_some_and(|name| name.starts_with("first_")), "{}", holder());
    first.signal(Signal::KILL);
    second.wait_for_log("became leader");
    annotate(SEAL, "b");
    answered(SEAL, "b");
    // On SIGTERM it releases the Lease.
    second.signal(Signal::TERM);
    eventually(TIMEOUT, || if holder() == Value::Null { Ok(()) } else { Err(holder().to_string()) });
    environment.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: make test starts it"]
async fn manage_has_no_more_rights_than_it_needs() {
    let environment = Environment::install().await;
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
        assert!(!may(verb, what, "ops"), "{verb} {what} in another namespace");
    }
    // The CA is public; all other objects of the namespace are not.
    let anyone = |verb: &str, what: &str| {
        let account = ["--as", "system:serviceaccount:ops:default", "--as-group", "system:serviceaccounts"];
        kubectl(&[&["auth", "can-i", verb, what, "--namespace", SYSTEM][..], &account].concat()).is_ok()
    };
    assert!(anyone("get", "configmaps/agent-creds-ca") && !anyone("watch", "configmaps/agent-creds-ca"));
    assert!(
        !anyone("update", "configmaps/agent-creds-ca") && !anyone("get", "secrets/agent-creds-certificates")
    );
    assert!(!anyone("get", "configmaps/agent-creds-policy") && !anyone("list", "configmaps"));
    environment.finish().await;
}
