// SPDX-License-Identifier: GPL-2.0
//! The command that migrates a guest with a driver author's own device.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use mig_common::modules::{OWN, PROGRAM};

use crate::author::Author;
use crate::cli::PlatformArgs;
use crate::commands;
use crate::failure::unusable;
use crate::lab::{brought, job, modules, Hardware, Kernel, Lab, Machine};
use crate::scenario::own_device::{regex, FAIL, GUEST, MOVES, OK, READY};
use crate::scenario::source::MDEV;
use crate::series::SeriesArgs;

/// The scenario that does it.
const SCENARIO: &str = "own-device";
/// ELF's type of a program header with the name of a dynamic linker (PT_INTERP).
const INTERP: u32 = 3;
/// ELF's number of x86-64 (EM_X86_64).
const X86_64: u16 = 62;

#[derive(Args)]
pub struct MigrateArgs {
    /// Load this driver in the lab VM: the folder of its source, which is built in the lab, or a
    /// module built for the lab's kernel. May be given more than once
    #[arg(long = "module", value_name = "PATH", required = true)]
    modules: Vec<PathBuf>,
    /// Make devices of this type: two folders below /sys/class/mdev_bus
    #[arg(long, value_name = "PARENT/TYPE", value_parser = mdev)]
    mdev: Option<String>,
    /// Load this module in the guest: a file, or the folder of its source. May be given more than
    /// once, in the order of loading
    #[arg(long = "guest-module", value_name = "PATH")]
    guest_modules: Vec<PathBuf>,
    /// Start this program in the guest: a static executable for x86-64. The guest has no shell, no
    /// libraries and no other files
    #[arg(long, value_name = "FILE")]
    guest_program: Option<PathBuf>,
    /// Migrate once the guest has printed a line with this; at once if this is left out
    #[arg(long, value_name = "REGEX", value_parser = words)]
    ready: Option<String>,
    /// Pass once the guest has printed a line with this after the last move
    #[arg(long, value_name = "REGEX", value_parser = words)]
    ok: Option<String>,
    /// Fail when the guest prints a line with this
    #[arg(long, value_name = "REGEX", value_parser = words)]
    fail: Option<String>,
    /// Migrate so many times, back and forth
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..))]
    moves: u32,
    /// Write the figures there, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// What the driver's folder says.
    #[arg(skip)]
    author: Author,
    #[command(flatten)]
    series: SeriesArgs,
    #[command(flatten)]
    pub platform: PlatformArgs,
}

fn mdev(text: &str) -> Result<String, String> {
    match text.split('/').collect::<Vec<_>>()[..] {
        [parent, kind] if !parent.is_empty() && !kind.is_empty() => Ok(text.into()),
        _ => Err("a type is PARENT/TYPE, like scratch/scratch-1".into()),
    }
}

fn words(text: &str) -> Result<String, String> {
    match regex(text) {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!(
            "{error:#}. Put a backslash before a character that means itself, like \\(."
        )),
    }
}

impl MigrateArgs {
    /// Takes what the command line leaves out from the driver's folder.
    pub fn complete(&mut self) -> Result<()> {
        let author = Author::of(&self.modules)?;
        if self.mdev.is_none() {
            self.mdev = author.mdev.clone();
        }
        let prints = self.guest_program.is_some() || !self.guest_modules.is_empty();
        if self.mdev == author.mdev && author.guest_program.is_some() && !prints {
            for (words, said) in [
                (&mut self.ready, &author.ready),
                (&mut self.ok, &author.ok),
                (&mut self.fail, &author.fail),
            ] {
                if words.is_none() {
                    words.clone_from(said);
                }
            }
            self.author = author;
        }
        Ok(())
    }

    /// Checks what can be checked without the lab.
    pub fn check(&self) -> Result<()> {
        if self.mdev.is_none() {
            unusable!(
                "which type of mdev? Say --mdev PARENT/TYPE, two folders below \
                 /sys/class/mdev_bus; or let the driver's Cargo.toml say it, as that of mig-test \
                 new does."
            );
        }
        let author = self.author.guest_program.is_some();
        let prints = author || self.guest_program.is_some() || !self.guest_modules.is_empty();
        if prints && self.ok.is_none() {
            unusable!(
                "which words of the guest are a pass? Say --ok REGEX; the program or the module \
                 must print them again and again, because it does not know when it has moved."
            );
        }
        let words = [&self.ready, &self.ok, &self.fail];
        if !prints && words.iter().any(|words| words.is_some()) {
            unusable!(
                "nothing in the guest prints what --ready, --ok and --fail wait for. Add \
                 --guest-program or --guest-module; without them and these, only the guest's \
                 survival is tested."
            );
        }
        if let Some(file) = &self.guest_program {
            let content = match fs::read(file) {
                Ok(content) => content,
                Err(error) => unusable!("--guest-program {}: {error}.", file.display()),
            };
            if let Some(wrong) = misfit(&content) {
                unusable!("--guest-program {}: it {wrong}.", file.display());
            }
        }
        Ok(())
    }

    /// Returns the options of the scenario.
    fn options(&self) -> BTreeMap<String, String> {
        let moves = self.moves.to_string();
        let options = [
            (MDEV, self.mdev.as_ref()),
            (READY, self.ready.as_ref()),
            (OK, self.ok.as_ref()),
            (FAIL, self.fail.as_ref()),
            (MOVES, Some(&moves)),
        ];
        let given = options
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given
            .map(|(name, value)| (name.into(), value.clone()))
            .collect()
    }

    /// Puts the guest's files where the scenario finds them.
    fn fill(&self, lab: &Lab, kernel: Kernel) -> Result<()> {
        let folder = lab.seat(1).own().join("job").join(GUEST);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let program = match &self.guest_program {
            Some(program) => Some(program.clone()),
            None => self.author.build_guest_program(&lab.target)?,
        };
        if let Some(program) = program {
            if let Some(wrong) = misfit(&fs::read(&program)?) {
                unusable!("{}: it {wrong}.", program.display());
            }
            copy(&program, &folder.join(PROGRAM))?;
        }
        let mut names = String::new();
        if !self.guest_modules.is_empty() {
            modules::build(lab, kernel, modules::Goal::Modules)?;
        }
        for module in brought::find(lab, kernel, "--guest-module", &self.guest_modules)? {
            let name = module.file_name().context("a module has a name")?;
            copy(&module, &folder.join(name))?;
            names += &format!("{}\n", name.to_string_lossy());
        }
        Ok(fs::write(folder.join(OWN), names)?)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// Migrates the guest.
pub fn run(lab: &Lab, args: &MigrateArgs) -> Result<()> {
    job::forget_files(lab)?;
    let platform = lab.platform(args.platform.choice());
    lab.require(platform.kernel)?;
    lab.build_test_modules(platform.kernel, &[])?;
    let current = modules::current(lab, platform.kernel)?;
    let options = args.options();
    let options = brought::install(lab, platform.kernel, &current, &args.modules, &options)?;
    args.fill(lab, platform.guest)?;
    let machine = Machine {
        accelerator: lab.accelerator()?,
        platform,
        hardware: Hardware::Usual,
    };
    let names = [SCENARIO.to_owned()];
    let report = args.report.as_deref();
    commands::run_all(lab, machine, &names, &options, &args.series, report)
}

/// Returns the reason why a guest without any other file cannot run a program, if it cannot.
fn misfit(file: &[u8]) -> Option<&'static str> {
    let number = |at: usize, len: usize| {
        let bytes = file.get(at..at.checked_add(len)?)?;
        let fold = |high: u64, low: &u8| high << 8 | u64::from(*low);
        Some(bytes.iter().rev().fold(0, fold))
    };
    if file.starts_with(b"#!") {
        return Some("is a script, and the guest has no shell. Build a static executable");
    }
    // The class is 64 bits, the order little-endian (<linux/elf.h>).
    if !file.starts_with(b"\x7fELF\x02\x01") || number(18, 2) != Some(X86_64.into()) {
        return Some("is no executable for x86-64. Build a static one");
    }
    let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let header = |i: u64| {
        start
            .checked_add(i * size)
            .and_then(|at| usize::try_from(at).ok())
    };
    let mut kinds = (0..count).filter_map(|i| number(header(i)?, 4));
    kinds.any(|kind| kind == u64::from(INTERP)).then_some(
        "needs a dynamic linker, and the guest has no libraries. Link it with -static, or in Rust \
         with -C target-feature=+crt-static",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the head of an executable whose program headers are of these kinds.
    fn executable(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = X86_64 as u8;
        file[32] = 64;
        file[54] = 56;
        file[56] = kinds.len() as u8;
        for kind in kinds {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn a_static_executable_fits() {
        assert_eq!(misfit(&executable(&[1, 1, 2])), None);
    }

    #[test]
    fn what_a_guest_without_files_cannot_run_is_refused_with_what_to_do() {
        assert!(misfit(&executable(&[1, INTERP]))
            .unwrap()
            .contains("-static"));
        assert!(misfit(b"#!/bin/sh\n").unwrap().contains("no shell"));
        assert!(misfit(b"text").unwrap().contains("no executable"));
        let mut foreign = executable(&[1]);
        foreign[18] = 183;
        assert!(misfit(&foreign).unwrap().contains("x86-64"));
    }

    #[test]
    fn a_type_is_a_parent_and_a_name() {
        assert!(mdev("scratch/scratch-1").is_ok());
        for bad in ["scratch", "/x", "x/", "a/b/c", ""] {
            assert!(mdev(bad).unwrap_err().contains("scratch/scratch-1"));
        }
    }

    #[test]
    fn a_bad_regular_expression_is_refused_with_its_text() {
        assert!(words("0 wrong$").is_ok());
        assert!(words("(").unwrap_err().contains("\"(\""));
    }
}
