use super::super::problems;
use super::*;

fn failed(text: &str) -> (usize, String, &'static str) {
    let Problem { line, field, sentence } = read(text).expect_err(text);
    (line, field, sentence)
}

#[test]
fn the_last_of_duplicate_keys_counts_and_is_remarked() {
    let read = read("a:\n  b: 1\n  b: 2\nc: &c {d: 1}\ne: {<<: *c, d: 2}\n").unwrap();
    assert_eq!(read.value, serde_json::json!({"a": {"b": 2}, "c": {"d": 1}, "e": {"d": 2}}));
    let remark = Remark { line: 3, sentence: "a.b is written twice; kubectl reads the last".to_owned() };
    assert_eq!(read.remarks, [remark]);
}

#[test]
fn what_follows_the_end_of_a_document_is_remarked() {
    let remarks = |text: &str| read(text).unwrap().remarks.len();
    assert_eq!(remarks("a: 1\n...\nb: 2\n"), 1);
    assert_eq!((remarks("a: 1\n...\n# c\n"), remarks("a: 1\n")), (0, 0));
}

#[test]
fn errors_name_line_and_field_in_our_words() {
    assert_eq!(failed("a:\n  b: [x, y: 'z]\n").1, "a.b[1].y");
    assert_eq!(failed("a:\n\tb: 1\n"), (2, "a".to_owned(), problems::TAB));
    assert_eq!(failed("- x\n- \ty: 1\n"), (2, "[0]".to_owned(), problems::TAB));
    assert_eq!(failed("a: *b\n"), (1, "a".to_owned(), problems::ANCHOR));
    assert_eq!(failed("a: &b [*b]\n"), (1, "a[0][0]".to_owned(), problems::SELF_ALIAS));
    assert_eq!(failed("a:\n  b: {{ .Values.x }}\n"), (2, "a.b".to_owned(), problems::KEY));
    assert_eq!(failed("a:\n- b: .nan\n"), (2, "a[0].b".to_owned(), problems::NOT_FINITE));
    assert_eq!(failed("a: {<<: 5}\n"), (1, "a".to_owned(), problems::MERGE));
    assert_eq!(failed("a/b: &x.y 1\n"), (1, "[\"a/b\"]".to_owned(), problems::ANCHOR_NAME));
    assert_eq!(failed("a: !!int x\n").0, 1);
}

#[test]
fn aliases_are_followed_as_far_as_kubectl_follows_them() {
    let tens = |levels: usize| {
        let mut text = "l0: &l0 [1,2,3,4,5,6,7,8,9,0]\n".to_owned();
        for level in 1..levels {
            let alias = format!("*l{}", level - 1);
            text += &format!("l{level}: &l{level} [{}]\n", vec![alias; 10].join(","));
        }
        text
    };
    assert!(read(&tens(2)).is_ok());
    let (line, _, sentence) = failed(&tens(7));
    assert_eq!(sentence, problems::TOO_MANY_ALIASES);
    assert!(line > 1);
}

#[test]
fn nesting_is_limited_before_the_stack_is() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&nested(200)).is_ok());
    assert_eq!(failed(&nested(100_000)).2, problems::TOO_DEEP);
    let chain: String = (1..600).map(|i| format!("a{i}: &a{i} [[[[*a{}]]]]\n", i - 1)).collect();
    assert_eq!(failed(&format!("a0: &a0 x\n{chain}")).2, problems::TOO_DEEP);
}

#[test]
fn a_tab_that_begins_a_line_is_refused_outside_of_values_and_brackets() {
    for text in ["a: 1\n\t\nb: 2\n", "a:\n  b: \"x\"\n\t# c\n", "a: x\n\ty\n"] {
        assert_eq!(failed(text).2, problems::TAB, "{text:?}");
    }
    for text in [
        "a: [1,\n\t2]\n",
        "a: |\n  x\n  \ty\n",
        "a: x\n  \t\nb: 1\n",
        "a: {b: 1,\n\t# c\n  d: 2}\n",
        "a: \t1\n",
    ] {
        assert!(read(text).is_ok(), "{text:?}: {:?}", read(text));
    }
}
