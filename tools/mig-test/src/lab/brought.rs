// SPDX-License-Identifier: GPL-2.0
//! Modules of the user's own driver under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::modules::{self, Apart, Goal};
use super::{stage, Kernel, Lab};
use crate::failure::unusable;
use crate::scenario::source::{DEVICE, MDEV, MODULES};

/// A module of this project, whose vermagic every module for the same kernel shares.
const OURS: &str = "sdk/kernel/mdev_sdk.ko";

/// Checks that the options name what to test of the modules in `given`.
pub fn check(given: &[PathBuf], options: &BTreeMap<String, String>) -> Result<()> {
    if !given.is_empty() && !options.contains_key(MDEV) && !options.contains_key(DEVICE) {
        unusable!(
            "--module brings a driver, but which device is to be tested? Say --option \
             {MDEV}=PARENT/TYPE, two folders below /sys/class/mdev_bus, or --option {DEVICE}=FOLDER \
             for one in sysfs."
        );
    }
    Ok(())
}

/// Installs the modules of the project, those of `apart` and those of `given`: files, or folders of
/// source. Returns the options, with those that make the scenarios load the modules.
pub fn install(
    lab: &Lab,
    kernel: Kernel,
    apart: &[Apart],
    given: &[PathBuf],
    options: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut options = options.clone();
    let mut files = Vec::new();
    for path in given {
        match fs::canonicalize(path) {
            Ok(path) if path.is_dir() => files.extend(build(lab, kernel, &path)?),
            Ok(path) => files.push(path),
            Err(error) => unusable!(
                "--module {}: {error}. Name a module, or the folder of its source.",
                path.display()
            ),
        }
    }
    if !files.is_empty() {
        fit(lab, kernel, &files)?;
        let names = files.iter().flat_map(|file| file.file_stem());
        let names = names.map(|name| name.to_string_lossy().replace('-', "_"));
        options.insert(MODULES.into(), names.collect::<Vec<_>>().join(","));
    }
    stage::stage(lab, kernel, apart, &files)?;
    Ok(options)
}

/// Builds a folder against the project's modules. Returns the modules.
fn build(lab: &Lab, kernel: Kernel, source: &Path) -> Result<Vec<PathBuf>> {
    if !["Kbuild", "Makefile"]
        .iter()
        .any(|file| source.join(file).is_file())
    {
        unusable!(
            "{} has no Kbuild. The vendor guide says what goes into it.",
            source.display()
        );
    }
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let folder = format!("kmod-brought-{name}");
    let warnings = modules::build_apart(
        lab,
        kernel,
        &Apart {
            what: &format!("building {name}"),
            source: &source.to_string_lossy(),
            folder: &folder,
        },
        Goal::Fresh,
    )?;
    for warning in warnings {
        eprintln!("{warning}");
    }
    let files = modules::built(&lab.target.join(format!("{folder}{}", lab.suffix(kernel))))?;
    ensure!(
        !files.is_empty(),
        "{} has built no module",
        source.display()
    );
    Ok(files)
}

/// Refuses modules that the kernel of the lab VM would not load.
fn fit(lab: &Lab, kernel: Kernel, files: &[PathBuf]) -> Result<()> {
    let ours = lab.target.join(format!("kmod{}", lab.suffix(kernel)));
    let ours = ours.join(OURS);
    let ours = vermagic(&fs::read(&ours).with_context(|| ours.display().to_string())?);
    for file in files {
        if let Some(wrong) = misfit(&fs::read(file)?, ours.as_deref()) {
            unusable!(
                "{} {wrong}. Build it in the lab: name the folder of its source instead.",
                file.display()
            );
        }
    }
    Ok(())
}

/// Returns the reason why the kernel that `ours` was built for cannot load a file, if it cannot.
fn misfit(file: &[u8], ours: Option<&str>) -> Option<String> {
    let Some(theirs) = vermagic(file) else {
        return Some("is no kernel module".into());
    };
    let ours = ours.unwrap_or("nothing known");
    (theirs != ours).then(|| {
        format!("does not fit the lab's kernel: its vermagic is \"{theirs}\", and not \"{ours}\"")
    })
}

/// Returns a module's vermagic.
fn vermagic(file: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\0vermagic=";
    if !file.starts_with(b"\x7fELF") {
        return None;
    }
    let at = file.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    let text = file[at..].split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\x7fELF...\0name=x\0vermagic=7.2.1 SMP mod_unload \0...";

    #[test]
    fn a_module_for_the_same_kernel_fits() {
        assert_eq!(vermagic(MODULE).unwrap(), "7.2.1 SMP mod_unload");
        assert_eq!(misfit(MODULE, Some("7.2.1 SMP mod_unload")), None);
    }

    #[test]
    fn a_module_for_another_kernel_is_refused_with_both_vermagics() {
        let wrong = misfit(MODULE, Some("7.2.2 SMP")).unwrap();
        assert!(wrong.contains("vermagic is \"7.2.1 SMP mod_unload\", and not \"7.2.2 SMP\""));
    }

    #[test]
    fn what_is_no_module_is_called_so() {
        for file in [&b""[..], b"\0vermagic=7.2.1\0", b"\x7fELF\0name=x\0"] {
            assert_eq!(misfit(file, None).unwrap(), "is no kernel module");
        }
    }
}
