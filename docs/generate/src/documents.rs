//! All documents together: every table is in one of them, and only once.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};

use crate::blocks::{Filled, fill};

/// Fills the blocks of all documents, given by name and text.
pub(crate) fn fill_all<'a>(
    documents: &'a BTreeMap<String, String>,
    tables: &BTreeMap<&str, String>,
    kept: &[&str],
) -> anyhow::Result<BTreeMap<&'a str, Filled>> {
    let mut all = BTreeMap::new();
    let mut places: BTreeMap<String, &str> = BTreeMap::new();
    for (document, text) in documents {
        let filled = fill(text, tables, kept).with_context(|| document.clone())?;
        for name in &filled.names {
            if let Some(other) = places.insert(name.clone(), document) {
                bail!("{document}: block {name:?} is in {other}, too; keep one, and link to it");
            }
        }
        all.insert(document.as_str(), filled);
    }
    for name in tables.keys().chain(kept) {
        if !places.contains_key(*name) {
            bail!(
                "table {name:?} is in no document; write <!-- generated: {name} --> and <!-- end: {name} --> where it belongs"
            );
        }
    }
    Ok(all)
}

/// The lines that name the changed blocks of a document, for a person.
pub(crate) fn report(document: &str, filled: &Filled) -> String {
    let line =
        |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing: the block ends here".to_owned());
    let change = |change: &crate::blocks::Change| {
        let (found, expected) = (line(&change.found), line(&change.expected));
        format!(
            "{document}:{}: block {:?} is not what the source says\n  found:    {found}\n  expected: {expected}\n",
            change.line, change.name
        )
    };
    filled.changes.iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(documents: &[(&str, &str)]) -> Result<String, String> {
        let documents =
            documents.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let tables = [("fruit", "| apple |\n| pear |\n".to_owned())].into();
        let filled = fill_all(&documents, &tables, &["results"]).map_err(|error| format!("{error:#}"))?;
        Ok(filled.iter().map(|(document, filled)| report(document, filled)).collect())
    }

    const RESULTS: (&str, &str) = ("results.md", "<!-- generated: results -->\n<!-- end: results -->\n");

    #[test]
    fn says_which_block_of_which_document_differs() {
        let text = "# Shop\n<!-- generated: fruit -->\n\n| apple |\n\n<!-- end: fruit -->\n";
        let expected =
            "shop.md:5: block \"fruit\" is not what the source says\n  found:    \n  expected: | pear |\n";
        assert_eq!(filled(&[RESULTS, ("shop.md", text)]), Ok(expected.to_owned()));
        let text = "<!-- generated: fruit -->\n<!-- end: fruit -->\n";
        assert!(
            filled(&[RESULTS, ("shop.md", text)]).unwrap().contains("found:    nothing: the block ends here")
        );
    }

    #[test]
    fn says_nothing_about_documents_that_are_up_to_date() {
        let text = "<!-- generated: fruit -->\n\n| apple |\n| pear |\n\n<!-- end: fruit -->\n";
        assert_eq!(filled(&[RESULTS, ("shop.md", text), ("other.md", "x\n")]), Ok(String::new()));
    }

    #[test]
    fn refuses_a_table_that_is_in_no_document() {
        let error = filled(&[RESULTS]).unwrap_err();
        assert!(
            error.starts_with("table \"fruit\" is in no document; write <!-- generated: fruit -->"),
            "{error}"
        );
        let text = "<!-- generated: fruit -->\n<!-- end: fruit -->\n";
        assert!(filled(&[("shop.md", text)]).unwrap_err().starts_with("table \"results\" is in no document"));
    }

    #[test]
    fn refuses_a_table_that_is_in_two_documents() {
        let text = "<!-- generated: fruit -->\n<!-- end: fruit -->\n";
        let error = filled(&[RESULTS, ("a.md", text), ("b.md", text)]).unwrap_err();
        assert_eq!(error, "b.md: block \"fruit\" is in a.md, too; keep one, and link to it");
    }

    #[test]
    fn an_error_names_the_document() {
        assert!(filled(&[("a.md", "<!-- end: fruit -->\n")]).unwrap_err().starts_with("a.md: line 1: block"));
    }
}
