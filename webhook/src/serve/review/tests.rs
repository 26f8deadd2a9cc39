use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context as Wake, Poll};

use axum::body::Bytes;
use axum::http::HeaderName;
use axum::http::header::CONTENT_LENGTH;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Frame;
use serde_json::json;

use super::*;

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;

fn policy() -> Policy {
    Policy::for_preview(Some("{sidecar: {image: x}, identity: {mode: pod}}"), None).expect("a policy")
}

fn review(uid: &str, operation: &str, object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "operation": operation,
            "namespace": "ops",
            "object": object,
        },
    })
}

fn pod() -> Value {
    let annotations = json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"});
    json!({
        "metadata": {"name": "agent", "annotations": annotations},
        "spec": {"containers": [{"name": "main", "image": "x"}]},
    })
}

fn keys() -> Keys {
    Keys::new(&[7; 32], None).expect("keys")
}

fn asked(review: &Value) -> (Reason, Value) {
    of(Question::Mutate, review)
}

fn of(question: Question, review: &Value) -> (Reason, Value) {
    let answer = answer(review.to_string().as_bytes(), question, &policy(), Some(&keys()), NOW);
    let review: Value = serde_json::from_slice(&answer.review.expect("a review")).expect("JSON");
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    (answer.reason, review["response"].clone())
}

#[test]
fn the_patch_is_base64_of_operations() {
    let (reason, response) = asked(&review("u1", "CREATE", &pod()));
    assert_eq!(reason, Reason::Injected);
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u1"), &json!(true)));
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["patch"].as_str().expect("text")).expect("base64");
    let patch: Value = serde_json::from_slice(&patch).expect("JSON");
    assert!(patch.as_array().expect("a list").iter().all(|operation| operation["op"] == "add"));
    assert_eq!(response["warnings"].as_array().map(Vec::len), Some(1));
    assert_eq!(response.get("status"), None);
}

#[test]
fn nothing_but_the_creation_of_pods_is_touched() {
    for operation in ["UPDATE", "DELETE", "CONNECT", "", "create"] {
        let (reason, response) = asked(&review("u", operation, &pod()));
        assert_eq!((reason, &response["allowed"]), (Reason::NotCreate, &json!(true)), "{operation}");
        assert_eq!(response.get("patch"), None);
    }
    for (pointer, value) in [
        ("/request/resource/resource", json!("deployments")),
        ("/request/resource/group", json!("apps")),
        ("/request/resource/version", json!("v2")),
    ] {
        let mut other = review("u", "CREATE", &pod());
        *other.pointer_mut(pointer).expect("there") = value;
        let (reason, response) = asked(&other);
        assert_eq!((reason, &response["allowed"]), (Reason::NotPod, &json!(true)));
    }
    let mut binding = review("u", "CREATE", &pod());
    binding["request"]["subResource"] = json!("binding");
    assert_eq!(asked(&binding).0, Reason::NotPod);
}

#[test]
fn the_final_pod_and_what_joins_it_are_validated() {
    let patch = |review: &Value| {
        let operations = STANDARD.decode(asked(review).1["patch"].as_str().expect("text")).expect("base64");
        serde_json::from_slice::<json_patch::Patch>(&operations).expect("a patch")
    };
    let mut injected = pod();
    json_patch::patch(&mut injected, &patch(&review("u", "CREATE", &pod()))).expect("it applies");
    let validated = |pod: &Value, subresource: &str, operation: &str| {
        let mut review = review("u", operation, pod);
        review["request"]["subResource"] = json!(subresource);
        of(Question::Validate, &review).0
    };
    assert_eq!(validated(&injected, "", "CREATE"), Reason::Verified);
    assert_eq!(validated(&injected, "ephemeralcontainers", "UPDATE"), Reason::Verified);
    assert_eq!(validated(&pod(), "", "CREATE"), Reason::SealMissing, "it asks and was not injected");
    assert_eq!(validated(&injected, "", "UPDATE"), Reason::NotCreate);
    assert_eq!(validated(&injected, "status", "UPDATE"), Reason::NotPod);
    let debugger = json!([{"name": "debugger", "image": "x", "targetContainerName": "agent-creds"}]);
    injected["spec"]["ephemeralContainers"] = debugger;
    assert_eq!(validated(&injected, "ephemeralcontainers", "UPDATE"), Reason::Reference);
}

#[test]
fn without_keys_an_annotated_pod_has_to_wait() {
    for question in [Question::Mutate, Question::Validate] {
        let answer =
            answer(review("u", "CREATE", &pod()).to_string().as_bytes(), question, &policy(), None, NOW);
        assert_eq!(answer.reason, Reason::KeysMissing);
    }
}

#[test]
fn a_refusal_says_what_to_change() {
    let mut pod = pod();
    pod["spec"]["hostNetwork"] = json!(true);
    let (reason, response) = asked(&review("u2", "CREATE", &pod));
    assert_eq!(
        (reason, &response["allowed"], &response["uid"]),
        (Reason::HostNamespace, &json!(false), &json!("u2"))
    );
    assert_eq!(response["status"]["code"], 403);
    let message = response["status"]["message"].as_str().expect("text");
    assert_eq!(
        message,
        "agent-creds: spec.hostNetwork: the pod would share a namespace of the node; remove it"
    );
}

#[test]
fn a_long_list_of_refusals_is_cut() {
    let mut pod = pod();
    let ports: Vec<_> = (0..50).map(|i| json!({"containerPort": 1000 + i, "hostPort": 1000 + i})).collect();
    pod["spec"]["containers"][0]["ports"] = json!(ports);
    let (_, response) = asked(&review("u", "CREATE", &pod));
    let message = response["status"]["message"].as_str().expect("text");
    assert!(message.ends_with("; and 40 more") && message.matches("hostPort").count() == 10, "{message}");
}

#[test]
fn other_json_is_denied_with_its_uid_where_it_has_one() {
    let mut beta = review("u3", "CREATE", &pod());
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let mut kind = review("u3", "CREATE", &pod());
    kind["kind"] = json!("Review");
    let odd = json!({"request": {"uid": "u3", "object": {}}});
    for (request, uid) in [
        (beta, "u3"),
        (kind, "u3"),
        (odd, "u3"),
        (json!({"request": 7}), ""),
        (json!([]), ""),
        (json!(null), ""),
    ] {
        let (reason, response) = asked(&request);
        assert_eq!((reason, &response["allowed"]), (Reason::ReviewInvalid, &json!(false)), "{request}");
        assert_eq!(response["uid"], uid, "{request}");
    }
    assert!(answer(b"not JSON", Question::Mutate, &policy(), None, NOW).review.is_none());
    assert!(answer(b"", Question::Mutate, &policy(), None, NOW).review.is_none());
}

/// Receives a body with these headers, within `seconds`; the status if it is refused.
async fn received(
    headers: &[(HeaderName, &str)],
    body: Body,
    source: u8,
    budget: &Budget,
    seconds: u64,
) -> Result<Vec<u8>, u16> {
    let headers =
        headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
    let source = IpAddr::from([10, 0, 0, source]);
    let limit = Duration::from_secs(seconds);
    let received = receive(&headers, body, source, budget, limit).await;
    received.map(|(bytes, _)| bytes).map_err(|(_, status, _)| status.as_u16())
}

#[tokio::test]
async fn only_json_of_a_sane_size_is_read() {
    let budget = budget();
    let read = async |media_type: &str, body: Body| {
        received(&[(CONTENT_TYPE, media_type)], body, 1, &budget, 5).await
    };
    assert_eq!(read("application/json", Body::from("{}")).await, Ok(b"{}".to_vec()));
    assert_eq!(read("Application/JSON; charset=utf-8", Body::from("{}")).await, Ok(b"{}".to_vec()));
    assert_eq!(read("text/plain", Body::from("{}")).await, Err(415));
    assert_eq!(read("application/jsonx", Body::from("{}")).await, Err(415));
    let most = MAX_BODY as usize;
    assert_eq!(read("application/json", Body::from(vec![b' '; most + 1])).await, Err(413));
    assert!(read("application/json", Body::from(vec![b' '; most])).await.is_ok());
    let length = (MAX_BODY + 1).to_string();
    let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_LENGTH, length.as_str())];
    assert_eq!(received(&headers, Body::new(Endless), 1, &budget, 5).await, Err(413), "before it arrives");
}

#[tokio::test(start_paused = true)]
async fn large_bodies_wait_for_each_other_and_small_ones_do_not() {
    let budget = budget();
    let receive = async |length: Option<u32>, body, source, seconds| {
        let length = length.map(|length| length.to_string());
        let mut headers = vec![(CONTENT_TYPE, "application/json")];
        headers.extend(length.as_ref().map(|length| (CONTENT_LENGTH, length.as_str())));
        received(&headers, body, source, &budget, seconds).await
    };
    let ended = tokio::join!(
        receive(Some(MAX_BODY), Body::new(Endless), 1, 10),
        receive(Some(MAX_BODY / 2), Body::new(Endless), 2, 10),
        receive(Some(2), Body::from("{}"), 1, 10),
        receive(Some(1024 * 1024), Body::from("{}"), 3, 5),
    );
    assert_eq!((ended.0, ended.1), (Err(408), Err(408)));
    assert_eq!(ended.2, Ok(b"{}".to_vec()), "small");
    assert_eq!(ended.3, Err(503), "there was no room for it");
    assert!(receive(Some(1024 * 1024), Body::from("{}"), 3, 5).await.is_ok(), "now there is");
    let (first, unsized_one) = tokio::join!(
        receive(Some(MAX_BODY), Body::new(Endless), 1, 10),
        receive(None, Body::from("{}"), 2, 5),
    );
    assert_eq!((first, unsized_one), (Err(408), Err(503)), "one without a length can be the largest");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_charged_until_its_answer_is_written() {
    let budget = budget();
    let source = IpAddr::from([10, 0, 0, 1]);
    let room = || tokio::time::timeout(Duration::from_secs(1), budget.charge(source, MAX_BODY));
    let charge = room().await.expect("room");
    let response = written_with(charge, StatusCode::OK.into_response());
    assert!(room().await.is_err(), "the server keeps the extension of the response until it is written");
    drop(response);
    assert!(room().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let headers = [(CONTENT_TYPE, "application/json")];
    assert_eq!(received(&headers, Body::new(Endless), 1, &budget(), 10).await, Err(408));
}

/// A review of this object, written as text.
fn raw(object: &str) -> String {
    review("u", "CREATE", &json!("OBJECT")).to_string().replace("\"OBJECT\"", object)
}

fn denied(review: &str) -> (Reason, String) {
    let answer = answer(review.as_bytes(), Question::Mutate, &policy(), Some(&keys()), NOW);
    let response: Value = serde_json::from_slice(&answer.review.expect("a review")).expect("JSON");
    let message = response["response"]["status"]["message"].as_str().expect("text").to_owned();
    (answer.reason, message)
}

#[test]
fn a_pod_that_would_take_too_much_memory_is_refused_unparsed() {
    let (reason, message) = denied(&raw(&format!("[{}0]", "{\"\":0},".repeat(1_000_000))));
    assert_eq!(reason, Reason::PodTooLarge);
    assert!(message.contains("so many fields") && message.contains("up to 12 MiB;"), "{message}");
    let (reason, message) = denied(&raw(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))));
    assert_eq!(reason, Reason::ReviewInvalid);
    assert!(message.contains("nested too deeply"), "{message}");
}

#[test]
fn a_pod_as_large_as_api_servers_accept_is_admitted() {
    let variable = |i: usize| json!({"name": format!("SETTING_{i}"), "value": "x".repeat(3000)});
    let mut pod = pod();
    pod["spec"]["containers"][0]["env"] = (0..1000).map(variable).collect();
    let managed =
        |i: usize| (format!("k:{{\"name\":\"SETTING_{i}\"}}"), json!({".": {}, "f:name": {}, "f:value": {}}));
    let env: serde_json::Map<_, _> = (0..1000).map(managed).collect();
    pod["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:spec": {"f:containers": {"f:env": env}}}}]);
    let mut review = review("u", "CREATE", &pod);
    assert!(review.to_string().len() > 3_000_000);
    review["request"]["oldObject"] = pod;
    assert_eq!(asked(&review).0, Reason::Injected);
}

#[test]
fn texts_that_are_copied_are_short() {
    let long = "x".repeat(300);
    let mut other = review("u", "CREATE", &pod());
    other["request"]["uid"] = json!(long);
    let (reason, response) = asked(&other);
    assert_eq!((reason, &response["uid"]), (Reason::ReviewInvalid, &json!("")));
    let mut other = review("u", "CREATE", &pod());
    other["request"]["namespace"] = json!(long);
    assert_eq!(asked(&other).0, Reason::ReviewInvalid);
    for (pointer, value) in [
        ("/spec/serviceAccountName", json!(long)),
        ("/spec/containers/0/name", json!(long)),
        ("/metadata/annotations", json!({"agent-creds/inject": "true", "other": "x".repeat(300_000)})),
    ] {
        let mut pod = pod();
        *pod.pointer_mut("/spec").expect("there") =
            json!({"containers": [{"name": "a"}], "serviceAccountName": "a"});
        *pod.pointer_mut(pointer).expect("there") = value;
        let (reason, response) = asked(&review("u", "CREATE", &pod));
        let message = response["status"]["message"].as_str().expect("text");
        assert_eq!(reason, Reason::PodInvalid, "{message}");
        assert!(message.len() < 200 && message.contains("at most"), "{message}");
    }
}

#[test]
fn many_refusals_are_not_collected() {
    let mut value = json!(vec!["agent-creds-shared"; 10_000]);
    for _ in 0..50 {
        value = json!({"ä".repeat(200): value});
    }
    let mut pod = pod();
    pod["spec"]["other"] = value;
    let (_, message) = denied(&review("u", "CREATE", &pod).to_string());
    assert!(message.ends_with("; and at least 90 more"), "{}", message.len());
}

struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Wake<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}
