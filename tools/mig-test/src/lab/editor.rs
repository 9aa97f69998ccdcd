// SPDX-License-Identifier: GPL-2.0
//! The description of the kernel side for rust-analyzer: `rust-project.json`.
//!
//! The kernel's build system describes the kernel's crates, and each file that a Kbuild names. It
//! does not know the SDK's crates by name, nor who uses them; this adds both, and a driver in a
//! tree of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{json, Value};

use super::chroot::place;
use super::modules::{self, Goal};
use super::{Kernel, Lab};
use crate::failure::unusable;

/// The roots of the SDK's crates.
const SDK: &str = "sdk/kernel/lib.rs";
const MODEL: &str = "sdk/model/src/lib.rs";

/// Writes `rust-project.json` with this machine's paths: into the project's folder, or into that
/// of a driver's source.
pub fn describe(lab: &Lab, driver: Option<&Path>) -> Result<()> {
    let kernel = lab.default_kernel();
    let (folder, roots) = match driver.map(fs::canonicalize) {
        None => (lab.project.clone(), Vec::new()),
        Some(Ok(folder)) if folder.is_dir() => {
            let roots = roots(&folder)?;
            if roots.is_empty() {
                unusable!(
                    "no Kbuild in {} makes a module of a Rust file. The vendor guide says what \
                     goes into it.",
                    folder.display()
                );
            }
            (folder, roots)
        }
        Some(Ok(file)) => unusable!(
            "--module {}: name the folder of its source.",
            file.display()
        ),
        Some(Err(error)) => unusable!("--module: {error}. Name the folder of its source."),
    };
    let mut description = kernel_side(lab, kernel)?;
    complete(&mut description, &lab.project, &roots)?;
    let file = folder.join("rust-project.json");
    let text = serde_json::to_string(&description)? + "\n";
    fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

/// Returns what the kernel's build system says of the project.
fn kernel_side(lab: &Lab, kernel: Kernel) -> Result<Value> {
    modules::build(lab, kernel, Goal::Analyzer)?;
    let made = lab.target.join("kmod/rust-project.json");
    let text = fs::read_to_string(&made).with_context(|| made.display().to_string())?;
    let path = |component: &str| lab.components.ready(component).path.display().to_string();
    let text = text
        .replace(place::KBUILD, &path(kernel.tree()))
        .replace(place::SOURCE, &lab.project.display().to_string())
        .replace(place::OUT, &lab.target.join("kmod").display().to_string())
        .replace("\"/usr/", &format!("\"{}/usr/", path("root")));
    Ok(serde_json::from_str(&text)?)
}

/// Returns the Rust files below a folder that a Kbuild beside them makes a module of.
fn roots(folder: &Path) -> Result<Vec<PathBuf>> {
    let made = ["Kbuild", "Makefile"].map(|file| fs::read_to_string(folder.join(file)));
    let made = made.map(Result::unwrap_or_default).concat();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let object = path.with_extension("o");
        let object = object.file_name().unwrap_or_default().to_string_lossy();
        if entry.file_type()?.is_dir() {
            found.extend(roots(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && made.split_whitespace().any(|word| word == object)
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Adds the SDK's names, and the crates of a driver with these roots, to a description.
fn complete(description: &mut Value, project: &Path, roots: &[PathBuf]) -> Result<()> {
    let crates = description["crates"].as_array_mut();
    let crates = crates.context("rust-project.json has no crates")?;
    let root = |path: &Path| json!(path.display().to_string());
    let is_sdk = |one: &Value| one["root_module"] == root(&project.join(SDK));
    let sdk = crates.iter().position(is_sdk);
    let sdk = sdk.context("rust-project.json lacks the SDK")?;
    crates[sdk]["display_name"] = json!("mdev_sdk");
    let template = crates[sdk].clone();
    let like_sdk = |name: &str, path: &Path| {
        let mut new = template.clone();
        new["display_name"] = json!(name);
        new["root_module"] = root(path);
        new
    };
    for path in roots {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        // The project's example is described already.
        if crates.iter().all(|one| one["root_module"] != root(path)) {
            crates.push(like_sdk(&name, path));
        }
    }
    let model = crates.len();
    let within = |one: &Value| {
        let path = one["root_module"].as_str().unwrap_or_default();
        Path::new(path).starts_with(project) || roots.iter().any(|root| root == Path::new(path))
    };
    for (index, one) in crates.iter_mut().enumerate().filter(|(_, one)| within(one)) {
        let deps = one["deps"].as_array_mut().context("a crate has no deps")?;
        deps.push(json!({ "crate": model, "name": "mdev_model" }));
        if index != sdk {
            deps.push(json!({ "crate": sdk, "name": "mdev_sdk" }));
        }
    }
    crates.push(like_sdk("mdev_model", &project.join(MODEL)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(roots: &[PathBuf]) -> Vec<(String, Vec<String>)> {
        let one = |name: &str, root: &str| {
            json!({ "display_name": name, "root_module": root,
                "deps": [{ "crate": 0, "name": "core" }] })
        };
        let mut description = json!({ "crates": [
            json!({ "display_name": "core", "root_module": "/core.rs", "deps": [] }),
            one("lib", "/p/sdk/kernel/lib.rs"),
            one("sample", "/p/drivers/sample.rs"),
        ] });
        complete(&mut description, Path::new("/p"), roots).unwrap();
        let crates = description["crates"].as_array().unwrap();
        let name = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let describe = |one: &Value| {
            let deps = one["deps"].as_array().unwrap().iter();
            let deps = deps.inspect(|dep| {
                let index = dep["crate"].as_u64().unwrap() as usize;
                assert_eq!(crates[index]["display_name"], dep["name"]);
            });
            (
                name(one, "display_name"),
                deps.map(|dep| name(dep, "name")).collect(),
            )
        };
        crates.iter().map(describe).collect()
    }

    #[test]
    fn samples_and_a_driver_elsewhere_see_the_sdk_and_its_model() {
        let crates = described(&["/elsewhere/card.rs".into()]);
        let names: Vec<_> = crates.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["core", "mdev_sdk", "sample", "card", "mdev_model"]);
        let (core, sdk, model) = ("core", "mdev_sdk", "mdev_model");
        assert_eq!(crates[1].1, [core, model]);
        assert_eq!(crates[2].1, [core, model, sdk]);
        assert_eq!(crates[3].1, [core, model, sdk]);
        assert_eq!(crates[4].1, [core]);
    }

    #[test]
    fn a_root_is_a_file_that_the_kbuild_beside_it_names() {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("Kbuild", "obj-m := card.o\n"),
            ("card.rs", ""),
            ("other.rs", ""),
        ] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        assert_eq!(
            roots(folder.path()).unwrap(),
            [folder.path().join("card.rs")]
        );
    }
}
