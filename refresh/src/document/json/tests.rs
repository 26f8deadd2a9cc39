use super::*;
use crate::fixtures::{living, login};

#[test]
fn fields_of_other_versions_survive_and_tokens_are_not_printed() {
    let login = login("r1");
    let mut json: serde_json::Value = serde_json::from_slice(&living(&login, "r4").to_json()).unwrap();
    json["future"] = serde_json::json!({"x": [1]});
    json["access"]["future"] = "y".into();
    json["seed"]["future"] = 7.into();
    json["v"] = 7.into();
    let document = Document::parse(Some(json.to_string().as_bytes())).unwrap();
    let again: serde_json::Value = serde_json::from_slice(&document.to_json()).unwrap();
    assert_eq!(again, json);
    assert_eq!((&again["gen"], &again["refresh"]["token"]), (&3.into(), &"r4".into()));
    assert_eq!(again["access"]["issued_at"], "2027-01-15T08:00:00Z", "RFC 3339");
    assert!(!format!("{document:?}").contains("r4"));
}

#[test]
fn distinguishes_an_empty_state_from_damage() {
    assert!(Document::parse(None).unwrap().seed.is_none());
    assert!(Document::parse(Some(b" \n")).unwrap().seed.is_none());
    for garbage in ["{", "[]", "null", "\"x\"", "{\"gen\":\"x\"}", "{\"seed\":{}}"] {
        assert!(Document::parse(Some(garbage.as_bytes())).is_err(), "{garbage}");
    }
    assert!(Document::parse(Some(&vec![b'x'; 300_000])).is_err());
}
