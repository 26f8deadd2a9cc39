use super::*;

fn tables() -> BTreeMap<&'static str, String> {
    [("fruit", "| apple |\n| pear |\n".to_owned()), ("nuts", "| hazel |".to_owned())].into()
}

fn filled(text: &str) -> Filled {
    fill(text, &tables(), &["results"]).unwrap()
}

fn refused(text: &str) -> String {
    fill(text, &tables(), &["results"]).unwrap_err().to_string()
}

const FRUIT: &str =
    "# Shop\n\n<!-- generated: fruit -->\n\n| apple |\n| pear |\n\n<!-- end: fruit -->\n\nBye.\n";

#[test]
fn writes_a_table_between_its_markers_and_nothing_else() {
    let text = "# Shop\n\n<!-- generated: fruit -->\nstale\n<!-- end: fruit -->\n\nBye.\n";
    let filled = filled(text);
    assert_eq!(filled.text, FRUIT);
    assert_eq!(filled.names, ["fruit"]);
}

#[test]
fn changes_nothing_in_a_document_that_is_up_to_date() {
    assert_eq!(
        filled(FRUIT),
        Filled { text: FRUIT.to_owned(), changes: vec![], names: vec!["fruit".to_owned()] }
    );
}

#[test]
fn fills_several_blocks_of_one_document() {
    let text =
        "<!-- generated: nuts -->\n<!-- end: nuts -->\n<!-- generated: fruit -->\n<!-- end: fruit -->\n";
    let filled = filled(text);
    assert_eq!(filled.names, ["nuts", "fruit"]);
    assert!(filled.text.starts_with("<!-- generated: nuts -->\n\n| hazel |\n\n<!-- end: nuts -->\n"));
}

#[test]
fn names_the_first_line_that_differs() {
    let change = |text: &str| filled(text).changes.remove(0);
    let changed = change(&FRUIT.replace("| pear |", "| plum |"));
    assert_eq!((changed.name.as_str(), changed.line), ("fruit", 6));
    assert_eq!(changed.found.as_deref(), Some("| plum |"));
    assert_eq!(changed.expected.as_deref(), Some("| pear |"));
    let added = change(&FRUIT.replace("| pear |\n\n", "| pear |\n\n| fig |\n"));
    assert_eq!((added.line, added.found.as_deref(), added.expected), (8, Some("| fig |"), None));
    let empty = change("<!-- generated: fruit -->\n<!-- end: fruit -->\n");
    assert_eq!((empty.line, empty.found, empty.expected.as_deref()), (2, None, Some("")));
}

#[test]
fn leaves_a_block_alone_that_another_tool_writes() {
    let text = "<!-- generated: results -->\n| 7 |\n<!-- end: results -->\n";
    assert_eq!(filled(text).text, text);
    assert_eq!(filled(text).names, ["results"]);
}

#[test]
fn refuses_a_name_that_no_table_has() {
    let text = "\n<!-- generated: froot -->\n<!-- end: froot -->\n";
    assert_eq!(refused(text), "line 2: there is no table \"froot\"; write one of fruit, nuts, results");
}

#[test]
fn refuses_a_block_that_is_not_closed() {
    let sentence = "line 1: block \"fruit\" is not closed; write <!-- end: fruit --> below it";
    assert_eq!(refused("<!-- generated: fruit -->\n| apple |\n"), sentence);
    let next =
        "<!-- generated: fruit -->\n<!-- generated: nuts -->\n<!-- end: nuts -->\n<!-- end: fruit -->\n";
    assert_eq!(refused(next), sentence);
    assert_eq!(refused("<!-- generated: fruit -->\n<!-- end: nuts -->\n"), sentence);
}

#[test]
fn refuses_an_end_without_a_beginning() {
    let sentence = "line 2: block \"fruit\" ends and never began; write <!-- generated: fruit --> above it";
    assert_eq!(refused("x\n<!-- end: fruit -->\n"), sentence);
}

#[test]
fn a_marker_inside_a_sentence_is_text() {
    let text = "Between `<!-- generated: NAME -->` and `<!-- end: NAME -->`.\n";
    assert_eq!(filled(text).text, text);
}
