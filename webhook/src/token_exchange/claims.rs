//! Step 1: the unverified claims of a token. They only serve to refuse most wrong tokens without a request to the API
//! server.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use agent_creds_core::pod::AUDIENCE;

use super::outcome::Reason;

/// Longest token. Projected tokens have one to two KiB.
const LONGEST: usize = 8 * 1024;
/// Tolerated difference between the clocks of the API server and of this machine, in seconds.
const SKEW: i64 = 60;

#[derive(Deserialize)]
struct Claims {
    aud: OneOrMany,
    iss: String,
    exp: f64,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Kubernetes {
    pod: Option<Pod>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "has to be there, and is not believed")]
struct Pod {
    name: String,
    uid: String,
}

/// Refuses a token that cannot be one of a sidecar, at `now` (Unix seconds). Without `issuer` every issuer passes, and
/// the API server decides.
pub fn check(token: &str, issuer: Option<&str>, now: i64) -> Result<(), Reason> {
    let claims = claims(token).ok_or(Reason::Malformed)?;
    let ours = match &claims.aud {
        OneOrMany::One(audience) => audience == AUDIENCE,
        OneOrMany::Many(audiences) => audiences.iter().any(|audience| audience == AUDIENCE),
    };
    if !ours {
        return Err(Reason::Audience);
    }
    if issuer.is_some_and(|issuer| issuer != claims.iss) {
        return Err(Reason::Issuer);
    }
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    if claims.exp <= (now - SKEW) as f64 {
        return Err(Reason::Expired);
    }
    match claims.kubernetes {
        Some(Kubernetes { pod: Some(_) }) => Ok(()),
        _ => Err(Reason::NotOfPod),
    }
}

/// Returns the claims of a JWT in compact form: three parts in base64url, of which the payload is a JSON object.
fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let encoded = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if token.len() > LONGEST || parts.next().is_some() || !encoded(header) || !encoded(signature) {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

    fn good() -> Value {
        json!({
            "aud": [AUDIENCE], "exp": NOW + 600, "iat": NOW, "iss": ISSUER, "sub": "system:serviceaccount:ops:agent",
            "kubernetes.io": {
                "namespace": "ops",
                "pod": {"name": "agent-1", "uid": "u1"},
                "serviceaccount": {"name": "agent", "uid": "u2"},
            },
        })
    }

    fn token(claims: &Value) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(r#"{"alg":"RS256"}"#), part(&claims.to_string()), part("signature"))
    }

    fn with(change: impl Fn(&mut Value)) -> Result<(), Reason> {
        let mut claims = good();
        change(&mut claims);
        check(&token(&claims), Some(ISSUER), NOW)
    }

    #[test]
    fn a_projected_token_of_a_pod_passes() {
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|claims| claims["aud"] = json!(AUDIENCE)), Ok(()));
        assert_eq!(with(|claims| claims["aud"] = json!(["x", AUDIENCE])), Ok(()));
        assert_eq!(with(|claims| claims["new"] = json!({"claim": 1})), Ok(()));
    }

    #[test]
    fn others_are_told_apart() {
        for audience in
            [json!("vault"), json!([]), json!(["https://kubernetes.default.svc"]), json!("agent-credsX")]
        {
            assert_eq!(with(|claims| claims["aud"] = audience.clone()), Err(Reason::Audience), "{audience}");
        }
        assert_eq!(with(|claims| claims["iss"] = json!("https://evil.example")), Err(Reason::Issuer));
        assert_eq!(with(|claims| claims["kubernetes.io"]["pod"] = Value::Null), Err(Reason::NotOfPod));
        assert_eq!(with(|claims| claims["kubernetes.io"] = Value::Null), Err(Reason::NotOfPod));
        let foreign = token(&json!({"aud": AUDIENCE, "exp": NOW, "iss": "https://other"}));
        assert_eq!(check(&foreign, None, NOW), Err(Reason::NotOfPod), "the issuer is not known");
    }

    #[test]
    fn an_ended_token_is_refused_when_the_clocks_cannot_explain_it() {
        assert_eq!(with(|claims| claims["exp"] = json!(NOW - 59)), Ok(()));
        assert_eq!(with(|claims| claims["exp"] = json!(NOW - 60)), Err(Reason::Expired));
        assert_eq!(with(|claims| claims["exp"] = json!(-1)), Err(Reason::Expired));
        assert_eq!(
            with(|claims| claims["exp"] = json!(NOW as f64 + 0.5)),
            Ok(()),
            "RFC 7519 allows fractions"
        );
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        let whole = token(&good());
        let [header, payload, signature] = whole.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts")
        };
        let long = format!("{whole}{}", "a".repeat(LONGEST));
        for bad in [
            "",
            ".",
            "..",
            "...",
            &format!("{header}.{payload}"),
            &format!("{header}.{payload}."),
            &format!(".{payload}.{signature}"),
            &format!("{whole}.{signature}"),
            &format!("{header}.{payload}=.{signature}"),
            &format!("{header}.!.{signature}"),
            &format!("{header}.{payload}.sig nature"),
            &format!("{header}.{payload}.sig\nnature"),
            &format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("[]")),
            &format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(b"\xff\xfe")),
            &long,
            "sha256~an-opaque-token",
        ] {
            assert_eq!(check(bad, None, NOW), Err(Reason::Malformed), "{bad}");
        }
        for key in ["aud", "exp", "iss"] {
            assert_eq!(
                with(|claims| drop(claims.as_object_mut().unwrap().remove(key))),
                Err(Reason::Malformed)
            );
            assert_eq!(with(|claims| claims[key] = json!({"a": 1})), Err(Reason::Malformed), "{key}");
        }
        assert_eq!(with(|claims| claims["kubernetes.io"]["pod"] = json!("agent-1")), Err(Reason::Malformed));
    }
}
