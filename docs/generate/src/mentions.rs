//! What a page mentions has to exist: files, links with their headings, and targets of make.

use std::path::Path;

use anyhow::Context as _;

/// Folders of the repository. Between backticks, a path that begins with one of them is a file of the repository.
const FOLDERS: [&str; 11] = [
    "core/",
    "refresh/",
    "runtime/",
    "sidecar/",
    "webhook/",
    "tests/",
    "charts/",
    "manifests/",
    "images/",
    "docs/",
    "fuzz/",
];

/// What `page` mentions and does not exist, one line each.
pub(crate) fn missing(page: &str, text: &str, root: &Path) -> anyhow::Result<String> {
    let folder = Path::new(page).parent().context("a page in a folder")?;
    let mut missing = String::new();
    for path in paths(text).filter(|path| !root.join(path).exists()) {
        missing.push_str(&format!("{page}: names {path}, which does not exist\n"));
    }
    for (target, heading) in links(text) {
        let file = if target.is_empty() { root.join(page) } else { root.join(folder).join(target) };
        if !file.exists() {
            missing.push_str(&format!("{page}: links to {target}, which does not exist\n"));
        } else if !heading.is_empty() {
            let other =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            if !anchors(&other).any(|anchor| anchor == heading) {
                missing
                    .push_str(&format!("{page}: links to {target}#{heading}, which is no heading there\n"));
            }
        }
    }
    let makefile = std::fs::read_to_string(root.join("Makefile")).context("reading Makefile")?;
    for target in targets(text).filter(|target| !makefile.contains(&format!("\n{target}:"))) {
        missing.push_str(&format!("{page}: names `make {target}`, which is no target of the Makefile\n"));
    }
    Ok(missing)
}

/// Paths of the repository between backticks, without what stands for any file.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    let paths =
        words.map(|word| word.split([':', '#']).next().unwrap_or_default().trim_end_matches(['.', ',']));
    paths.filter(|path| {
        FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains(['*', '…', '$', '<', '{'])
    })
}

/// Links within the repository: the file, empty for the same page, and the heading, empty for the whole.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let links = text.split("](").skip(1).filter_map(|link| link.split(')').next());
    links.filter(|link| !link.contains("://")).map(|link| link.split_once('#').unwrap_or((link, "")))
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    })
}

/// Targets of make that are named in code.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let named = text.split("`make ").skip(1);
    named.map(|named| named.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_paths_between_backticks() {
        let text = "See `core/src/lib.rs`, `cargo test docs/` and `tests/*.rs`; not core/x, `a/b` or `docs/<name>.md`.";
        assert_eq!(paths(text).collect::<Vec<_>>(), ["core/src/lib.rs", "docs/"]);
    }

    #[test]
    fn finds_links_within_the_repository() {
        let text = "[a](docs/a.md) [b](b.md#to-b) [c](#here) [d](https://example.com/)";
        assert_eq!(links(text).collect::<Vec<_>>(), [("docs/a.md", ""), ("b.md", "to-b"), ("", "here")]);
    }

    #[test]
    fn knows_the_anchor_of_a_heading() {
        let text = "# States and reasons\n\ntext\n\n### `agent-creds inject`: a preview\n";
        assert_eq!(anchors(text).collect::<Vec<_>>(), ["states-and-reasons", "agent-creds-inject-a-preview"]);
    }

    #[test]
    fn finds_targets_of_make() {
        assert_eq!(
            targets("`make test`, `make bench SECONDS=…` and make love").collect::<Vec<_>>(),
            ["test", "bench"]
        );
    }

    #[test]
    fn says_what_does_not_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let text =
            "`docs/none.md` [x](none.md) [y](metrics.md#none) [z](metrics.md#alerts) `make none` `make test`";
        let expected = "docs/x.md: names docs/none.md, which does not exist\n\
                        docs/x.md: links to none.md, which does not exist\n\
                        docs/x.md: links to metrics.md#none, which is no heading there\n\
                        docs/x.md: names `make none`, which is no target of the Makefile\n";
        assert_eq!(missing("docs/x.md", text, &root).unwrap(), expected);
    }
}
