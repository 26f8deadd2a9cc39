//! Replies of any kind, and damaged state documents: the properties that hold for all of them, without the fuzzer.

#[path = "../../fuzz/invariants.rs"]
mod invariants;

use proptest::prelude::*;
use serde_json::{Value, json};

/// A document with every field.
const FULL: &str = include_str!("../../fuzz/seeds/state/living.json");

/// Values where others are expected: of other kinds, and at the ends of their kinds.
fn odd() -> impl Strategy<Value = Value> {
    let time = prop_oneof![
        Just("9999-12-30T22:00:00.999999999Z"),
        Just("-009999-01-02T01:59:59Z"),
        Just("1970-01-01T00:00:00Z"),
        Just("2027-01-15T08:00:01+14:00"),
        Just("2027-01-15T08:30:00Z"),
        Just("soon"),
    ];
    let number =
        prop_oneof![Just(0), Just(1), Just(-1), Just(i64::MAX), Just(i64::MIN), Just(1 << 32), any::<i64>()];
    prop_oneof![
        4 => time.prop_map(|time| json!(time)),
        4 => number.prop_map(|number| json!(number)),
        1 => Just(json!(u64::MAX)),
        1 => Just(json!(u32::MAX)),
        1 => any::<f64>().prop_map(|number| json!(number)),
        1 => "\\PC{0,12}".prop_map(|text| json!(text)),
        1 => any::<bool>().prop_map(|yes| json!(yes)),
        1 => Just(Value::Null),
        1 => Just(json!([])),
        1 => Just(json!({ "new": [1, "two"] })),
    ]
}

/// The places in a value, as JSON pointers.
fn places(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| places(value, &format!("{here}/{key}"), all));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| places(value, &format!("{here}/{at}"), all));
        }
        _ => {}
    }
}

/// The full document with some parts gone and some values replaced.
fn damaged() -> impl Strategy<Value = Value> {
    let full: Value = serde_json::from_str(FULL).expect("JSON");
    let mut all = Vec::new();
    places(&full, "", &mut all);
    let keys: Vec<_> = full.as_object().expect("an object").keys().cloned().collect();
    let gone = proptest::sample::subsequence(keys.clone(), 0..keys.len());
    let replaced = proptest::collection::vec((proptest::sample::select(all), odd()), 0..4);
    (gone, replaced).prop_map(move |(gone, replaced)| {
        let mut document = full.clone();
        for (place, value) in replaced {
            if let Some(found) = document.pointer_mut(&place) {
                *found = value;
            }
        }
        if let Some(fields) = document.as_object_mut() {
            gone.iter().for_each(|key| drop(fields.remove(key)));
        }
        document
    })
}

/// A body that looks like an answer, whole or not.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        Just("access_token"),
        Just("refresh_token"),
        Just("expires_in"),
        Just("scope"),
        Just("token_type"),
        Just("error"),
        Just("ok"),
        Just("data")
    ];
    let token = "[ -~]{0,20}".prop_map(|text| json!(text));
    let value = prop_oneof![4 => token, 3 => odd(), 1 => Just(json!("invalid_grant")), 1 => Just(json!("x".repeat(40_000)))];
    let fields = proptest::collection::btree_map(field, value, 0..6);
    let like = (fields, 0..=100_usize).prop_map(|(fields, percent)| {
        let text = json!(fields).to_string().into_bytes();
        let length = text.len() * percent.max(30) / 100;
        text[..length].to_vec()
    });
    let twice = "[ -~]{0,9}".prop_map(|text| {
        json!({ "access_token": "a", "refresh_token": text })
            .to_string()
            .replace('}', ",\"refresh_token\":\"r2\"}")
    });
    let form = "[a-z_]{1,9}=[ -~]{0,9}".prop_map(|rest| format!("access_token=a&refresh_token=r&{rest}"));
    prop_oneof![
        4 => like,
        1 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => twice.prop_map(String::into_bytes),
        1 => form.prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reply_is_read(status in prop_oneof![Just(200), Just(400), Just(429), Just(503), any::<u16>()], header: u8, body in body(), complete: bool) {
        invariants::reply(status, header, &body, complete);
    }

    #[test]
    fn every_state_is_survived(document in damaged()) {
        invariants::state(document.to_string().as_bytes());
    }
}
