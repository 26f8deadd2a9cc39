use std::pin::Pin;
use std::task::{Context as Wake, Poll};

use axum::http::Request as HttpRequest;
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

#[tokio::test]
async fn only_json_of_a_sane_size_is_read() {
    let read = async |media_type: &str, body: Body| {
        let request = HttpRequest::builder().header(CONTENT_TYPE, media_type).body(body).expect("a request");
        let (parts, body) = request.into_parts();
        received(&parts.headers, body, &LargeBodies::default(), Duration::from_secs(5))
            .await
            .map_err(|(status, _)| status.as_u16())
    };
    assert_eq!(read("application/json", Body::from("{}")).await, Ok(Bytes::from("{}")));
    assert_eq!(read("Application/JSON; charset=utf-8", Body::from("{}")).await, Ok(Bytes::from("{}")));
    assert_eq!(read("text/plain", Body::from("{}")).await, Err(415));
    assert_eq!(read("application/jsonx", Body::from("{}")).await, Err(415));
    assert_eq!(read("application/json", Body::from(vec![b' '; MAX_BODY + 1])).await, Err(413));
    assert!(read("application/json", Body::from(vec![b' '; MAX_BODY])).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn large_bodies_wait_for_each_other_and_small_ones_for_nobody() {
    let large = LargeBodies::default();
    let headers = |length: Option<usize>| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json".parse().expect("a value"));
        headers.extend(length.map(|length| (CONTENT_LENGTH, length.into())));
        headers
    };
    let received = async |length, body, seconds| {
        let limit = Duration::from_secs(seconds);
        received(&headers(length), body, &large, limit).await.map_err(|(status, _)| status.as_u16())
    };
    let slow = || received(Some(MAX_BODY), Body::new(Endless), 10);
    let (unsized_one, small, another) = (
        received(None, Body::new(Endless), 10),
        received(Some(2), Body::from("{}"), 10),
        received(Some(LARGE as usize + 1), Body::from("{}"), 5),
    );
    let ended = tokio::join!(slow(), slow(), slow(), unsized_one, small, another);
    assert_eq!((ended.0, ended.3), (Err(408), Err(408)));
    assert_eq!(ended.4, Ok(Bytes::from("{}")), "small");
    assert_eq!(ended.5, Err(408), "there was no room for it");
    assert!(received(Some(LARGE as usize + 1), Body::from("{}"), 5).await.is_ok(), "now there is");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "application/json".parse().expect("a value"));
    let refused =
        received(&headers, Body::new(Endless), &LargeBodies::default(), Duration::from_secs(10)).await;
    assert_eq!(refused.map_err(|(status, _)| status.as_u16()), Err(408));
}

struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Wake<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}
