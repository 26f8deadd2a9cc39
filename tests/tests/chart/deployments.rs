//! The Deployments: ports, placement, memory limits; and what monitors them.

use super::*;

#[test]
fn ports_and_placement_can_be_set() {
    let objects = render(&json!({"admit": {
        "port": 10250, "bindAddress": "[::]", "replicas": 3, "priorityClassName": "system-cluster-critical",
        "tolerations": [{"key": "infra", "operator": "Exists"}], "imagePullSecrets": [{"name": "pull"}],
        "podAnnotations": {"a": "b"}, "nodeSelector": {"pool": "infra"},
    }}));
    let pod = &named(&objects, "Deployment", "agent-creds-admit")["spec"]["template"];
    let container = &pod["spec"]["containers"][0];
    let arguments = strings(&container["args"]);
    assert!(arguments.contains("[::]:10250") && arguments.contains("[::]:8080"));
    assert_eq!(container["ports"][0], json!({"name": "https", "containerPort": 10250, "protocol": "TCP"}));
    assert_eq!(named(&objects, "Service", "agent-creds-admit")["spec"]["ports"][0]["targetPort"], "https");
    assert_eq!(pod["spec"]["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    assert_eq!(pod["spec"]["nodeSelector"]["pool"], "infra");
    assert_eq!(pod["metadata"]["annotations"]["a"], "b");
    assert_restricted(pod);
}

#[test]
fn each_deployment_has_a_memory_limit_and_no_cpu_limit() {
    const ROLES: [&str; 3] = ["admit", "identity", "manage"];
    let resources = |objects: &[Value], role: &str| {
        let deployment = named(objects, "Deployment", &format!("agent-creds-{role}"));
        deployment["spec"]["template"]["spec"]["containers"][0]["resources"].clone()
    };
    let mebibytes = |quantity: &Value| {
        let number = quantity.as_str().and_then(|text| text.strip_suffix("Mi")).expect("mebibytes");
        number.parse::<u32>().expect("a number")
    };
    let objects = render(&json!({}));
    for role in ROLES {
        let found = resources(&objects, role);
        assert!(
            mebibytes(&found["requests"]["memory"]) < mebibytes(&found["limits"]["memory"]),
            "{role}: {found}"
        );
        assert!(found["requests"]["cpu"].is_string() && found["limits"]["cpu"].is_null(), "{role}: {found}");
    }
    assert_eq!(resources(&objects, "admit")["limits"], json!({"memory": "128Mi"}));
    // Helm removes a key whose value is null.
    let mine = json!({"resources": {"limits": {"memory": "1Gi"}, "requests": {"memory": "64Mi"}}});
    let none = json!({"resources": {"limits": null}});
    let objects = render(&json!({"admit": mine, "identity": mine, "manage": none}));
    for role in ["admit", "identity"] {
        let found = resources(&objects, role);
        assert_eq!(
            (&found["limits"], &found["requests"]["memory"]),
            (&json!({"memory": "1Gi"}), &json!("64Mi"))
        );
    }
    assert!(resources(&objects, "manage")["limits"].is_null());
}

#[test]
fn pod_monitors_need_the_podmonitor_api() {
    let values = json!({"podMonitor": {"enabled": true, "labels": {"release": "prometheus"}}});
    let error = try_render(&values, &[]).expect_err("no such API");
    assert!(error.contains("this cluster has no PodMonitor"), "{error}");
    let objects =
        try_render(&values, &["--api-versions", "monitoring.coreos.com/v1/PodMonitor"]).expect("rendered");
    let monitors = of_kind(&objects, "PodMonitor");
    assert_eq!(monitors.len(), 4);
    for monitor in monitors {
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    }
}
