//! Step 4: SubjectAccessReview and TokenRequest for the credential account.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::answer::Answer;
use super::caller::Caller;
use super::outcome::Reason;
use agent_creds_core::names::ObjectName;

/// The verb of the right. Only the identity server asks about it.
const ASSUME: &str = "assume";

/// Returns the question whether the caller may assume the account.
pub fn question(caller: &Caller, credential: &ObjectName) -> SubjectAccessReview {
    let user = &caller.user;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(ASSUME.to_owned()),
                version: Some("v1".to_owned()),
                resource: Some("serviceaccounts".to_owned()),
                namespace: Some(credential.namespace.clone()),
                name: Some(credential.name.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

/// Reads the answer to the question: the right is missing unless the answer allows it and does not deny it.
pub fn allowed(answer: &Answer<'_>) -> Result<(), Reason> {
    let status = answer.object::<SubjectAccessReview>()?.status.ok_or(Reason::ApiAnswer)?;
    if status.allowed && status.denied != Some(true) { Ok(()) } else { Err(Reason::AssumeMissing) }
}

/// Returns the path of the TokenRequest.
pub fn path(credential: &ObjectName) -> String {
    format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", credential.namespace, credential.name)
}

/// Returns the request for a token for the API server itself, without an audience. It cannot be bound to a pod of
/// another account.
pub fn request(seconds: u32) -> TokenRequest {
    let spec = TokenRequestSpec {
        audiences: Vec::new(),
        expiration_seconds: Some(i64::from(seconds)),
        bound_object_ref: None,
    };
    TokenRequest { spec, ..TokenRequest::default() }
}

/// An issued token.
pub struct Minted {
    /// The token.
    pub token: String,
    /// Its expiry, as the API server wrote it.
    pub ends: Time,
}

/// Reads the answer to the TokenRequest. It is sent only after the right was checked, so a pod without the right does not learn
/// whether the account exists.
pub fn minted(answer: &Answer<'_>) -> Result<Minted, Reason> {
    match answer.status {
        403 => Err(Reason::MintMissing),
        404 => Err(Reason::AccountMissing),
        _ => {
            let status = answer.object::<TokenRequest>()?.status.ok_or(Reason::ApiAnswer)?;
            if status.token.is_empty() {
                return Err(Reason::ApiAnswer);
            }
            Ok(Minted { token: status.token, ends: status.expiration_timestamp })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::authentication::v1::UserInfo;
    use serde_json::{Value, json};

    use super::super::account::account;
    use super::*;

    fn credential() -> ObjectName {
        account("vault", "agent-creds").unwrap()
    }

    fn answer<T>(status: u16, body: &Value, read: fn(&Answer<'_>) -> Result<T, Reason>) -> Result<T, Reason> {
        read(&Answer { status, body: body.to_string().as_bytes() })
    }

    #[test]
    fn the_question_is_about_one_account_and_all_that_the_caller_is() {
        let caller = Caller {
            account: account("ops", "agent").unwrap(),
            pod: "agent-1".to_owned(),
            pod_uid: "u1".to_owned(),
            user: UserInfo {
                username: Some("system:serviceaccount:ops:agent".to_owned()),
                uid: Some("u2".to_owned()),
                groups: Some(vec!["system:serviceaccounts:ops".to_owned()]),
                extra: Some(BTreeMap::from([("a".to_owned(), vec!["b".to_owned()])])),
            },
        };
        let asked = serde_json::to_value(question(&caller, &credential())).unwrap();
        assert_eq!(
            asked["spec"],
            json!({
                "user": "system:serviceaccount:ops:agent",
                "uid": "u2",
                "groups": ["system:serviceaccounts:ops"],
                "extra": {"a": ["b"]},
                "resourceAttributes": {
                    "verb": "assume", "version": "v1", "resource": "serviceaccounts", "namespace": "vault",
                    "name": "agent-creds",
                },
            })
        );
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        assert_eq!(answer(201, &json!({"status": {"allowed": true}}), allowed), Ok(()));
        for no in [json!({"allowed": false}), json!({"allowed": true, "denied": true})] {
            assert_eq!(answer(201, &json!({"status": no}), allowed), Err(Reason::AssumeMissing));
        }
        assert_eq!(answer(201, &json!({}), allowed), Err(Reason::ApiAnswer));
        assert_eq!(answer(403, &json!({"status": "Failure"}), allowed), Err(Reason::OwnRights));
    }

    #[test]
    fn a_token_is_asked_for_with_a_life_and_for_the_api_server() {
        assert_eq!(path(&credential()), "/api/v1/namespaces/vault/serviceaccounts/agent-creds/token");
        let asked = serde_json::to_value(request(900)).unwrap();
        assert_eq!(asked["spec"], json!({"audiences": [], "expirationSeconds": 900}));
    }

    #[test]
    fn what_is_missing_is_told_apart() {
        let token = json!({"spec": {"audiences": ["x"]},
            "status": {"token": "a.b.c", "expirationTimestamp": "2026-01-01T00:00:00Z"}});
        let made = answer(201, &token, minted).expect("a token");
        assert_eq!((made.token.as_str(), made.ends.0.as_second()), ("a.b.c", 1_767_225_600));
        for (status, body, reason) in [
            (403, json!({}), Reason::MintMissing),
            (404, json!({}), Reason::AccountMissing),
            (401, json!({}), Reason::OwnRights),
            (500, json!({}), Reason::ApiError),
            (201, json!({"spec": {"audiences": []}}), Reason::ApiAnswer),
            (
                201,
                json!({"spec": {"audiences": []}, "status": {"token": "", "expirationTimestamp": "2026-01-01T00:00:00Z"}}),
                Reason::ApiAnswer,
            ),
        ] {
            assert_eq!(answer(status, &body, minted).err(), Some(reason), "{status} {body}");
        }
    }
}
