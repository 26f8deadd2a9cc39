//! Markdown, as the tables need it.

/// A table.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<_> = cells.iter().map(|text| cell(text)).collect();
        // An empty cell is `| |`, as people write it.
        format!(
            "|{}\n",
            cells
                .iter()
                .map(|c| if c.is_empty() { " |".to_owned() } else { format!(" {c} |") })
                .collect::<String>()
        )
    };
    let mut table = line(&header.map(str::to_owned));
    table.push_str(&format!("|{}\n", "---|".repeat(N)));
    rows.into_iter().for_each(|row| table.push_str(&line(&row)));
    table
}

/// Text as code.
pub(crate) fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Several texts as code, with commas.
pub(crate) fn codes<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    texts.into_iter().map(|text| code(text.as_ref())).collect::<Vec<_>>().join(", ")
}

/// One line, in which a bar does not end the cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_any_text() {
        let rows = [["a|b".to_owned(), "one\ntwo  three".to_owned()], [String::new(), code("x")]];
        let expected = "| left | right |\n|---|---|\n| a\\|b | one two three |\n| | `x` |\n";
        assert_eq!(table(["left", "right"], rows), expected);
    }

    #[test]
    fn codes_are_separated_by_commas() {
        assert_eq!(codes(["get", "watch"]), "`get`, `watch`");
        assert_eq!(codes::<&str>([]), "");
    }
}
