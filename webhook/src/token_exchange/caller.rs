//! Step 2: TokenReview, which verifies the token and names its account and its pod.

use std::collections::BTreeMap;

use agent_creds_core::names::{ObjectName, is_label};
use agent_creds_core::pod::AUDIENCE;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};

use super::account::account;
use super::answer::Answer;
use super::outcome::Reason;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const USER: &str = "system:serviceaccount:";

/// The account and the pod of a verified token.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    /// The pod's ServiceAccount.
    pub account: ObjectName,
    /// Name of the pod that the token is bound to.
    pub pod: String,
    /// Its uid.
    pub pod_uid: String,
    /// The user as the API server knows it, for the SubjectAccessReview.
    pub user: UserInfo,
}

/// Returns the TokenReview of a token.
pub fn review(token: &str) -> TokenReview {
    TokenReview {
        spec: TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: Some(token.to_owned()) },
        ..TokenReview::default()
    }
}

/// Reads the answer to the TokenReview.
pub fn reviewed(answer: &Answer<'_>) -> Result<Caller, Reason> {
    let status = answer.object::<TokenReview>()?.status.ok_or(Reason::ApiAnswer)?;
    if status.authenticated != Some(true) {
        return Err(Reason::Unauthentic);
    }
    // An authenticator without support for audiences accepts the token and names no audience.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return Err(Reason::Audience);
    }
    let user = status.user.ok_or(Reason::ApiAnswer)?;
    let name = user.username.as_deref().and_then(|name| name.strip_prefix(USER));
    let name = name.and_then(|name| name.split_once(':'));
    let account = name.and_then(|(namespace, name)| account(namespace, name)).ok_or(Reason::NotOfPod)?;
    let extra = user.extra.as_ref().ok_or(Reason::NotOfPod)?;
    let pod = only(extra, POD_NAME).filter(|name| name.len() <= 253 && name.split('.').all(is_label));
    let pod_uid = only(extra, POD_UID).filter(|uid| !uid.is_empty());
    let (pod, pod_uid) = pod.zip(pod_uid).ok_or(Reason::NotOfPod)?;
    Ok(Caller { account, pod: pod.to_owned(), pod_uid: pod_uid.to_owned(), user })
}

fn only<'a>(extra: &'a BTreeMap<String, Vec<String>>, key: &str) -> Option<&'a str> {
    match extra.get(key)?.as_slice() {
        [value] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn good() -> Value {
        json!({"status": {
            "authenticated": true,
            "audiences": [AUDIENCE],
            "user": {
                "username": "system:serviceaccount:ops:agent",
                "uid": "u2",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:ops", "system:authenticated"],
                "extra": {POD_NAME: ["agent-1"], POD_UID: ["u1"], "authentication.kubernetes.io/node-name": ["n"]},
            },
        }})
    }

    fn with(change: impl Fn(&mut Value)) -> Result<Caller, Reason> {
        let mut review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {}});
        review["status"] = good()["status"].clone();
        change(&mut review["status"]);
        reviewed(&Answer { status: 201, body: review.to_string().as_bytes() })
    }

    #[test]
    fn the_question_names_our_audience_alone() {
        let asked = serde_json::to_value(review("a.b.c")).unwrap();
        assert_eq!(asked["spec"], json!({"token": "a.b.c", "audiences": [AUDIENCE]}));
    }

    #[test]
    fn a_pods_token_names_the_pod_and_its_account() {
        let caller = with(|_| ()).unwrap();
        assert_eq!(caller.account.to_string(), "ops/agent");
        assert_eq!((caller.pod.as_str(), caller.pod_uid.as_str()), ("agent-1", "u1"));
        assert_eq!(caller.user.groups.unwrap().len(), 3, "all that it may be judged by");
        assert_eq!(caller.user.extra.unwrap().len(), 3);
    }

    #[test]
    fn what_was_not_said_is_not_so() {
        for answer in [json!(false), Value::Null] {
            assert_eq!(with(|status| status["authenticated"] = answer.clone()), Err(Reason::Unauthentic));
        }
        for audiences in [json!([]), json!(["other"]), Value::Null] {
            assert_eq!(with(|status| status["audiences"] = audiences.clone()), Err(Reason::Audience));
        }
        assert_eq!(with(|status| status["user"] = Value::Null), Err(Reason::ApiAnswer));
        assert_eq!(with(|status| *status = Value::Null), Err(Reason::ApiAnswer));
    }

    #[test]
    fn who_is_no_pod_gets_nothing() {
        for name in [
            "admin",
            "system:node:node",
            "system:serviceaccount:ops",
            "system:serviceaccount::agent",
            "system:serviceaccount:ops:",
            "system:serviceaccount:ops:../x",
            "xsystem:serviceaccount:ops:agent",
        ] {
            assert_eq!(
                with(|status| status["user"]["username"] = json!(name)),
                Err(Reason::NotOfPod),
                "{name}"
            );
        }
        for key in [POD_NAME, POD_UID] {
            for value in [Value::Null, json!([]), json!(["a", "b"]), json!([""])] {
                let change = |status: &mut Value| match &value {
                    Value::Null => drop(status["user"]["extra"].as_object_mut().unwrap().remove(key)),
                    value => status["user"]["extra"][key] = value.clone(),
                };
                assert_eq!(with(change), Err(Reason::NotOfPod), "{key}: {value}");
            }
        }
        assert_eq!(with(|status| status["user"]["extra"] = Value::Null), Err(Reason::NotOfPod));
        assert_eq!(with(|status| status["user"]["extra"][POD_NAME] = json!(["a/b"])), Err(Reason::NotOfPod));
    }
}
