// SPDX-License-Identifier: GPL-2.0
//! Checks the layout of the source: a layer of the SDK may use only those below it, files must not
//! be too long or their comments too wide, and links of documents must lead somewhere.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use crate::documents::broken_links;
use crate::files::{files, is_kind, read};

/// The maximum of lines of a source file.
const LINES: usize = 400;
/// The maximum width of a comment, equal to rustfmt's for code.
const COLUMNS: usize = 100;
/// The folder of the layers.
const SDK: &str = "sdk/kernel";

/// Checks the whole project in `root`. The error has a line for each violation.
pub fn check(root: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    let sdk = root.join(SDK);
    let layers = layers(&read(&sdk.join("lib.rs"))?);
    if layers.is_empty() {
        bail!("{SDK}/lib.rs names no layer");
    }
    for (height, layer) in layers.iter().enumerate() {
        for path in sources(&sdk.join(layer))? {
            let climbs = climbs(&read(&path)?, &layers[..=height]);
            wrong.extend(climbs.into_iter().map(|(line, target)| {
                let file = shown(root, &path);
                format!("{file}:{line}: the layer {layer} must not use {target}: see {SDK}/lib.rs")
            }));
        }
    }
    for folder in ["sdk", "drivers", "uapi", "tools", "Documentation"] {
        for path in sources(&root.join(folder))? {
            let (file, text) = (shown(root, &path), read(&path)?);
            let lines = text.lines().count();
            if lines > LINES {
                wrong.push(format!("{file}: {lines} lines, and {LINES} are the most"));
            }
            wrong.extend(wide(&text).into_iter().map(|(line, columns)| {
                format!("{file}:{line}: {columns} columns, and {COLUMNS} are the most")
            }));
        }
    }
    wrong.extend(broken_links(root)?);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Returns every Rust file in `folder` and below it.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    files(folder, |path| is_kind(path, "rs"))
}

/// Returns the layers of the crate whose root is `text`, lowest first.
fn layers(text: &str) -> Vec<String> {
    let modules = text.lines().filter_map(|line| line.strip_prefix("mod "));
    let names = modules.filter_map(|rest| rest.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// Returns the paths of the crate that `text` uses and that are not in the layers `below`, with
/// their lines. Items that the crate re-exports count, because using them would hide their layer.
fn climbs(text: &str, below: &[String]) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        // In a macro it is the crate of whoever calls that.
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        let line = code[..at].lines().count().max(1);
        for name in names(&code[at + "crate::".len()..]) {
            if !below.contains(&name) {
                found.push((line, name));
            }
        }
    }
    found
}

/// Returns the first name of each path at the beginning of `text`: one, or those of a group in
/// braces.
fn names(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
        text.chars().take_while(is_part).collect()
    };
    let Some(group) = text.strip_prefix('{') else {
        return vec![word(text)];
    };
    let mut names = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && (c.is_alphabetic() || c == '_') => {
                names.push(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

/// Returns `text` with the lines of comments and macros emptied: paths in a macro belong to the
/// crate that uses it.
fn without_comments(text: &str) -> String {
    let mut in_macro = false;
    let mut kept = String::new();
    for line in text.lines() {
        in_macro |= line.starts_with("macro_rules!");
        if !in_macro && !line.trim_start().starts_with("//") {
            kept += line;
        }
        kept += "\n";
        in_macro &= line != "}";
    }
    kept
}

/// Returns the lines of comments that are too wide, and their widths; rustfmt checks code. A URL
/// and a row of a table cannot be broken.
fn wide(text: &str) -> Vec<(usize, usize)> {
    let is_breakable = |line: &str| {
        let words = line.trim_start().trim_start_matches(['/', '!', ' ']);
        line.trim_start().starts_with("//") && !words.starts_with('|') && !line.contains("://")
    };
    let numbered = text.lines().enumerate();
    let wide = numbered.filter(|(_, line)| line.chars().count() > COLUMNS && is_breakable(line));
    wide.map(|(index, line)| (index + 1, line.chars().count()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: &str =
        "//! A crate.\nmod ground;\n\nmod middle;\n\nmod top;\npub use top::Item;\n";

    fn climbs_of_middle(text: &str) -> Vec<(usize, String)> {
        climbs(text, &layers(HOUSE)[..=1])
    }

    #[test]
    fn this_project_keeps_the_rules() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(check(&root).map_err(|e| e.to_string()), Ok(()));
    }

    #[test]
    fn the_root_of_the_crate_says_in_which_order_the_rooms_are() {
        assert_eq!(layers(HOUSE), ["ground", "middle", "top"]);
    }

    #[test]
    fn a_room_uses_itself_and_what_is_below() {
        let text = "use super::x;\nuse crate::{\n    ground::{a, b},\n    middle::c,\n};\n";
        assert_eq!(climbs_of_middle(text), []);
    }

    #[test]
    fn a_room_that_uses_one_above_it_is_found() {
        let group = "use crate::{\n    ground::a,\n    top::{b, c},\n};\n";
        assert_eq!(climbs_of_middle(group), [(1, "top".to_owned())]);
        let path = "fn f() {}\nfn g() {\n    crate::top::h();\n}\n";
        assert_eq!(climbs_of_middle(path), [(3, "top".to_owned())]);
    }

    #[test]
    fn what_the_crate_exports_is_no_way_around() {
        let text = "use crate::Item;\n";
        assert_eq!(climbs_of_middle(text), [(1, "Item".to_owned())]);
    }

    #[test]
    fn a_comment_may_speak_of_anything_and_a_macro_of_its_callers_crate() {
        let comment = "//! See [`Item`](crate::Item).\n";
        let of_macro = "macro_rules! m {\n    () => { crate::top::h() };\n}\n";
        assert_eq!(climbs_of_middle(&format!("{comment}{of_macro}")), []);
        let behind = format!("{of_macro}use crate::top::h;\n");
        assert_eq!(climbs_of_middle(&behind), [(4, "top".to_owned())]);
    }

    #[test]
    fn a_line_is_measured_in_characters() {
        let fits = format!("// {}", "ä".repeat(COLUMNS - 3));
        assert_eq!(wide(&fits), []);
        assert_eq!(wide(&format!("\n{fits}x\n")), [(2, COLUMNS + 1)]);
    }

    #[test]
    fn a_row_of_a_table_an_address_and_code_are_not_measured() {
        let long = "x".repeat(COLUMNS);
        for line in [
            format!("/// | {long} |"),
            format!("// https://{long}"),
            long,
        ] {
            assert_eq!(wide(&line), [], "{line}");
        }
    }
}
