use super::*;

const TEMPLATE: &str = "{metadata: {annotations: {agent-creds/inject: 'true', agent-creds/grants: a}}, \
                        spec: {containers: [{name: main, image: x}]}}";

#[test]
fn refusals_end_the_run_without_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pod.yaml");
    std::fs::write(&file, format!("{{kind: Job, metadata: {{name: x}}, spec: {{template: {TEMPLATE}}}}}"))
        .unwrap();
    let run = |file: &Path| {
        let config =
            Config { file: file.to_owned(), policy: None, api_ca: None, namespace: "ops".to_owned() };
        let (mut output, mut notices) = (Vec::new(), Vec::new());
        let result = main(config, &mut output, &mut notices);
        (result, String::from_utf8(output).unwrap(), String::from_utf8(notices).unwrap())
    };
    let (result, output, notices) = run(&file);
    assert!(result.is_ok() && output.contains("name: agent-creds"), "{output}");
    assert!(
        notices.contains("without --policy")
            && notices.contains("warning: Job ops/x: agent-creds: identity mode")
    );
    std::fs::write(&file, "kind: Pod\nmetadata: {name: x, annotations: {agent-creds/inject: 'on'}}").unwrap();
    let (result, output, _) = run(&file);
    let message = result.expect_err("refused").to_string();
    assert!(message.contains("Pod ops/x: metadata.annotations: ") && output.is_empty(), "{message}");
    assert!(run(&folder.path().join("none")).0.expect_err("no file").to_string().contains("none"));
}
