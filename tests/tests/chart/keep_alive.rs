//! `keepAlive`: a CronJob for an agent, which refreshes grants that would expire while no agent runs.

use super::*;

fn with(keep_alive: &Value) -> Value {
    json!({"grants": [
        {"agent": {"namespace": "ops", "name": "devops-agent"}, "secrets": ["a", "b"], "keepAlive": keep_alive},
        {"agent": {"namespace": "ops", "name": "night-agent"}, "secrets": ["a"]},
    ]})
}

#[test]
fn the_cron_job_runs_as_the_account_that_reads_the_grants() {
    assert!(of_kind(&render(&grants()), "CronJob").is_empty(), "no CronJob by default");
    let mut values = with(&json!({"schedule": "17 3 * * *"}));
    values["providerRoots"] = json!(CA);
    let objects = render(&values);
    let job = only(&objects, "CronJob");
    assert_eq!(job["metadata"]["name"], "agent-creds-devops-agent-creds");
    assert_eq!(job["metadata"]["namespace"], "ops");
    assert_eq!(
        (&job["spec"]["schedule"], &job["spec"]["concurrencyPolicy"]),
        (&json!("17 3 * * *"), &json!("Forbid"))
    );
    let spec = &job["spec"]["jobTemplate"]["spec"];
    assert!(
        spec["activeDeadlineSeconds"].as_u64().is_some_and(|seconds| seconds > 600 + 60),
        "ten terms, and the grace period"
    );
    let pod = &spec["template"];
    assert_restricted(pod);
    assert_eq!(pod["spec"]["restartPolicy"], "OnFailure", "the pod keeps its spool on a restart");
    let (annotations, labels) = (&pod["metadata"]["annotations"], &pod["metadata"]["labels"]);
    assert!(annotations["agent-creds/inject"].is_null(), "not injected");
    // The policies refuse other containers, because they would have the account, too.
    assert_eq!(labels["sidecar.istio.io/inject"], "false");
    assert_eq!(annotations["linkerd.io/inject"], "disabled");
    // It runs as the account that the RBAC is bound to, and has only our token.
    let subjects: BTreeSet<_> = of_agents(&objects, "RoleBinding")
        .iter()
        .map(|binding| binding["subjects"][0]["name"].clone().to_string())
        .collect();
    assert!(subjects.contains(&pod["spec"]["serviceAccountName"].to_string()));
    assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
}

#[test]
fn the_cron_job_has_valid_arguments_of_the_sidecar() {
    let mut values = with(&json!({"schedule": "@daily"}));
    values["providerRoots"] = json!(CA);
    let objects = render(&values);
    let pod = &only(&objects, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(
        container["name"],
        agent_creds_core::pod::CONTAINER,
        "the policies identify the container by its name"
    );
    assert_eq!(container["image"], policy(&objects)["sidecar"]["image"]);
    let arguments: Vec<_> =
        container["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let line = ["/agent-creds-sidecar"].into_iter().chain(arguments.iter().copied());
    let parsed = agent_creds_sidecar::cli::Cli::try_parse_from(line).expect("arguments of this version");
    let agent_creds_sidecar::cli::Command::Refresh(args) = parsed.command else { panic!("not refresh") };
    assert_eq!(args.grants.validate(), Ok(()));
    let secrets: Vec<_> = args.grants.grants.iter().map(|grant| grant.secret.to_string()).collect();
    assert_eq!(secrets, ["ops/a", "ops/b"]);
    assert!(args.grants.provider_roots_data.is_some());

    // Its folders and files are mounted at the paths in its arguments.
    let mounts = container["volumeMounts"].as_array().expect("mounts");
    let mounted = |path: &Path| {
        let mount =
            mounts.iter().find(|mount| mount["mountPath"].as_str().is_some_and(|at| path.starts_with(at)));
        let name = &mount.unwrap_or_else(|| panic!("nothing at {}", path.display()))["name"];
        let volumes = pod["volumes"].as_array().expect("volumes");
        volumes.iter().find(|volume| volume["name"] == *name).expect("the volume")
    };
    assert_eq!(mounted(&args.grants.spool_dir)["emptyDir"]["medium"], "Memory");
    let identity = &mounted(&args.grants.identity.identity_dir)["projected"]["sources"];
    assert_eq!(identity[0]["serviceAccountToken"]["path"], "api-token");
    assert!(identity[0]["serviceAccountToken"]["audience"].is_null(), "the default audience, the API server");
    let ca = args.grants.api_ca_file.expect("a file");
    assert!(
        ca.starts_with(&args.grants.identity.identity_dir)
            && ca.ends_with(identity[1]["configMap"]["items"][0]["path"].as_str().expect("a path"))
    );
}

#[test]
fn a_long_name_is_shortened_and_stays_unique() {
    let agent = |name: &str| json!({"agent": {"namespace": "ops", "name": name}, "secrets": ["a"], "keepAlive": {"schedule": "@weekly"}});
    let (one, two) = ("x".repeat(60) + "1", "x".repeat(60) + "2");
    let objects = render(&json!({"grants": [agent(&one), agent(&two)]}));
    let names: BTreeSet<_> =
        of_kind(&objects, "CronJob").iter().map(|job| job["metadata"]["name"].to_string()).collect();
    assert_eq!(names.len(), 2);
    assert!(names.iter().all(|name| name.trim_matches('"').len() <= 52), "{names:?}");
}

#[test]
fn refuses_an_invalid_schedule_and_unknown_keys() {
    for wrong in [
        json!({}),
        json!({"schedule": ""}),
        json!({"schedule": "daily"}),
        json!({"schedule": "TZ=UTC 0 0 * * *"}),
        json!({"schedule": "0 0 * *"}),
        json!({"schedule": "0 0 * * *", "suspend": true}),
    ] {
        let error = try_render(&with(&wrong), &[]).err().unwrap_or_else(|| panic!("accepted: {wrong}"));
        assert!(error.contains("/grants/0/keepAlive"), "{error}");
    }
}
