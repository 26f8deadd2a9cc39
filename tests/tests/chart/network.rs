//! `networkPolicy`: the allowed connections of the three Deployments. A network plugin enforces them; no test here
//! does.

use super::*;

fn enabled(more: &Value) -> Value {
    let mut values = json!({"networkPolicy": {"enabled": true}});
    for (key, value) in more.as_object().into_iter().flatten() {
        values["networkPolicy"][key] = value.clone();
    }
    values
}

/// Returns the spec of a role's policy, after checking that its selector and its ports match the Deployment.
fn of_role(objects: &[Value], role: &str) -> Value {
    let name = format!("agent-creds-{role}");
    let policy = named(objects, "NetworkPolicy", &name);
    let spec = policy["spec"].clone();
    let deployment = &named(objects, "Deployment", &name)["spec"];
    assert_eq!(policy["metadata"]["namespace"], "agent-creds-system");
    assert_eq!(spec["podSelector"], deployment["selector"]);
    assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]), "other connections are denied");
    let ports = deployment["template"]["spec"]["containers"][0]["ports"].as_array().expect("ports");
    let has: BTreeSet<_> = ports.iter().filter_map(|port| port["name"].as_str()).collect();
    for port in spec["ingress"].as_array().expect("rules").iter().flat_map(|rule| rule["ports"].as_array()) {
        for port in port {
            assert!(has.contains(port["port"].as_str().expect("a name")), "{role}: {port}");
            assert_eq!(port["protocol"], "TCP");
        }
    }
    spec
}

fn tcp(port: impl Into<Value>) -> Value {
    json!({"protocol": "TCP", "port": port.into()})
}

/// The egress rules of a role that calls the API server, without restrictions.
fn api_server_and_dns() -> Value {
    json!([
        {"ports": [tcp(443), tcp(6443)]},
        {"ports": [{"protocol": "UDP", "port": 53}, tcp(53)]},
    ])
}

#[test]
fn there_are_no_network_policies_by_default() {
    assert!(of_kind(&render(&grants()), "NetworkPolicy").is_empty());
}

#[test]
fn admission_accepts_the_api_server_and_opens_no_connections() {
    let cluster = json!({"from": [{"namespaceSelector": {}}], "ports": [tcp("metrics")]});
    let spec = of_role(&render(&enabled(&json!({}))), "admit");
    assert_eq!(
        spec["ingress"],
        json!([{"ports": [tcp("https")]}, cluster]),
        "without a source, from everywhere"
    );
    assert_eq!(spec["egress"], json!([]));

    let konnectivity = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "konnectivity-agent"}}});
    let sources = json!({"apiServer": {"cidrs": ["192.0.2.0/28", "2001:db8::/64"], "peers": [konnectivity]}});
    let spec = of_role(&render(&enabled(&sources)), "admit");
    let from =
        json!([{"ipBlock": {"cidr": "192.0.2.0/28"}}, {"ipBlock": {"cidr": "2001:db8::/64"}}, konnectivity]);
    assert_eq!(spec["ingress"], json!([{"from": from, "ports": [tcp("https")]}, cluster]));
    assert_eq!(spec["egress"], json!([]));
}

#[test]
fn the_identity_server_accepts_every_pod_and_calls_the_api_server() {
    let every_pod = json!([{"namespaceSelector": {}}]);
    let spec = of_role(&render(&enabled(&json!({}))), "identity");
    assert_eq!(
        spec["ingress"],
        json!([{"from": every_pod, "ports": [tcp("https")]}, {"from": every_pod, "ports": [tcp("metrics")]}])
    );
    assert_eq!(spec["egress"], api_server_and_dns());
    let objects = render(&as_the_pod(enabled(&json!({}))));
    assert_eq!(of_kind(&objects, "NetworkPolicy").len(), 2, "no identity server in mode pod");
}

#[test]
fn manage_accepts_only_probes_and_metrics() {
    let spec = of_role(&render(&enabled(&json!({}))), "manage");
    assert_eq!(spec["ingress"], json!([{"from": [{"namespaceSelector": {}}], "ports": [tcp("metrics")]}]));
    assert_eq!(spec["egress"], api_server_and_dns());
}

#[test]
fn sources_and_destinations_can_be_restricted() {
    let dns = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}});
    let prometheus = json!({"podSelector": {"matchLabels": {"app": "prometheus"}}, "namespaceSelector": {}});
    let objects = render(&enabled(&json!({
        "apiServer": {"cidrs": ["192.0.2.1/32"], "ports": [6443]}, "dns": [dns], "metrics": [prometheus],
    })));
    for role in ["identity", "manage"] {
        let spec = of_role(&objects, role);
        assert_eq!(
            spec["egress"],
            json!([
                {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [tcp(6443)]},
                {"to": [dns], "ports": [{"protocol": "UDP", "port": 53}, tcp(53)]},
            ])
        );
    }
    for role in ["admit", "identity", "manage"] {
        let spec = of_role(&objects, role);
        let last = spec["ingress"].as_array().and_then(|rules| rules.last()).expect("a rule");
        assert_eq!(*last, json!({"from": [prometheus], "ports": [tcp("metrics")]}));
    }
    // No metrics source. The kubelet's probes come from the node, which network plugins allow.
    let spec = of_role(&render(&enabled(&json!({"metrics": []}))), "manage");
    assert_eq!(spec["ingress"], json!([]));
}

#[test]
fn invalid_network_policy_values_are_refused() {
    for (more, path) in [
        (json!({"apiServer": {"cidrs": ["192.0.2.1"]}}), "at '/networkPolicy/apiServer/cidrs/0'"),
        (json!({"apiServer": {"cidrs": ["example.com/32"]}}), "at '/networkPolicy/apiServer/cidrs/0'"),
        (json!({"apiServer": {"peers": [{}]}}), "at '/networkPolicy/apiServer/peers/0'"),
        (
            json!({"apiServer": {"peers": [{"cidr": "192.0.2.1/32"}]}}),
            "at '/networkPolicy/apiServer/peers/0'",
        ),
        (json!({"apiServer": {"ports": []}}), "at '/networkPolicy/apiServer/ports'"),
        (json!({"apiServer": {"ports": [0]}}), "at '/networkPolicy/apiServer/ports/0'"),
        (json!({"dns": [{"namespace": "kube-system"}]}), "at '/networkPolicy/dns/0'"),
        (json!({"metrics": "prometheus"}), "at '/networkPolicy/metrics'"),
    ] {
        let error = try_render(&enabled(&more), &[]).err().unwrap_or_else(|| panic!("accepted: {more}"));
        assert!(error.contains(path), "{error}");
    }
}
