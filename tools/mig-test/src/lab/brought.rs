// SPDX-License-Identifier: GPL-2.0
//! Modules of the user's own driver under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::apart::Apart;
use super::modules::{self, Goal};
use super::{stage, stamp, Kernel, Lab};
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
    let files = find(lab, kernel, "--module", given)?;
    if !files.is_empty() {
        let names = files.iter().flat_map(|file| file.file_stem());
        let names = names.map(|name| name.to_string_lossy().replace('-', "_"));
        options.insert(MODULES.into(), names.collect::<Vec<_>>().join(","));
    }
    stage::stage(lab, kernel, apart, &files)?;
    Ok(options)
}

/// Returns the modules of `given`, which are files, or folders of source that are built here. An
/// error names the option of the command line.
pub fn find(lab: &Lab, kernel: Kernel, option: &str, given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        match fs::canonicalize(path) {
            Ok(path) if path.is_dir() => files.extend(build(lab, kernel, &path, Goal::Fresh)?),
            Ok(path) => files.push(path),
            Err(error) => unusable!(
                "{option} {}: {error}. Name a module, or the folder of its source.",
                path.display()
            ),
        }
    }
    if !files.is_empty() {
        fit(lab, kernel, &files)?;
    }
    Ok(files)
}

/// Installs the modules for a shell in the lab VM, and prints how to load them.
pub fn install_for_shell(lab: &Lab, kernel: Kernel, given: &[PathBuf]) -> Result<()> {
    lab.build_test_modules(kernel, &[])?;
    let current = modules::current(lab, kernel)?;
    let options = install(lab, kernel, &current, given, &BTreeMap::new())?;
    let names = options
        .get(MODULES)
        .into_iter()
        .flat_map(|names| names.split(','));
    names.for_each(|name| println!("in the VM: modprobe {name}"));
    Ok(())
}

/// Builds folders of source against the project's modules, or runs clippy on them. Any warning of
/// clippy is an error. Prints where the modules are.
pub fn make(lab: &Lab, kernel: Kernel, folders: &[PathBuf], goal: Goal) -> Result<()> {
    modules::ensure(lab, kernel, goal)?;
    for path in folders {
        let source = match fs::canonicalize(path) {
            Ok(source) if source.is_dir() => source,
            Ok(_) => unusable!(
                "--module {}: name the folder of its source.",
                path.display()
            ),
            Err(error) => unusable!("--module {}: {error}.", path.display()),
        };
        for file in build(lab, kernel, &source, goal)? {
            println!("{}", file.display());
        }
    }
    Ok(())
}

/// Returns the folder for the build of a source folder: one for each, whatever their names.
fn folder(source: &Path) -> String {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    let digest = stamp::of(source.as_os_str().as_encoded_bytes());
    format!("kmod-brought-{name}-{}", &digest[..8])
}

/// Builds a folder against the project's modules, or runs clippy on it. Returns the modules.
fn build(lab: &Lab, kernel: Kernel, source: &Path, goal: Goal) -> Result<Vec<PathBuf>> {
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
    let folder = folder(source);
    let what = match goal {
        Goal::Clippy => "running clippy on",
        _ => "building",
    };
    let warnings = modules::build_apart(
        lab,
        kernel,
        &Apart {
            what: &format!("{what} {name}"),
            source: &source.to_string_lossy(),
            folder: &folder,
        },
        goal,
    )?;
    if goal == Goal::Clippy {
        modules::deny(&warnings)?;
        return Ok(Vec::new());
    }
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
    fn folders_of_one_name_are_built_apart() {
        let [one, other] = ["/a/card", "/b/card"].map(|path| folder(Path::new(path)));
        assert!(one.starts_with("kmod-brought-card-") && other.starts_with("kmod-brought-card-"));
        assert_ne!(one, other);
        assert_eq!(one, folder(Path::new("/a/card")));
    }

    #[test]
    fn what_is_no_module_is_called_so() {
        for file in [&b""[..], b"\0vermagic=7.2.1\0", b"\x7fELF\0name=x\0"] {
            assert_eq!(misfit(file, None).unwrap(), "is no kernel module");
        }
    }
}
