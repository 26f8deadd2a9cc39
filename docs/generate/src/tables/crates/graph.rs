//! Which crate uses which.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::metadata::Package;

/// A crate, and one that it uses.
pub(super) type Edge = (String, String);

/// What each crate needs to be built, of the crates of this repository; dependencies of tests are left out, unless the crate
/// has nothing but tests.
pub(super) fn edges(packages: &[Package]) -> BTreeSet<Edge> {
    let mut edges = BTreeSet::new();
    for package in packages {
        let ours =
            package.dependencies.iter().filter(|used| packages.iter().any(|other| other.name == used.name));
        let (normal, other): (Vec<_>, Vec<_>) = ours.partition(|used| used.kind.is_none());
        let used = if normal.is_empty() { other } else { normal };
        edges.extend(used.iter().map(|used| (package.name.clone(), used.name.clone())));
    }
    edges
}

/// Whether `name` is `used`, or uses it through any number of others.
pub(super) fn uses(edges: &BTreeSet<Edge>, name: &str, used: &str) -> bool {
    name == used || edges.iter().any(|(from, to)| from == name && uses(edges, to, used))
}

/// The crates in an order in which each comes after all that it uses; by name where the order is free.
pub(super) fn in_order<'a>(packages: &'a [Package], edges: &BTreeSet<Edge>) -> Vec<&'a Package> {
    let below =
        |package: &Package| packages.iter().filter(|other| uses(edges, &package.name, &other.name)).count();
    let mut ordered: Vec<_> = packages.iter().collect();
    ordered.sort_by_key(|package| (below(package), &package.name));
    ordered
}

/// The graph in Mermaid's language, without the prefix that all names have. An edge that follows from two others is left
/// out.
pub(super) fn mermaid(packages: &[Package], edges: &BTreeSet<Edge>) -> String {
    let direct = |(from, to): &&Edge| {
        !packages.iter().any(|via| {
            let via = &via.name;
            via != from && via != to && uses(edges, from, via) && uses(edges, via, to)
        })
    };
    let mut text = String::from("graph TD\n");
    for (from, to) in edges.iter().filter(direct) {
        let _ = writeln!(text, "    {} --> {}", short(from), short(to));
    }
    for package in in_order(packages, edges) {
        if edges.iter().all(|(from, to)| *from != package.name && *to != package.name) {
            let _ = writeln!(text, "    {}", short(&package.name));
        }
    }
    text
}

fn short(name: &str) -> &str {
    name.strip_prefix("agent-creds-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn packages() -> Vec<Package> {
        let package = |name: &str, used: &[(&str, Option<&str>)]| {
            let used: Vec<_> = used.iter().map(|(name, kind)| json!({"name": name, "kind": kind})).collect();
            json!({"name": name, "description": null, "manifest_path": "x", "targets": [], "dependencies": used})
        };
        let packages = json!([
            package("app", &[("core", None), ("net", None), ("serde", None), ("tools", Some("dev"))]),
            package("net", &[("core", None)]),
            package("core", &[]),
            package("tools", &[("app", Some("dev"))]),
            package("alone", &[]),
        ]);
        serde_json::from_value(packages).expect("packages")
    }

    #[test]
    fn knows_the_crates_that_each_is_built_with() {
        let edge = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let expected = [edge("app", "core"), edge("app", "net"), edge("net", "core"), edge("tools", "app")];
        assert_eq!(edges(&packages()), expected.into());
    }

    #[test]
    fn a_crate_comes_after_all_that_it_uses() {
        let packages = packages();
        let names: Vec<_> = in_order(&packages, &edges(&packages)).iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["alone", "core", "net", "app", "tools"]);
    }

    #[test]
    fn the_graph_shows_direct_uses_alone() {
        let packages = packages();
        let expected = "graph TD\n    app --> net\n    net --> core\n    tools --> app\n    alone\n";
        assert_eq!(mermaid(&packages, &edges(&packages)), expected);
    }
}
