use serde_json::json;

use super::*;
use crate::pod::sample::{NOW, injected, keys, pod};

fn text() -> String {
    view::text(&injected(&pod())["metadata"]["annotations"], SEAL).unwrap().to_owned()
}

fn part(text: &str, index: usize) -> Value {
    let part = text.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

#[test]
fn a_seal_says_what_was_injected_and_into_which_pod() {
    let text = text();
    assert_eq!(part(&text, 0), json!({"alg": "HS256", "kid": keys().id(), "typ": "agent-creds-seal+1"}));
    let payload = part(&text, 1);
    assert_eq!((&payload["namespace"], &payload["serviceAccount"]), (&json!("ops"), &json!("devops-agent")));
    assert_eq!(
        payload["annotations"],
        json!({"agent-creds/inject": "true", "agent-creds/grants": "pagerduty"})
    );
    assert_eq!(payload["fragment"]["container"], injected(&pod())["spec"]["initContainers"][0]);
    assert_eq!(payload["iat"], NOW);
    let sealed = Sealed::open(&text, &keys()).unwrap();
    assert_eq!(sealed.fragment.share.containers, ["main"]);
}

#[test]
fn no_character_of_it_may_change() {
    let text = text();
    for i in (0..text.len()).step_by(7).chain(text.len() - 50..text.len()) {
        let mut changed = text.clone().into_bytes();
        changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(Sealed::open(&changed, &keys()).is_err(), "{i}");
    }
    for cut in [0, 1, text.len() / 2, text.len() - 1] {
        assert_eq!(Sealed::open(&text[..cut], &keys()), Err(SealError::Invalid));
    }
    assert_eq!(Sealed::open(&format!("{text}="), &keys()), Err(SealError::Invalid));
    assert_eq!(Sealed::open(&"x".repeat(LONGEST + 1), &keys()), Err(SealError::Invalid));
}

#[test]
fn the_header_chooses_nothing() {
    let payload = text().split('.').nth(1).unwrap().to_owned();
    let with = |header: Value, mac: &[u8]| {
        let header = BASE64.encode(header.to_string());
        Sealed::open(&format!("{header}.{payload}.{}", BASE64.encode(mac)), &keys())
    };
    let id = keys().id().to_owned();
    for header in [
        json!({"alg": "none", "kid": id, "typ": TYPE}),
        json!({"alg": "HS512", "kid": id, "typ": TYPE}),
        json!({"alg": "HS256", "kid": id, "typ": "JWT"}),
        json!({"alg": "HS256", "kid": id, "typ": TYPE, "jwk": {}}),
        json!({"alg": "HS256", "typ": TYPE}),
    ] {
        let signed = format!("{}.{payload}", BASE64.encode(header.to_string()));
        assert_eq!(with(header.clone(), &[]), Err(SealError::Invalid));
        assert_eq!(with(header, &keys().sign(signed.as_bytes())), Err(SealError::Invalid), "signed or not");
    }
}

#[test]
fn a_seal_without_a_time_is_refused() {
    let mut payload = part(&text(), 1);
    payload.as_object_mut().unwrap().remove("iat");
    let header = text().split('.').next().unwrap().to_owned();
    let signed = format!("{header}.{}", BASE64.encode(payload.to_string()));
    let text = format!("{signed}.{}", BASE64.encode(keys().sign(signed.as_bytes())));
    assert_eq!(Sealed::open(&text, &keys()), Err(SealError::Invalid));
}

#[test]
fn a_key_counts_until_it_is_taken_out() {
    let old = text();
    let rotated = Keys::new(&[8; 32], Some(&[7; 32])).unwrap();
    assert!(Sealed::open(&old, &rotated).is_ok());
    let withdrawn = Keys::new(&[9; 32], Some(&[8; 32])).unwrap();
    assert_eq!(Sealed::open(&old, &withdrawn), Err(SealError::KeyUnknown));
}

/// What a version wrote has to be read by every later one: a running pod's seal is never written again.
#[test]
fn a_seal_of_the_first_version_is_read_for_ever() {
    let payload = json!({
        "namespace": "ops",
        "serviceAccount": "devops-agent",
        "annotations": {"agent-creds/inject": "true"},
        "fragment": {
            "container": {"name": "agent-creds"},
            "volumes": [{"name": "agent-creds-shared"}],
            "share": {"containers": ["main"], "env": [], "mount": {"name": "agent-creds-shared"}},
            "status": "{}",
            "uid": 54911,
            "ports": [9911, 9912],
            "credential": {"namespace": "vault", "name": "devops-agent-creds"},
        },
        "iat": NOW,
    });
    let header = json!({"alg": "HS256", "kid": keys().id(), "typ": "agent-creds-seal+1"});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload.to_string()));
    let text = format!("{signed}.{}", BASE64.encode(keys().sign(signed.as_bytes())));
    let sealed = Sealed::open(&text, &keys()).unwrap();
    assert_eq!(sealed.fragment.credential.unwrap().to_string(), "vault/devops-agent-creds");
}
