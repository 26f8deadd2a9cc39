use super::*;

const TEMPLATE: &str = "{metadata: {annotations: {agent-creds/inject: 'true', agent-creds/grants: a}}, \
                        spec: {containers: [{name: main, image: x}]}}";

#[test]
fn refusals_end_the_run_without_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pod.yaml");
    std::fs::write(&file, format!("{{kind: Job, metadata: {{name: x}}, spec: {{template: {TEMPLATE}}}}}"))
        .unwrap();
    let run = |file: &Path, policy: Option<PathBuf>| {
        let config = Config { file: file.to_owned(), policy, api_ca: None, namespace: "ops".to_owned() };
        let (mut output, mut notices) = (Vec::new(), Vec::new());
        let result = main(config, &mut output, &mut notices);
        (result, String::from_utf8(output).unwrap(), String::from_utf8(notices).unwrap())
    };
    let (result, output, notices) = run(&file, None);
    assert!(result.is_ok() && output.contains("name: agent-creds"), "{output}");
    assert!(output.contains("--identity=exchange"), "{output}");
    assert!(notices.contains("without --policy") && !notices.contains("warning"), "{notices}");
    let policy = folder.path().join("policy.yaml");
    std::fs::write(&policy, "{sidecar: {image: x}, identity: {mode: pod}}").unwrap();
    let (result, output, notices) = run(&file, Some(policy));
    assert!(result.is_ok() && output.contains("--identity=pod"), "{output}");
    assert!(notices.contains("warning: Job ops/x: agent-creds: identity mode"), "{notices}");
    std::fs::write(&file, "kind: Pod\nmetadata: {name: x, annotations: {agent-creds/inject: 'on'}}").unwrap();
    let (result, output, _) = run(&file, None);
    let message = result.expect_err("refused").to_string();
    assert!(message.contains("Pod ops/x: metadata.annotations: ") && output.is_empty(), "{message}");
    assert!(run(&folder.path().join("none"), None).0.expect_err("no file").to_string().contains("none"));
}

#[test]
fn a_file_of_another_encoding_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("latin-1.yaml");
    std::fs::write(&file, b"kind: Pod\n# caf\xe9\n").unwrap();
    let message = read(&file).expect_err("not UTF-8").to_string();
    assert!(message.ends_with("latin-1.yaml: line 2 is not UTF-8 text; save the file as UTF-8"), "{message}");
}

#[test]
fn a_namespace_that_cannot_be_one_is_refused() {
    let config = Config { file: "-".into(), policy: None, api_ca: None, namespace: "Ops".to_owned() };
    let message = main(config, &mut Vec::new(), &mut Vec::new()).expect_err("refused").to_string();
    assert!(message.starts_with("--namespace: expected a name of a namespace, found \"Ops\""), "{message}");
}
