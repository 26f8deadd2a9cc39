//! `identity.mode: exchange`: the identity server's rights, and a separate credential account for each agent's grants.

use super::*;

/// Two agents: one with a credential account in its own namespace, and one with grants in another namespace.
fn exchange() -> Value {
    json!({"identity": {"mode": "exchange"}, "grants": [
        {"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": ["a", "shared"],
            "keepAlive": {"schedule": "@daily"}},
        {"agent": {"namespace": "ops", "name": "night-agent"}, "credential": {"namespace": "vault", "name": "night"},
            "secrets": ["shared"]},
    ]})
}

fn named<'a>(objects: &'a [Value], kind: &str, namespace: &str, name: &str) -> &'a Value {
    let found = |object: &&Value| {
        let metadata = &object["metadata"];
        object["kind"] == kind
            && metadata["name"] == name
            && (namespace.is_empty() || metadata["namespace"] == namespace)
    };
    objects.iter().find(found).unwrap_or_else(|| panic!("no {kind} {namespace}/{name}"))
}

#[test]
fn without_an_exchange_there_is_no_identity_server() {
    for object in render(&as_the_pod(grants())) {
        assert_ne!(object["metadata"]["labels"]["app.kubernetes.io/component"], "identity", "{object}");
    }
}

#[test]
fn the_identity_server_runs_restricted_with_a_token_of_its_own() {
    let objects = render(&exchange());
    let deployment = named(&objects, "Deployment", "agent-creds-system", "agent-creds-identity");
    let pod = &deployment["spec"]["template"];
    assert_restricted(pod);
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(pod["spec"]["serviceAccountName"], "agent-creds-identity");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
    let sources = pod["spec"]["volumes"][0]["projected"]["sources"].as_array().expect("sources");
    let tokens: Vec<_> = sources.iter().filter(|source| !source["serviceAccountToken"].is_null()).collect();
    assert_eq!(tokens.len(), 1);
    assert!(tokens[0]["serviceAccountToken"]["audience"].is_null(), "the default audience, the API server");
    let service = named(&objects, "Service", "agent-creds-system", "agent-creds-identity");
    assert_eq!(
        (&service["spec"]["ports"][0]["port"], &service["spec"]["ports"][0]["targetPort"]),
        (&json!(443), &json!("https"))
    );
    let selector =
        json!({"app.kubernetes.io/name": "agent-creds", "app.kubernetes.io/component": "identity"});
    assert_eq!(service["spec"]["selector"], selector);
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], selector);
    let budget = named(&objects, "PodDisruptionBudget", "agent-creds-system", "agent-creds-identity");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], selector);
}

#[test]
fn the_identity_servers_arguments_are_valid_and_its_files_are_mounted() {
    let mut values = exchange();
    values["identity"] = json!({"mode": "exchange", "port": 9444, "bindAddress": "[::]", "tokenSeconds": 900, "issuer": "https://issuer"});
    let objects = render(&values);
    let deployment = named(&objects, "Deployment", "agent-creds-system", "agent-creds-identity");
    let spec = &deployment["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    let arguments: Vec<_> =
        container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let line = ["/agent-creds-webhook"].into_iter().chain(arguments.iter().copied());
    let parsed = agent_creds_webhook::roles::Cli::try_parse_from(line).expect("arguments of this version");
    assert!(matches!(parsed.role, agent_creds_webhook::roles::Role::Identity(_)));
    for expected in ["[::]:9444", "[::]:8080", "900", "https://issuer"] {
        assert!(arguments.contains(&expected), "{expected} is not in {arguments:?}");
    }
    assert_eq!(container["ports"][0]["containerPort"], 9444);

    let mount = container["volumeMounts"][0]["mountPath"].as_str().expect("a path");
    let sources = spec["volumes"][0]["projected"]["sources"].as_array().expect("sources");
    let paths: Vec<_> = sources
        .iter()
        .flat_map(|source| {
            let items = ["configMap", "secret"].into_iter().flat_map(|kind| source[kind]["items"].as_array());
            let items = items.flatten().filter_map(|item| item["path"].as_str());
            items.chain(source["serviceAccountToken"]["path"].as_str())
        })
        .map(|path| format!("{mount}/{path}"))
        .collect();
    for argument in arguments.iter().filter(|argument| argument.starts_with('/')) {
        let there = paths.iter().any(|path| path == argument || path.starts_with(&format!("{argument}/")));
        assert!(there, "{argument} is not among {paths:?}");
    }
}

#[test]
fn the_identity_server_has_three_cluster_wide_rights() {
    let objects = render(&exchange());
    let ours = |object: &&Value| object["metadata"]["labels"]["app.kubernetes.io/component"] == "identity";
    let cluster_wide = objects.iter().filter(ours).filter(|object| object["metadata"]["namespace"].is_null());
    assert_eq!(cluster_wide.count(), 2);
    let role = named(&objects, "ClusterRole", "", "agent-creds-identity");
    assert_eq!(
        role["rules"],
        json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ])
    );
    let binding = named(&objects, "ClusterRoleBinding", "", "agent-creds-identity");
    let subject = json!([{"kind": "ServiceAccount", "name": "agent-creds-identity", "namespace": "agent-creds-system"}]);
    assert_eq!(binding["subjects"], subject);
}

#[test]
fn only_the_credential_account_may_read_the_secrets() {
    let objects = render(&exchange());
    for (agent, namespace, credential) in
        [("devops-agent", "ops", "devops-agent-creds"), ("night-agent", "vault", "night")]
    {
        let account = named(&objects, "ServiceAccount", namespace, credential);
        assert_eq!(account["automountServiceAccountToken"], false);
        let base = format!("agent-creds-{credential}");
        for (suffix, rules, subject) in [
            ("", Value::Null, json!({"kind": "ServiceAccount", "name": credential, "namespace": namespace})),
            (
                ":assume",
                json!([{"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [credential],
                    "verbs": ["assume"]}]),
                json!({"kind": "ServiceAccount", "name": agent, "namespace": "ops"}),
            ),
            (
                ":mint",
                json!([{"apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [credential],
                    "verbs": ["create"]}]),
                json!({"kind": "ServiceAccount", "name": "agent-creds-identity", "namespace": "agent-creds-system"}),
            ),
        ] {
            let name = format!("{base}{suffix}");
            let role = named(&objects, "Role", namespace, &name);
            if !rules.is_null() {
                assert_eq!(role["rules"], rules);
            }
            let binding = named(&objects, "RoleBinding", namespace, &name);
            assert_eq!(binding["roleRef"]["name"], name.as_str());
            assert_eq!(binding["subjects"], json!([subject]));
        }
    }
    // Agents are bound only to the right to assume.
    for binding in of_kind(&objects, "RoleBinding") {
        let subject = binding["subjects"][0]["name"].as_str().expect("a name");
        if subject == "devops-agent" || subject == "night-agent" {
            assert!(binding["metadata"]["name"].as_str().is_some_and(|name| name.ends_with(":assume")));
        }
    }
    let states: BTreeSet<_> = of_kind(&objects, "Secret")
        .iter()
        .filter(|secret| secret["metadata"]["labels"]["agent-creds/state-of"].is_string())
        .map(|secret| {
            format!("{}/{}", secret["metadata"]["namespace"], secret["metadata"]["name"]).replace('"', "")
        })
        .collect();
    assert!(states.iter().eq(&["ops/a-state", "ops/shared-state", "vault/shared-state"]), "{states:?}");
}

#[test]
fn the_keep_alive_job_runs_as_the_credential_account() {
    let mut values = exchange();
    values["grants"][0]["credential"] = json!({"namespace": "vault", "name": "devops"});
    let objects = render(&values);
    let job = only(&objects, "CronJob");
    assert_eq!(
        (&job["metadata"]["namespace"], &job["metadata"]["name"]),
        (&json!("vault"), &json!("agent-creds-devops"))
    );
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "devops");
    let arguments = strings(&pod["containers"][0]["args"]);
    assert!(arguments.contains("--identity=pod"), "there is nothing to exchange");
    assert!(arguments.contains("--grant=grant-0=vault/a"), "{arguments:?}");
}

#[test]
fn a_credential_account_that_an_agent_could_use_is_refused() {
    let grant = |agent: &str, credential: Value| {
        let mut entry = json!({"agent": {"namespace": "ops", "name": agent}, "secrets": ["a"]});
        if !credential.is_null() {
            entry["credential"] = credential;
        }
        entry
    };
    let account = |namespace: &str, name: &str| json!({"namespace": namespace, "name": name});
    for (grants, sentence) in [
        (json!([grant("x", account("ops", "x"))]), "the credential account is the agent's own"),
        (
            json!([grant("x", account("vault", "one")), grant("y", account("vault", "one"))]),
            "already belongs to agent ops/x",
        ),
        (
            json!([grant("x", account("ops", "y")), grant("y", Value::Null)]),
            "the ServiceAccount of another agent",
        ),
        (
            json!([grant("x", Value::Null), grant("x-creds", Value::Null)]),
            "the ServiceAccount of another agent",
        ),
        (
            json!([grant("x", account("ops", "default"))]),
            "pods without serviceAccountName run as ops/default",
        ),
        (
            json!([grant("x", account("agent-creds-system", "agent-creds-identity"))]),
            "are reserved in the release's namespace agent-creds-system",
        ),
        (
            json!([grant(&"x".repeat(240), Value::Null)]),
            "is too long, because names of other objects are derived from it",
        ),
        (json!([grant("x", account("Ops", "y"))]), "/grants/0/credential/namespace"),
    ] {
        let values = json!({"identity": {"mode": "exchange"}, "grants": grants});
        let error = try_render(&values, &[]).err().unwrap_or_else(|| panic!("accepted: {values}"));
        // helm does not wrap lines; the sentence may be anywhere in its output.
        assert!(error.contains(sentence), "{error}");
    }
    for (identity, path) in [
        (json!({"mode": "none"}), "at '/identity/mode'"),
        (json!({"tokenSeconds": 60}), "at '/identity/tokenSeconds'"),
        (json!({"tokenSeconds": 7200}), "at '/identity/tokenSeconds'"),
        (json!({"port": 8080}), "identity.port cannot be 8080"),
        (json!({"issuer": "issuer"}), "at '/identity/issuer'"),
    ] {
        let error = try_render(&json!({"identity": identity}), &[]).expect_err("refused");
        assert!(error.contains(path), "{error}");
    }
}
