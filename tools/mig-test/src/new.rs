// SPDX-License-Identifier: GPL-2.0
//! The command that makes a driver: a copy of Documentation/examples/skeleton under another name,
//! in a tree of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::failure::unusable;

/// The name that the copy replaces.
const SKELETON: &str = "skeleton";
/// The same as a type has it.
const SKELETON_TYPE: &str = "Skeleton";
/// The longest name: a stream has 16 bytes for that of a format, and sysfs adds `-1` to it.
const LONGEST: usize = 14;
/// Names that are crates of the kernel or of the SDK, whose modules would be mistaken for the
/// driver, or that a build folder has.
const TAKEN: &[&str] = &[
    "alloc",
    "build_error",
    "core",
    "device",
    "ffi",
    "guest",
    "kernel",
    "macros",
    "mdev_model",
    "mdev_sdk",
    "mgpu_rs",
    "mtty_rs",
    "pin_init",
    "proc_macro",
    "std",
    "target",
    "test",
    "tests",
    "uapi",
];
/// Words that Rust keeps for itself.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// The skeleton's files as they are, except for names.
const FILES: &[(&str, &str)] = &[
    (
        "README.md",
        include_str!("../../../Documentation/examples/skeleton/README.md"),
    ),
    (
        "Kbuild",
        include_str!("../../../Documentation/examples/skeleton/Kbuild"),
    ),
    (
        "skeleton.rs",
        include_str!("../../../Documentation/examples/skeleton/skeleton.rs"),
    ),
    (
        "device.rs",
        include_str!("../../../Documentation/examples/skeleton/device.rs"),
    ),
    (
        "guest.rs",
        include_str!("../../../Documentation/examples/skeleton/guest.rs"),
    ),
    (
        "exercise.toml",
        include_str!("../../../Documentation/examples/skeleton/exercise.toml"),
    ),
    (
        "tests/device.rs",
        include_str!("../../../Documentation/examples/skeleton/tests/device.rs"),
    ),
    (".cargo/config.toml", include_str!("new/config.toml")),
    (".gitignore", include_str!("new/gitignore")),
    ("rustfmt.toml", include_str!("../../../rustfmt.toml")),
];
/// The skeleton's manifest, of which a copy has the second half.
const MANIFEST: &str = include_str!("../../../Documentation/examples/skeleton/Cargo.toml");
/// The first line of that half.
const COMMON: &str = "# Kbuild compiles";

#[derive(Args)]
pub struct NewArgs {
    /// The driver's name, also that of its module and of its parent device: small letters, digits
    /// and underscores. A path makes the folder elsewhere
    #[arg(value_name = "NAME")]
    path: PathBuf,
}

/// Makes the driver's folder, and says how to go on.
pub fn run(args: &NewArgs) -> Result<()> {
    let name = args.path.file_name().unwrap_or_default().to_string_lossy();
    if let Some(wrong) = misnomer(&name) {
        unusable!("{}: a driver's name {wrong}.", args.path.display());
    }
    if args.path.exists() {
        unusable!(
            "{} is there already. Choose another name, or remove it.",
            args.path.display()
        );
    }
    make(&args.path, &name)?;
    let path = args.path.display();
    println!(
        "{path} is a driver that migrates. Next, each in a virtual machine:\n\n  \
         mig-test conform --module {path}    build it, and check what a migration depends on\n  \
         mig-test migrate --module {path}    migrate a guest that uses it\n\n\
         Then read {path}/README.md, and change {path}/device.rs."
    );
    Ok(())
}

/// Writes the files of a driver.
fn make(folder: &Path, name: &str) -> Result<()> {
    for (file, text) in FILES
        .iter()
        .map(|(file, text)| (*file, (*text).to_owned()))
        .chain([("Cargo.toml", manifest())])
    {
        let file = folder.join(renamed(file, name));
        let parent = file.parent().context("a file is in a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        fs::write(&file, renamed(&text, name))
            .with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Returns the manifest of a package that is in no workspace.
fn manifest() -> String {
    let common = MANIFEST.find(COMMON).unwrap_or(0);
    let common = MANIFEST[common..].replace("[lints]\nworkspace = true\n\n", "");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sdk/model");
    let model = fs::canonicalize(model).unwrap_or_else(|_| model.into());
    let common = common.replace("../../../sdk/model", &model.to_string_lossy());
    format!(
        "[package]\nname = \"{SKELETON}_model\"\ndescription = \"The device, without a kernel\"\n\
         version = \"0.1.0\"\nedition = \"2021\"\nlicense = \"GPL-2.0\"\npublish = false\n\n\
         [workspace]\n\n{common}"
    )
}

/// Returns a text of the skeleton's with another name in it.
fn renamed(text: &str, name: &str) -> String {
    text.replace(SKELETON, name)
        .replace(SKELETON_TYPE, &camel_case(name))
}

fn camel_case(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect()
}

/// Returns the rule that a name breaks, if it breaks one.
fn misnomer(name: &str) -> Option<String> {
    let mut letters = name.chars();
    let begins = letters
        .next()
        .is_some_and(|letter| letter.is_ascii_lowercase());
    let goes_on = letters
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if !begins || !goes_on || name.ends_with('_') || name.contains("__") {
        Some("is small letters, digits and single underscores between them, like my_card".into())
    } else if name.len() > LONGEST {
        Some(format!("has at most {LONGEST} characters"))
    } else if TAKEN.contains(&name) || KEYWORDS.contains(&name) {
        Some("must be no word of Rust, and no crate of the kernel's or the SDK's".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_not_build_or_load_is_refused() {
        for good in ["card", "my_card", "nic2", "a23456789_1234"] {
            assert_eq!(misnomer(good), None, "{good}");
        }
        for bad in [
            "", "Card", "2d", "my-card", "_card", "card_", "my__card", "karte.ä",
        ] {
            assert!(misnomer(bad).unwrap().contains("like my_card"), "{bad}");
        }
        assert!(misnomer("a23456789_12345").unwrap().contains("14"));
        assert!(misnomer("kernel").is_some() && misnomer("match").is_some());
    }

    #[test]
    fn a_copy_has_its_own_name_everywhere_and_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        let card = folder.path().join("my_card");
        make(&card, "my_card").unwrap();
        for (file, _) in FILES.iter().chain(&[("Cargo.toml", "")]) {
            let file = card.join(renamed(file, "my_card"));
            let text = fs::read_to_string(&file).unwrap();
            let lower = text.to_lowercase();
            assert!(!lower.contains(SKELETON), "{}", file.display());
        }
        let device = fs::read_to_string(card.join("device.rs")).unwrap();
        assert!(device.contains("pub struct MyCard {"));
        let manifest = fs::read_to_string(card.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("\n[workspace]\n") && !manifest.contains("workspace = true"));
        assert!(manifest.contains("mdev = \"my_card/my_card-1\""));
        let model = manifest.split('"').find(|word| word.ends_with("sdk/model"));
        assert!(Path::new(model.unwrap()).join("Cargo.toml").exists());
    }

    #[test]
    fn a_type_is_named_as_types_are() {
        assert_eq!(camel_case("my_card2"), "MyCard2");
    }
}
