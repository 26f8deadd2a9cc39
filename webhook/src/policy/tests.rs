use super::*;

const IMAGE: &str = "sidecar: {image: registry.example/agent-creds-sidecar@sha256:0000}\n";
const IDENTITY: &str = "identity: {server: 'https://id.ns.svc', caConfigMap: ns/ca}\n";

fn ca() -> Vec<u8> {
    let names = vec!["kubernetes.default.svc".to_owned()];
    rcgen::generate_simple_self_signed(names).expect("a certificate").cert.pem().into_bytes()
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    let identity = if text.contains("identity:") { "" } else { IDENTITY };
    Policy::parse(&format!("{IMAGE}{identity}{text}"), &ca())
}

fn refused(text: &str) -> String {
    parse(text).expect_err("refused").to_string()
}

#[test]
fn defaults_fill_what_the_file_leaves_out() {
    let ca = ca();
    let policy = Policy::parse(&format!("{IMAGE}{IDENTITY}"), &ca).unwrap();
    assert_eq!(policy.identity.as_str(), "exchange");
    assert_eq!(policy.sidecar.image, "registry.example/agent-creds-sidecar@sha256:0000");
    assert_eq!((policy.sidecar.uid, policy.sidecar.image_pull_policy), (54911, "IfNotPresent"));
    assert_eq!(policy.sidecar.resources, json!({"requests": {"cpu": "5m", "memory": "16Mi"}}));
    assert_eq!(policy.api_server, "https://kubernetes.default.svc");
    assert_eq!(STANDARD.decode(&policy.api_ca_data).unwrap(), ca);
    assert_eq!(policy.provider_roots_data, None);
    assert!(policy.default_grants.is_empty() && policy.allow_capabilities.is_empty());
}

#[test]
fn a_preview_needs_neither_file() {
    let policy = Policy::for_preview(None, None).unwrap();
    assert!(policy.sidecar.image.starts_with("agent-creds-sidecar:"));
    assert_eq!(STANDARD.decode(&policy.api_ca_data).unwrap(), PLACEHOLDER_CA.as_bytes());
    let exchange = Identity::Exchange {
        server: PLACEHOLDER_SERVER.to_owned(),
        ca_config_map: ObjectName::parse(PLACEHOLDER_CA_CONFIG_MAP).unwrap(),
    };
    assert_eq!(policy.identity, exchange);
    let policy = Policy::for_preview(Some(IMAGE), Some(&ca())).unwrap();
    assert!(policy.sidecar.image.starts_with("registry.example"));
    assert_eq!(policy.identity, exchange);
    let pod = Policy::for_preview(Some(&format!("{IMAGE}identity: {{mode: pod}}")), None).unwrap();
    assert_eq!(pod.identity, Identity::Pod);
    assert!(Policy::for_preview(Some(&format!("{IMAGE}identity: {{server: 'https://id'}}")), None).is_err());
    assert!(Policy::for_preview(Some("sidecar: {}"), None).is_err());
    assert!(Policy::for_preview(None, Some(b"x")).is_err());
}

#[test]
fn unknown_keys_are_refused_with_their_path() {
    assert_eq!(refused("sidcar: {}"), "sidcar: found no such key; did you mean sidecar?");
    assert_eq!(
        refused("identity: {mode: pod, audience: x}"),
        "identity.audience: found no such key; write one of mode, server, caConfigMap"
    );
    let message = |text: &str| Policy::parse(text, &ca()).expect_err("refused").to_string();
    assert_eq!(
        message("sidecar: {image: a, imagePullpolicy: Always}"),
        "sidecar.imagePullpolicy: found no such key; did you mean imagePullPolicy?"
    );
    assert_eq!(
        refused("allowCapabilities: [SYS_ADMIN]"),
        "allowCapabilities[0]: found a text of 9 characters; write NET_ADMIN or NET_RAW"
    );
    assert_eq!(
        message("sidecar: {image: a, uid: x}"),
        "sidecar.uid: expected a whole number, found \"x\"; write a whole number from 0 to 4294967295"
    );
}

#[test]
fn yaml_that_cannot_be_read_is_refused_with_its_line() {
    assert_eq!(
        refused("defaultGrants: [a]\ndefaultGrants: [b]"),
        "the policy file, line 4, column 1: found a key that stands there twice; write each key once"
    );
    assert!(refused("defaultGrants: [").contains("not YAML"));
    assert!(refused("defaultGrants: &a [b]").contains("found an anchor or alias"));
    assert!(refused(&"#".repeat(256 * 1024)).starts_with("the policy file: found 2622"));
}

#[test]
fn exchange_is_the_default_and_needs_its_server_and_ca() {
    let with = |identity: &str| parse(&format!("identity: {identity}"));
    let policy = with("{mode: exchange, server: 'https://id.ns.svc', caConfigMap: ns/ca}").unwrap();
    assert_eq!(policy.identity.as_str(), "exchange");
    assert_eq!(with("{mode: pod}").unwrap().identity, Identity::Pod);
    for (identity, path) in [
        ("{}", "identity.caConfigMap"),
        ("{mode: exchange}", "identity.caConfigMap"),
        ("{mode: exchange, caConfigMap: ns/ca}", "identity.server"),
        ("{mode: exchange, server: 'http://id', caConfigMap: ns/ca}", "identity.server"),
        ("{mode: exchange, server: 'https://id', caConfigMap: ca}", "identity.caConfigMap"),
    ] {
        assert_eq!(with(identity).unwrap_err().path, path, "{identity}");
    }
}

#[test]
fn an_image_is_needed_and_root_is_refused() {
    let message = |text: &str| Policy::parse(text, &ca()).expect_err("refused").to_string();
    assert!(message("").starts_with("sidecar.image"));
    assert!(message("sidecar: {image: 'a b'}").starts_with("sidecar.image"));
    assert!(message("sidecar: {image: a, uid: 0}").starts_with("sidecar.uid: found 0"));
    assert!(message("sidecar: {image: a, uid: 2147483648}").starts_with("sidecar.uid"));
    assert!(message("sidecar: {image: a, imagePullPolicy: never}").starts_with("sidecar.imagePullPolicy"));
}

#[test]
fn requests_are_filled_up_from_limits() {
    let text = "sidecar: {image: a, resources: {requests: {cpu: 1}, limits: {memory: 32Mi, cpu: 2}}}";
    let policy = Policy::for_preview(Some(text), None).unwrap();
    let expected =
        json!({"limits": {"memory": "32Mi", "cpu": "2"}, "requests": {"cpu": "1", "memory": "32Mi"}});
    assert_eq!(policy.sidecar.resources, expected);
    let bad = "sidecar: {image: a, resources: {limits: {memory: [1]}}}";
    let message = Policy::parse(bad, &ca()).expect_err("refused").to_string();
    assert!(message.starts_with("sidecar.resources.limits.memory"), "{message}");
    let none = Policy::for_preview(Some("sidecar: {image: a, resources: {requests: {}}}"), None).unwrap();
    assert_eq!(none.sidecar.resources, json!({}));
}

#[test]
fn lists_are_checked_at_the_start() {
    assert!(refused("defaultGrants: [Pager]").starts_with("defaultGrants: "));
    assert_eq!(parse("defaultGrants: [pagerduty, dd=team-dd]").unwrap().default_grants.len(), 2);
    assert_eq!(
        refused("allowHostPaths: [/var/log, /var/run/docker.sock]"),
        "allowHostPaths[1]: found \"/var/run/docker.sock\", through which a pod reaches /run/docker.sock (the container \
         runtime), and with it every pod of the node; remove it"
    );
    assert_eq!(parse("allowCapabilities: [NET_RAW]").unwrap().allow_capabilities, ["NET_RAW"]);
    for bad in ["http://kubernetes.default.svc", "kubernetes", "https://", "https://u@host"] {
        assert!(refused(&format!("apiServer: \"{bad}\"")).starts_with("apiServer: found"), "{bad}");
    }
}

#[test]
fn bundles_hold_certificates_and_fit_an_argument() {
    let message = |ca: &[u8]| Policy::parse(IMAGE, ca).expect_err("refused").to_string();
    assert!(message(b"").contains("holds no PEM certificate"));
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    assert!(message(&[ca(), key.into_bytes()].concat()).contains("private key"));
    assert!(message(&vec![b' '; MAX_PEM + 1]).contains("at most"));
    let roots = String::from_utf8(ca()).unwrap().replace('\n', "\n  ");
    let policy = parse(&format!("providerRoots: |\n  {roots}\n")).unwrap();
    assert!(policy.provider_roots_data.is_some());
    assert!(refused("providerRoots: nonsense").starts_with("providerRoots: holds no"));
}
