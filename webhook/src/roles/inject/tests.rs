use serde_json::json;

use super::*;

fn run(text: &str) -> (Vec<Value>, Notes) {
    let policy = Policy::for_preview(None, None).unwrap();
    let (printed, notes) = preview(text, &policy, "default").unwrap();
    let documents = serde_yaml::from_multiple(&printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    (documents, notes)
}

const TEMPLATE: &str = "{metadata: {annotations: {agent-creds/inject: 'true', agent-creds/grants: a}}, \
                        spec: {containers: [{name: main, image: x}]}}";

fn sidecar(pod: &Value) -> &Value {
    &pod["spec"]["initContainers"][0]
}

#[test]
fn pods_are_found_in_everything_that_has_a_template() {
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"] {
        let text = format!(
            "{{apiVersion: apps/v1, kind: {kind}, metadata: {{name: x}}, spec: {{template: {TEMPLATE}}}}}"
        );
        let (documents, notes) = run(&text);
        assert_eq!(sidecar(&documents[0]["spec"]["template"])["name"], "agent-creds", "{kind}");
        assert!(notes.refusals.is_empty() && notes.warnings.is_empty(), "{notes:?}");
    }
    let cron = format!("{{kind: CronJob, spec: {{jobTemplate: {{spec: {{template: {TEMPLATE}}}}}}}}}");
    assert_eq!(sidecar(&run(&cron).0[0]["spec"]["jobTemplate"]["spec"]["template"])["name"], "agent-creds");
    let list = format!(
        "{{kind: List, items: [{{kind: ConfigMap}}, {{kind: Deployment, spec: {{template: {TEMPLATE}}}}}]}}"
    );
    assert_eq!(sidecar(&run(&list).0[0]["items"][1]["spec"]["template"])["name"], "agent-creds");
}

#[test]
fn documents_keep_their_order_and_what_is_no_pod_stays_as_it_is() {
    let text = "kind: ConfigMap\ndata: {a: 'yes', b: '0123', c: \"x\\ny\", d: 'null', e: '1e3', f: ''}\n---\n---\nkind: Service\n";
    let (documents, _) = run(text);
    let data = json!({"a": "yes", "b": "0123", "c": "x\ny", "d": "null", "e": "1e3", "f": ""});
    assert_eq!(documents, [json!({"kind": "ConfigMap", "data": data}), json!({"kind": "Service"})]);
}

#[test]
fn the_manifests_namespace_counts_before_the_argument() {
    let grant = |text: &str| {
        let (documents, _) = run(text);
        sidecar(&documents[0])["args"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned()
    };
    let annotations = "{agent-creds/inject: 'true', agent-creds/grants: a}";
    let spec = "spec: {containers: [{name: main, image: x}]}";
    let with = format!("{{kind: Pod, metadata: {{namespace: team, annotations: {annotations}}}, {spec}}}");
    assert_eq!(grant(&with), "--grant=a=team/default-a");
    let without = format!("{{kind: Pod, metadata: {{annotations: {annotations}}}, {spec}}}");
    assert_eq!(grant(&without), "--grant=a=default/default-a");
}

#[test]
fn octal_modes_are_read_as_kubernetes_reads_them() {
    let (documents, _) = run("kind: Pod\nspec: {volumes: [{name: v, secret: {defaultMode: 0440}}]}");
    assert_eq!(documents[0]["spec"]["volumes"][0]["secret"]["defaultMode"], 0o440);
}

#[test]
fn an_annotation_in_the_wrong_place_is_pointed_out() {
    let text = "{kind: CronJob, metadata: {name: x, annotations: {agent-creds/inject: 'true'}}}";
    let (_, notes) = run(text);
    assert!(
        notes.warnings[0].ends_with("write it at spec.jobTemplate.spec.template.metadata.annotations"),
        "{notes:?}"
    );
}

#[test]
fn a_preview_of_a_preview_is_the_same() {
    let once = run(&format!("{{kind: Job, spec: {{template: {TEMPLATE}}}}}")).0;
    let (again, notes) = run(&once[0].to_string());
    assert_eq!(again, once);
    assert!(notes.warnings.is_empty());
}

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
