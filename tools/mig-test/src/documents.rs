// SPDX-License-Identifier: GPL-2.0
//! Checks the documents: each link from one of them leads to a file that is there, and to a heading
//! of it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::files::{files, is_kind, read};

/// The documents, and folders with more.
const PLACES: [&str; 4] = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Documentation",
];

/// Returns a sentence for each link of a document in `root` that leads nowhere.
pub fn broken_links(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for place in PLACES {
        for path in files(&root.join(place), |path| is_kind(path, "md"))? {
            let file = path.strip_prefix(root).unwrap_or(&path).display();
            let text = read(&path)?;
            for (number, line) in text.lines().enumerate() {
                for target in targets(line) {
                    if !leads_somewhere(&path, &text, target)? {
                        let number = number + 1;
                        found.push(format!("{file}:{number}: {target} leads nowhere"));
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Returns the targets of the links in a line that are in this project: `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let after = line.split("](").skip(1);
    let targets = after.filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(' '))
}

/// Returns whether a target of the document at `path`, which contains `text`, is there.
fn leads_somewhere(path: &Path, text: &str, target: &str) -> Result<bool> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    if file.is_empty() {
        return Ok(anchors(text).contains(heading));
    }
    let there = path.parent().unwrap_or(path).join(file);
    if heading.is_empty() || !there.exists() {
        return Ok(there.exists());
    }
    Ok(anchors(&read(&there)?).contains(heading))
}

/// Returns what headings are called in links: in lower case, with dashes for spaces, and without
/// other signs.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let names = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let is_kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let names = names.map(|name| name.chars().filter(is_kept).collect::<String>());
    names.map(|name| name.replace(' ', "-")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_link_leads_to_a_heading_of_its_own_document() {
        let text = "# One\n\n## `Two`, and three\n";
        let here = Path::new("/there/is/no/such/file.md");
        let leads = |target| leads_somewhere(here, text, target).unwrap();
        assert!(leads("#one"));
        assert!(leads("#two-and-three"));
        assert!(!leads("#three"));
    }

    #[test]
    fn a_link_leads_to_a_file_and_to_a_heading_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (here, other) = (
            folder.path().join("here.md"),
            folder.path().join("other.md"),
        );
        fs::write(&other, "# Other\n").unwrap();
        let leads = |target| leads_somewhere(&here, "", target).unwrap();
        assert!(leads("other.md"));
        assert!(leads("other.md#other"));
        assert!(!leads("other.md#one"));
        assert!(!leads("another.md"));
        assert!(!leads("another.md#other"));
    }

    #[test]
    fn links_of_a_line_are_those_within_the_project() {
        let line = "see [a](a.md#b), [c](#d) and [e](https://example.org/f), not `x[0](y z)`";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["a.md#b", "#d"]);
    }
}
