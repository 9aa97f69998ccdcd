// SPDX-License-Identifier: GPL-2.0
//! Installs modules so that modprobe finds them and their dependencies in the lab VM: those of the
//! packaged kernel, and in `updates`, which takes precedence, those of this project.
//!
//! The indexes of all modules take seconds to make, and an edit seldom changes them, so they are
//! kept while each module's name, aliases and dependencies are the same. So they may list modules
//! that are not installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::chroot::{place, Chroot};
use super::{apart::Apart, modules};
use super::{cache, seat, stamp, task, Kernel, Lab};
use crate::progress::Progress;

/// The installed modules.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Layout {
    /// The build tree of the kernel.
    instance: String,
    /// The contents of the indexes: file names, and the relevant fields of each module's modinfo.
    indexed: BTreeMap<String, String>,
    /// The files, with their contents as they were built.
    files: BTreeMap<String, String>,
}

/// The changes to make.
#[derive(Debug, PartialEq)]
struct Plan {
    index: bool,
    copy: Vec<String>,
    remove: Vec<String>,
}

impl Layout {
    /// Returns the changes that lead from this to `wanted`.
    fn towards(&self, wanted: &Layout) -> Plan {
        let known = |(name, says): (&String, &String)| self.indexed.get(name) == Some(says);
        let index = self.instance != wanted.instance || !wanted.indexed.iter().all(known);
        let same = |(name, content): &(&String, &String)| self.files.get(*name) == Some(*content);
        let copy = wanted.files.iter().filter(|entry| index || !same(entry));
        let gone = |name: &&String| !index && !wanted.files.contains_key(*name);
        Plan {
            index,
            copy: copy.map(|(name, _)| name.clone()).collect(),
            remove: self.files.keys().filter(gone).cloned().collect(),
        }
    }
}

/// Installs the project's modules, those of `apart` and mainline's C mtty, as built for a kernel,
/// and `more`. Modules of several kernels can be installed at the same time.
pub fn stage(lab: &Lab, kernel: Kernel, apart: &[Apart], more: &[PathBuf]) -> Result<()> {
    let mut found = Vec::new();
    let apart = apart.iter().map(|apart| apart.folder);
    for folder in ["kmod", modules::PEER].into_iter().chain(apart) {
        let folder = format!("{folder}{}", lab.suffix(kernel));
        found.extend(modules::built(&lab.target.join(folder))?);
    }
    found.extend_from_slice(more);

    let tree = lab.components.ready(kernel.tree());
    let abi = tree.fact("abi");
    let layer = seat::modules(&lab.work);
    let mine = layer.join("usr/lib/modules").join(abi);
    let updates = mine.join("updates");
    let record = lab.work.join(format!("modules{}.json", lab.suffix(kernel)));
    let old = fs::read(&record)
        .ok()
        .filter(|_| mine.join("modules.dep.bin").exists());
    let old = old.and_then(|text| serde_json::from_slice::<Layout>(&text).ok());
    let mut old = old.unwrap_or_default();

    let mut wanted = Layout {
        instance: tree.instance().into(),
        ..Layout::default()
    };
    let mut sources = BTreeMap::new();
    for path in found {
        let name = path.file_name().context("a module has a name")?;
        let name = name.to_string_lossy().into_owned();
        let content = fs::read(&path)?;
        wanted
            .indexed
            .insert(name.clone(), says_of_itself(&content));
        wanted.files.insert(name.clone(), stamp::of(&content));
        sources.insert(name, path);
    }
    let plan = old.towards(&wanted);
    if !plan.index && plan.copy.is_empty() && plan.remove.is_empty() {
        return Ok(());
    }
    let progress = Progress::start(if plan.index {
        "indexing the kernel modules"
    } else {
        "installing the kernel modules"
    });
    // Until all is done, nothing is known.
    if let Err(error) = fs::remove_file(&record) {
        anyhow::ensure!(error.kind() == std::io::ErrorKind::NotFound, error);
    }
    if plan.index {
        cache::remove(&mine)?;
    } else {
        // What the indexes know beyond these modules, they still know.
        old.indexed.append(&mut wanted.indexed);
        wanted.indexed = old.indexed;
    }
    fs::create_dir_all(&updates)?;
    for name in &plan.remove {
        fs::remove_file(updates.join(name))?;
    }
    for name in &plan.copy {
        fs::copy(&sources[name], updates.join(name))?;
    }
    let chroot = Chroot::new(&lab.components.ready("root").path)
        .reading(&tree.path, place::KBUILD)
        .writing(&layer, place::OUT);
    let mut script = chroot.script(include_str!("scripts/index-modules.sh"));
    script
        .arg(abi)
        .arg(if plan.index { "index" } else { "keep" })
        .args(&plan.copy);
    task::run("depmod", script, &lab.work.join("depmod.log"), &progress)?;
    fs::write(&record, serde_json::to_string(&wanted)?)?;
    progress.done();
    Ok(())
}

/// Returns the fields of a module that modprobe's indexes contain: its name, dependencies and
/// aliases.
fn says_of_itself(file: &[u8]) -> String {
    const TOLD: [&[u8]; 5] = [b"alias=", b"depends=", b"name=", b"softdep=", b"weakdep="];
    let strings = file.split(|byte| *byte == 0);
    let told = strings.filter(|text| TOLD.iter().any(|key| text.starts_with(key)));
    let told: BTreeSet<_> = told.map(String::from_utf8_lossy).collect();
    told.into_iter().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(files: &[(&str, &str, &str)]) -> Layout {
        let pairs = |pick: fn(&(&str, &str, &str)) -> String| {
            let names = files.iter().map(|file| file.0.to_string());
            names.zip(files.iter().map(pick)).collect()
        };
        Layout {
            instance: "i".into(),
            indexed: pairs(|file| file.1.into()),
            files: pairs(|file| file.2.into()),
        }
    }

    fn plan(index: bool, copy: &[&str], remove: &[&str]) -> Plan {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Plan {
            index,
            copy: owned(copy),
            remove: owned(remove),
        }
    }

    #[test]
    fn an_edit_of_a_body_copies_that_module_and_makes_no_index() {
        let old = layout(&[("a.ko", "depends=", "1"), ("b.ko", "depends=a", "1")]);
        assert_eq!(old.towards(&old), plan(false, &[], &[]));
        let edited = layout(&[("a.ko", "depends=", "2"), ("b.ko", "depends=a", "1")]);
        assert_eq!(old.towards(&edited), plan(false, &["a.ko"], &[]));
    }

    #[test]
    fn a_module_that_is_not_wanted_goes_and_the_index_stays() {
        let old = layout(&[("a.ko", "depends=", "1"), ("b.ko", "depends=a", "1")]);
        let fewer = layout(&[("a.ko", "depends=", "1")]);
        assert_eq!(old.towards(&fewer), plan(false, &[], &["b.ko"]));
    }

    #[test]
    fn a_new_dependency_module_or_kernel_makes_a_new_index() {
        let old = layout(&[("a.ko", "depends=", "1")]);
        let dependent = layout(&[("a.ko", "depends=vfio", "2")]);
        assert_eq!(old.towards(&dependent), plan(true, &["a.ko"], &[]));
        let both = layout(&[("a.ko", "depends=", "1"), ("b.ko", "depends=a", "1")]);
        assert_eq!(old.towards(&both), plan(true, &["a.ko", "b.ko"], &[]));
        let kernel = Layout {
            instance: "j".into(),
            ..layout(&[("a.ko", "depends=", "1")])
        };
        assert_eq!(old.towards(&kernel), plan(true, &["a.ko"], &[]));
    }

    #[test]
    fn what_a_module_says_is_found_wherever_it_stands_and_code_is_not() {
        let file = b"\x7fELF\0code 1\0depends=vfio,mdev\0name=x\0author=me\0";
        let other = b"\x7fELF\0code 2\0name=x\0depends=vfio,mdev\0author=you\0";
        assert_eq!(says_of_itself(file), "depends=vfio,mdev\nname=x");
        assert_eq!(says_of_itself(other), says_of_itself(file));
        assert_ne!(
            says_of_itself(b"\0depends=vfio\0name=x\0"),
            says_of_itself(file)
        );
    }
}
