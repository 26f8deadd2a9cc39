use super::*;

fn pod(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<Selection, AnnotationError> {
    Selection::parse(&pod(pairs), "devops-agent", &[])
}

fn refused(pairs: &[(&str, &str)]) -> String {
    parse(pairs).expect_err("refused").to_string()
}

#[test]
fn injection_is_asked_for_with_true_and_with_nothing_else() {
    assert_eq!(wants_injection(&pod(&[])), Ok(false));
    assert_eq!(wants_injection(&pod(&[(INJECT, "false")])), Ok(false));
    assert_eq!(wants_injection(&pod(&[(INJECT, "true")])), Ok(true));
    for odd in ["True", "yes", "1", "", " true", "enabled"] {
        let message = wants_injection(&pod(&[(INJECT, odd)])).expect_err("refused").to_string();
        assert!(message.contains(INJECT) && message.contains("\"true\" or \"false\""), "{message}");
    }
}

#[test]
fn a_local_name_selects_the_secret_named_after_the_pods_account() {
    let selection = parse(&[(INJECT, "true"), (GRANTS, "pagerduty, datadog=team-dd ,")]).unwrap();
    let pairs: Vec<_> = selection.grants.iter().map(|g| (g.name.as_str(), g.secret.as_str())).collect();
    assert_eq!(pairs, [("pagerduty", "devops-agent-pagerduty"), ("datadog", "team-dd")]);
    assert_eq!((selection.port, selection.metrics_port), (9911, 9912));
    assert_eq!(selection.containers, None);
    assert!(!selection.strict_start);
}

#[test]
fn default_grants_apply_only_without_the_annotation() {
    let defaults = ["pagerduty".to_owned()];
    let with = |pairs: &[(&str, &str)]| Selection::parse(&pod(pairs), "a", &defaults);
    assert_eq!(with(&[]).unwrap().grants[0].secret.as_str(), "a-pagerduty");
    assert_eq!(with(&[(GRANTS, "x")]).unwrap().grants[0].secret.as_str(), "a-x");
    assert_eq!(with(&[(GRANTS, "")]), Err(AnnotationError::NoGrants), "an empty list is no list");
    assert_eq!(parse(&[]), Err(AnnotationError::NoGrants));
}

#[test]
fn refuses_a_grant_that_is_named_twice() {
    assert!(refused(&[(GRANTS, "a,a")]).contains("\"a\" is given twice"));
    assert!(refused(&[(GRANTS, "a=x,b=x")]).contains("\"x\" is given twice"));
    assert!(refused(&[(GRANTS, "a,b=devops-agent-a")]).contains("given twice"));
    let many: Vec<String> = (0..17).map(|i| format!("g{i}")).collect();
    assert!(refused(&[(GRANTS, &many.join(","))]).contains("found 17 names"));
    assert!(parse(&[(GRANTS, &many[..16].join(","))]).is_ok());
}

#[test]
fn a_refusal_of_a_malformed_grant_names_the_annotation() {
    for bad in ["Pager", "a b", "a/b", "=x", "a=", "a=B", "a=x-state", "a=other/ns"] {
        let message = refused(&[(GRANTS, bad)]);
        assert!(message.contains(GRANTS), "{bad}: {message}");
    }
    let long = "a".repeat(60);
    assert!(refused(&[(GRANTS, &long)]).contains("at most 57"));
}

#[test]
fn refuses_annotations_that_are_unknown_or_not_built() {
    assert!(refused(&[(GRANTS, "a"), (FORWARD_PROXY, "x")]).contains("not built in this version"));
    for (found, remedy) in [
        ("agent-creds/grant", "did you mean agent-creds/grants?"),
        ("agent-creds/metricsPort", "did you mean agent-creds/metrics-port?"),
        ("agent-creds/issued-at", "write it on the grant Secret"),
    ] {
        let message = format!("annotation \"{found}\": no such annotation of agent-creds; {remedy}");
        assert_eq!(refused(&[(GRANTS, "a"), (found, "b")]), message);
    }
    let message = refused(&[(GRANTS, "a"), ("agent-creds/enabled", "b")]);
    assert!(message.contains("the known ones are agent-creds/inject, agent-creds/grants"), "{message}");
    assert!(parse(&[(GRANTS, "a"), ("example.com/x", "y"), (STATUS, "{}"), (SEAL, "x")]).is_ok());
}

#[test]
fn an_annotation_names_the_credential_account() {
    let named = |value: &str| parse(&[(GRANTS, "a"), (SERVICE_ACCOUNT, value)]).map(|s| s.service_account);
    assert_eq!(parse(&[(GRANTS, "a")]).unwrap().service_account, None);
    assert_eq!(named("vault/agent").unwrap(), AccountName::parse("vault/agent"));
    let message = named("vault/agent/x").expect_err("refused").to_string();
    assert!(message.contains(SERVICE_ACCOUNT) && message.contains("\"namespace/name\""), "{message}");
}

#[test]
fn refuses_ports_that_are_privileged_or_equal() {
    let selection = parse(&[(GRANTS, "a"), (PORT, "1024"), (METRICS_PORT, "65535")]).unwrap();
    assert_eq!((selection.port, selection.metrics_port), (1024, 65535));
    for bad in ["0", "80", "1023", "65536", "-1", "+2000", "abc", "", "9911.0", " 9911"] {
        assert!(refused(&[(GRANTS, "a"), (PORT, bad)]).contains("1024 to 65535"), "{bad:?}");
    }
    assert!(refused(&[(GRANTS, "a"), (PORT, "9912")]).contains("both are 9912"));
}

#[test]
fn refuses_malformed_containers_and_switches() {
    let selection = parse(&[(GRANTS, "a"), (CONTAINERS, "main, tool"), (STRICT_START, "true")]).unwrap();
    assert_eq!(selection.containers, Some(vec!["main".to_owned(), "tool".to_owned()]));
    assert!(selection.strict_start);
    for bad in ["", ",", "Main", "a b"] {
        assert!(refused(&[(GRANTS, "a"), (CONTAINERS, bad)]).contains(CONTAINERS), "{bad:?}");
    }
    assert!(refused(&[(GRANTS, "a"), (CONTAINERS, "m,m")]).contains("twice"));
    let many: Vec<_> = (0..=MAX_CONTAINERS).map(|i| format!("c{i}")).collect();
    assert!(refused(&[(GRANTS, "a"), (CONTAINERS, &many.join(","))]).contains("at most 256"));
    assert!(refused(&[(GRANTS, "a"), (STRICT_START, "yes")]).contains("\"true\" or \"false\""));
}

#[test]
fn long_values_are_shortened_in_messages() {
    let message = refused(&[(GRANTS, "a"), (PORT, &"9".repeat(5000))]);
    assert!(message.len() < 300, "{}", message.len());
}
