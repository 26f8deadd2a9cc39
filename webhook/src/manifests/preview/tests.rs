use serde_json::json;

use super::*;

fn run(text: &str) -> (Vec<Value>, Notes) {
    run_with(text, None)
}

fn run_with(text: &str, policy: Option<&str>) -> (Vec<Value>, Notes) {
    let policy = Policy::for_preview(policy, None).unwrap();
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

fn said(notes: &Notes) -> Vec<&str> {
    notes.notes.iter().chain(&notes.warnings).map(String::as_str).collect()
}

#[test]
fn an_annotation_in_the_wrong_place_is_pointed_out_with_the_right_one() {
    let text = "{kind: CronJob, metadata: {name: x, annotations: {agent-creds/inject: 'true'}}, spec: {jobTemplate: \
                {spec: {template: {spec: {containers: [{name: main}]}}}}}}";
    let at = "spec.jobTemplate.spec.template.metadata.annotations";
    let note = format!("CronJob default/x: not injected: no annotation agent-creds/inject at {at}");
    let warning = format!(
        "CronJob default/x: annotation agent-creds/inject at metadata.annotations has no effect there; write it at {at}"
    );
    assert_eq!(said(&run(text).1), [note.as_str(), warning.as_str()]);
    let text = "{kind: HelmRelease, metadata: {name: x}, spec: {values: {podAnnotations: {agent-creds.inject: 'true'}}}}";
    assert_eq!(
        said(&run(text).1),
        [
            "HelmRelease default/x: not injected: no pod template in it",
            "HelmRelease default/x: annotation agent-creds.inject at spec.values.podAnnotations; the preview cannot \
             tell whether a pod gets it"
        ]
    );
}

#[test]
fn the_right_place_is_the_template_below_the_wrong_one() {
    let job =
        |meta: &str| format!("{{template: {{{meta}spec: {{template: {{spec: {{containers: []}}}}}}}}}}");
    let text = format!(
        "{{kind: JobSet, spec: {{replicatedJobs: [{}, {}]}}}}",
        job(""),
        job("metadata: {annotations: {agent-creds.inject: 'true', agent-creds/grants: a}}, ")
    );
    let warnings = run(&text).1.warnings;
    assert_eq!(
        warnings,
        ["JobSet default/: annotations agent-creds.inject, agent-creds/grants at \
          spec.replicatedJobs[1].template.metadata.annotations have no effect there; write agent-creds/inject, \
          agent-creds/grants at spec.replicatedJobs[1].template.spec.template.metadata.annotations"]
    );
}

#[test]
fn each_template_is_injected_on_its_own_annotations() {
    let plain = "{spec: {containers: [{name: main}]}}";
    let text = format!(
        "{{kind: Group, metadata: {{name: x}}, spec: {{leader: {{template: {TEMPLATE}}}, other: {{template: {TEMPLATE}}}, \
         workers: [{{template: {plain}}}]}}}}"
    );
    let (documents, notes) = run_with(&text, Some("{sidecar: {image: x}, identity: {mode: pod}}"));
    let spec = &documents[0]["spec"];
    assert_eq!(sidecar(&spec["leader"]["template"])["name"], "agent-creds");
    assert_eq!(sidecar(&spec["other"]["template"])["name"], "agent-creds");
    assert_eq!(spec["workers"][0]["template"], json!({"spec": {"containers": [{"name": "main"}]}}));
    let note = "Group default/x: not injected: no annotation agent-creds/inject at \
                spec.workers[0].template.metadata.annotations";
    assert_eq!(notes.notes, [note]);
    assert_eq!(notes.warnings.len(), 1, "the same warning is printed once: {notes:?}");
}

#[test]
fn every_document_that_is_not_injected_is_named_with_the_reason() {
    let off = "{kind: Pod, metadata: {name: disabled, annotations: {agent-creds/inject: 'false'}}}";
    let typo = "{kind: Pod, metadata: {name: typo, annotations: {agent-creds.inject: 'true'}}}";
    let list = "{kind: List, items: [{kind: Service, metadata: {name: s, namespace: ops}}, 5]}";
    let text =
        format!("kind: ConfigMap\nmetadata: {{name: c}}\n---\n{off}\n---\n{typo}\n---\n{list}\n---\na: 1\n");
    assert_eq!(
        said(&run(&text).1),
        [
            "ConfigMap default/c: not injected: no pod template in it",
            "Pod default/disabled: not injected: agent-creds/inject is \"false\" at metadata.annotations",
            "Pod default/typo: not injected: no annotation agent-creds/inject at metadata.annotations",
            "Service ops/s: not injected: no pod template in it",
            "document 5, an object without kind: not injected: no pod template in it",
            "Pod default/typo: metadata.annotations: \"agent-creds.inject\" is no annotation of agent-creds; write \
             agent-creds/inject",
            "document 4, items[1]: not injected: expected an object, found a number; kubectl refuses it",
        ]
    );
}

fn refusals(annotations: &str, spec: &str) -> Vec<String> {
    let text = format!(
        "{{kind: Job, metadata: {{name: x}}, spec: {{template: {{metadata: {{annotations: {{{annotations}}}}}, \
         spec: {{{spec}}}}}}}}}"
    );
    run(&text).1.refusals.into_iter().map(|(_, refusal)| refusal.message).collect()
}

#[test]
fn null_is_read_as_the_api_server_reads_it() {
    let containers = "containers: [{name: main, image: x, env: null, ports: , command: ~}], volumes: null";
    let asks = "agent-creds/inject: 'true', agent-creds/grants: a";
    assert_eq!(refusals(&format!("{asks}, note: null"), containers), Vec::<String>::new());
    let port = refusals(&format!("{asks}, agent-creds/port: null"), containers);
    assert!(
        port[0].starts_with("spec.template.metadata.annotations: ") && port[0].contains("found \"\""),
        "{port:?}"
    );
    let inject = refusals("agent-creds/inject: null", containers);
    assert!(inject[0].contains("found \"\""), "{inject:?}");
}

#[test]
fn another_type_than_text_is_refused_as_the_api_server_does() {
    let spec = "containers: [{name: main, image: x, env: [{name: A, value: 8080}, {name: B, value: null}]}]";
    assert_eq!(
        refusals("agent-creds/inject: true, agent-creds/grants: a, git-commit: 7e123", spec),
        [
            "spec.template.metadata.annotations[\"agent-creds/inject\"]: expected a string, found a boolean; write it in quotes",
            "spec.template.metadata.annotations[\"git-commit\"]: expected a string, found a number; write it in quotes",
            "spec.template.spec.containers[0].env[0].value: expected a string, found a number; write it in quotes",
        ]
    );
    assert_eq!(
        refusals("git-commit: 7e123", spec),
        Vec::<String>::new(),
        "a pod that does not ask is left alone"
    );
}

#[test]
fn an_input_without_an_object_is_an_error() {
    let policy = Policy::for_preview(None, None).unwrap();
    let failed = |text: &str| preview(text, &policy, "default").expect_err(text).to_string();
    for text in ["", "# comment\n", "---\n---\n", "null"] {
        assert!(failed(text).starts_with("the input has no manifest"), "{text}");
    }
    assert!(failed("# c\n---\nhello world\n---\n5").contains("document 2 is text"), "{}", failed("hello"));
}

#[test]
fn kubectl_reads_what_is_printed() {
    let text = "kind: A\ndata: {tab: \"\\tx\\ny\\n\", a: \"7e3\", b: \"0o17\", c: \"1_000\", d: \"y\", e: \"<<\", f: \"~\"}\n";
    let policy = Policy::for_preview(None, None).unwrap();
    let (printed, _) = preview(text, &policy, "default").unwrap();
    let read = |text| documents::read(text).unwrap().remove(0).value;
    assert_eq!(read(&printed), read(text), "{printed}");
    assert!(!printed.contains("|"), "kubectl refuses a block that begins with a tab: {printed}");
}

#[test]
fn a_preview_of_a_preview_is_the_same() {
    let once = run(&format!("{{kind: Job, spec: {{template: {TEMPLATE}}}}}")).0;
    let (again, notes) = run(&once[0].to_string());
    assert_eq!(again, once);
    assert!(notes.warnings.is_empty());
}
