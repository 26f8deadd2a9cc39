//! The modules of a crate as a tree, each with the first sentence of its documentation.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Width of a line, in characters.
const WIDTH: usize = 116;

/// Draws the modules below the crate whose root is `source`, down to `depth`. `read` returns the text of a file that exists.
pub(super) fn tree(
    source: &Path,
    depth: usize,
    read: &dyn Fn(&Path) -> Option<String>,
) -> anyhow::Result<String> {
    let folder = source.parent().context("a file in a folder")?;
    let text = read(source).with_context(|| format!("{}: cannot be read", source.display()))?;
    let modules = modules(&text, folder, depth, read)?;
    let column = modules.iter().map(|module| module.width(0)).max().unwrap_or_default() + 2;
    let mut drawn = String::new();
    draw(&modules, "", column, &mut drawn);
    Ok(drawn)
}

struct Module {
    name: String,
    /// The first sentence of its documentation.
    sentence: String,
    inner: Vec<Self>,
}

impl Module {
    /// Width of the longest name with its branches.
    fn width(&self, branches: usize) -> usize {
        let own = branches + 4 + self.name.chars().count();
        self.inner.iter().map(|module| module.width(branches + 4)).fold(own, usize::max)
    }
}

fn modules(
    text: &str,
    folder: &Path,
    depth: usize,
    read: &dyn Fn(&Path) -> Option<String>,
) -> anyhow::Result<Vec<Module>> {
    if depth == 0 {
        return Ok(Vec::new());
    }
    let module = |name: &str| {
        let file = folder.join(format!("{name}.rs"));
        let text = read(&file).with_context(|| format!("{}: cannot be read", file.display()))?;
        let sentence = first_sentence(&text).with_context(|| {
            format!("{}: no documentation; begin it with //! and a sentence", file.display())
        })?;
        let inner: PathBuf = folder.join(name);
        Ok(Module { name: name.to_owned(), sentence, inner: modules(&text, &inner, depth - 1, read)? })
    };
    let mut found = names(text).into_iter().map(module).collect::<anyhow::Result<Vec<_>>>()?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The modules that a file declares and that have files of their own; those of tests are left out.
fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut of_tests = false;
    for line in text.lines() {
        let declared = line.strip_suffix(';').and_then(|line| {
            let line = line.strip_prefix("pub(crate) ").or(line.strip_prefix("pub(super) ")).unwrap_or(line);
            line.strip_prefix("pub ").unwrap_or(line).strip_prefix("mod ")
        });
        names.extend(declared.filter(|_| !of_tests));
        of_tests = line.starts_with("#[cfg(test)]") || (of_tests && line.starts_with("#["));
    }
    names
}

/// The first sentence of a file's `//!`, without links.
fn first_sentence(text: &str) -> Option<String> {
    let lines = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty());
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    let sentence = paragraph.find(". ").map_or(paragraph.as_str(), |end| &paragraph[..end]);
    let sentence =
        sentence.trim_end_matches('.').replace("[`crate::", "`").replace("[`", "`").replace("`]", "`");
    (!sentence.is_empty()).then_some(sentence)
}

fn draw(modules: &[Module], branches: &str, column: usize, into: &mut String) {
    for (index, module) in modules.iter().enumerate() {
        let last = index + 1 == modules.len();
        let (fork, below) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let below = format!("{branches}{below}");
        let mut start = format!("{branches}{fork}{}", module.name);
        for line in wrap(&module.sentence, WIDTH - column) {
            into.push_str(&format!("{}\n", format!("{start:column$}{line}").trim_end()));
            // Further lines of a sentence hang below its first.
            start = if module.inner.is_empty() { below.clone() } else { format!("{below}│") };
        }
        draw(&module.inner, &below, column, into);
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate of four files.
    fn read(path: &Path) -> Option<String> {
        let text = match path.to_str()? {
            "src/lib.rs" => {
                "//! A shop.\n\npub mod stock;\nmod cashier;\n#[cfg(test)]\nmod fixtures;\nmod inline {\n}\n"
            }
            "src/stock.rs" => {
                "//! What is there: see [`crate::stock::shelf`], which knows\n//! more. And so on.\n//!\n//! More.\n\
                 pub(super) mod shelf;\n\n#[cfg(test)]\nmod tests;\n"
            }
            "src/stock/shelf.rs" => "//! One shelf.\nmod board;\n",
            "src/cashier.rs" => "//! `sell`: takes money.\n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn draws_modules_with_their_first_sentences() {
        let tree = tree(Path::new("src/lib.rs"), 2, &read).unwrap();
        let expected = "├── cashier    `sell`: takes money\n\
                        └── stock      What is there: see `stock::shelf`, which knows more\n    \
                        └── shelf  One shelf\n";
        assert_eq!(tree, expected);
    }

    #[test]
    fn a_long_sentence_goes_on_below_itself() {
        let words = "many words ".repeat(20);
        let module = |name: &str, inner| Module { name: name.to_owned(), sentence: words.clone(), inner };
        let mut drawn = String::new();
        draw(&[module("a", vec![module("b", vec![])]), module("c", vec![])], "", 10, &mut drawn);
        let starts: Vec<String> = drawn.lines().map(|line| line.chars().take(10).collect()).collect();
        assert_eq!(
            starts,
            [
                "├── a     ",
                "│   │     ",
                "│   │     ",
                "│   └── b ",
                "│         ",
                "│         ",
                "└── c     ",
                "          ",
                "          "
            ]
        );
        assert!(drawn.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn refuses_a_module_without_documentation() {
        let read = |path: &Path| {
            Some(if path.ends_with("lib.rs") { "mod bare;\n" } else { "use std;\n" }.to_owned())
        };
        let error = tree(Path::new("src/lib.rs"), 1, &read).unwrap_err();
        assert_eq!(error.to_string(), "src/bare.rs: no documentation; begin it with //! and a sentence");
    }
}
