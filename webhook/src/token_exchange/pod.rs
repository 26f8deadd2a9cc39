//! Step 3: the pod as it is stored now. It may have changed or ended since its token was issued.

use jiff::Timestamp;
use serde_json::Value;

use super::answer::Answer;
use super::caller::Caller;
use super::outcome::Reason;
use super::stopped::Stopped;
use crate::json_size::JsonSize;
use agent_creds_core::names::ObjectName;

/// Time for which a pod may outlast its end, in seconds, because clocks differ. The API server accepts tokens of a
/// deleted pod for the same time.
const LEEWAY: i64 = 60;
/// Bytes of a parsed pod, at most. One is parsed at a time. Four times what admission accepts: the stored pod has also a status and
/// `managedFields`.
const MAX_POD: usize = 48 * 1024 * 1024;

/// Returns the path of the pod. Without a resourceVersion the API server reads the stored object and not a cache.
pub fn path(caller: &Caller) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", caller.account.namespace, caller.pod)
}

/// Reads the answer at `now` (Unix seconds): checks that the pod is the one of the token and has not ended, and returns
/// the account that `sealed` finds for the pod and its namespace.
pub fn found(
    answer: &Answer<'_>,
    caller: &Caller,
    now: i64,
    sealed: impl FnOnce(&Value, &str) -> Result<ObjectName, Stopped>,
) -> Result<ObjectName, Stopped> {
    if answer.status == 404 {
        return Err(Reason::PodMissing.into());
    }
    let memory = JsonSize::of(answer.body).memory;
    if memory > MAX_POD {
        let detail = format_args!("the pod would take {memory} bytes of memory, and the limit is {MAX_POD}");
        return Err(Stopped::because(Reason::ApiAnswer, detail));
    }
    let pod: Value = answer.object()?;
    if pod["metadata"]["uid"] != caller.pod_uid.as_str() {
        return Err(Reason::PodReplaced.into());
    }
    if pod["spec"]["serviceAccountName"] != caller.account.name.as_str() {
        return Err(Reason::PodAccount.into());
    }
    if ended(&pod, now)? {
        return Err(Reason::PodEnded.into());
    }
    let credential = sealed(&pod, &caller.account.namespace)?;
    if credential == caller.account {
        return Err(Reason::OwnAccount.into());
    }
    Ok(credential)
}

/// Whether the pod has ended. A pod that is being deleted has not: a refresh may be in progress. Its
/// `deletionTimestamp` is the end of its grace period.
fn ended(pod: &Value, now: i64) -> Result<bool, Reason> {
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Ok(true);
    }
    match &pod["metadata"]["deletionTimestamp"] {
        Value::Null => Ok(false),
        Value::String(at) => {
            let at: Timestamp = at.parse().map_err(|_| Reason::ApiAnswer)?;
            Ok(at.as_second() + LEEWAY < now)
        }
        _ => Err(Reason::ApiAnswer),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;
    use serde_json::json;

    use super::super::account::account;
    use super::*;

    /// 2026-01-01T00:00:00Z
    const NOW: i64 = 1_767_225_600;

    fn caller() -> Caller {
        Caller {
            account: account("ops", "agent").unwrap(),
            pod: "agent-1".to_owned(),
            pod_uid: "u1".to_owned(),
            user: UserInfo::default(),
        }
    }

    fn pod() -> Value {
        json!({
            "metadata": {"name": "agent-1", "namespace": "ops", "uid": "u1"},
            "spec": {"serviceAccountName": "agent"},
            "status": {"phase": "Running"},
        })
    }

    fn sealed(namespace: &str, name: &str) -> impl FnOnce(&Value, &str) -> Result<ObjectName, Stopped> {
        let named = account(namespace, name).unwrap();
        move |_, _| Ok(named)
    }

    fn with(change: impl Fn(&mut Value)) -> Result<ObjectName, Reason> {
        let mut pod = pod();
        change(&mut pod);
        let body = pod.to_string();
        let answer = Answer { status: 200, body: body.as_bytes() };
        found(&answer, &caller(), NOW, sealed("vault", "agent-creds")).map_err(|stopped| stopped.reason)
    }

    #[test]
    fn a_pod_that_would_take_too_much_memory_is_not_parsed() {
        let variables = r#"{"name":"a"},"#.repeat(100_000);
        let body = pod().to_string().replace(r#""spec":{"#, &format!(r#""spec":{{"x":[{variables}0],"#));
        let answer = Answer { status: 200, body: body.as_bytes() };
        let stopped = found(&answer, &caller(), NOW, sealed("vault", "agent-creds")).unwrap_err();
        assert_eq!(stopped.reason, Reason::ApiAnswer);
        assert!(stopped.detail.is_some_and(|detail| detail.contains("bytes of memory")));
    }

    #[test]
    fn a_living_pod_gets_what_its_seal_names() {
        assert_eq!(path(&caller()), "/api/v1/namespaces/ops/pods/agent-1");
        assert_eq!(with(|_| ()).unwrap().to_string(), "vault/agent-creds");
        assert!(with(|pod| pod["status"] = json!({"phase": "Pending"})).is_ok(), "an init container asks");
        assert!(with(|pod| pod["status"] = json!({})).is_ok());
    }

    #[test]
    fn another_pod_of_the_name_gets_nothing() {
        assert_eq!(with(|pod| pod["metadata"]["uid"] = json!("u2")), Err(Reason::PodReplaced));
        assert_eq!(with(|pod| pod["metadata"]["uid"] = Value::Null), Err(Reason::PodReplaced));
        assert_eq!(with(|pod| pod["spec"]["serviceAccountName"] = json!("other")), Err(Reason::PodAccount));
        assert_eq!(with(|pod| pod["spec"] = Value::Null), Err(Reason::PodAccount));
    }

    #[test]
    fn a_pod_that_is_deleted_works_to_its_end() {
        let deleted = |at: &str| with(|pod| pod["metadata"]["deletionTimestamp"] = json!(at));
        assert!(deleted("2026-01-01T00:00:30Z").is_ok(), "in its grace period");
        assert!(deleted("2025-12-31T23:59:00Z").is_ok(), "clocks differ");
        assert_eq!(deleted("2025-12-31T23:58:59Z"), Err(Reason::PodEnded));
        assert_eq!(deleted("soon"), Err(Reason::ApiAnswer));
        assert_eq!(with(|pod| pod["metadata"]["deletionTimestamp"] = json!(1)), Err(Reason::ApiAnswer));
        for phase in ["Succeeded", "Failed"] {
            assert_eq!(with(|pod| pod["status"]["phase"] = json!(phase)), Err(Reason::PodEnded));
        }
    }

    #[test]
    fn the_seal_decides_and_never_names_the_pods_own_account() {
        let body = pod().to_string();
        let answer = |status| Answer { status, body: body.as_bytes() };
        let refusing = |pod: &Value, namespace: &str| {
            assert_eq!((&pod["metadata"]["name"], namespace), (&json!("agent-1"), "ops"));
            Err(Stopped::because(Reason::Seal, "annotation agent-creds/seal: missing"))
        };
        let stopped = found(&answer(200), &caller(), NOW, refusing).unwrap_err();
        assert_eq!(stopped.detail.as_deref(), Some("annotation agent-creds/seal: missing"));
        let own = found(&answer(200), &caller(), NOW, sealed("ops", "agent")).unwrap_err();
        assert_eq!(own.reason, Reason::OwnAccount);
        assert!(
            found(&answer(200), &caller(), NOW, sealed("vault", "agent")).is_ok(),
            "of another namespace"
        );
        for (status, reason) in [
            (404, Reason::PodMissing),
            (403, Reason::OwnRights),
            (500, Reason::ApiError),
            (429, Reason::ApiError),
        ] {
            let never = |_: &Value, _: &str| panic!("nothing to prove");
            assert_eq!(found(&answer(status), &caller(), NOW, never).unwrap_err().reason, reason);
        }
    }
}
