// SPDX-License-Identifier: GPL-2.0
//! The command `mig-test conform`: selects a device, runs the suite in the lab VM or on this
//! machine, and prints the verdicts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use clap::Args;

use super::report::Report;
use super::rule::{self, RULES};
use super::show::{self, Format};
use super::{front, FULL, NAME};
use crate::author::Author;
use crate::commands;
use crate::failure::unusable;
use crate::lab::Lab;
use crate::progress;
use crate::scenario::source::{DEVICE, EXERCISE, MDEV};

/// The scenario that runs the suite.
pub const SCENARIO: &str = "conform";

/// What to check, and how to print it.
#[derive(Args)]
pub struct Selection {
    /// Make a device of this type of mdev; in the lab, --module brings its driver
    #[arg(long, value_name = "PARENT/TYPE")]
    mdev: Option<String>,
    /// Take an existing device, by its folder in sysfs
    #[arg(long, value_name = "FOLDER", conflicts_with = "mdev")]
    device: Option<String>,
    /// Take a driver of this project: mtty_rs, mgpu_rs, or an example of the guide, scratch, edu,
    /// doorbells, digest; or mtty, the kernel's in C
    #[arg(long, value_name = "NAME", conflicts_with_all = ["mdev", "device", "modules"])]
    driver: Option<String>,
    /// Load this in the lab VM: a module built for its kernel, or the folder of a driver's source
    #[arg(long = "module", value_name = "PATH")]
    pub modules: Vec<PathBuf>,
    /// How the device works: an exercise, see Documentation/conformance.md
    #[arg(long, value_name = "FILE")]
    exercise: Option<PathBuf>,
    /// A place in a BAR that keeps what is written to it and migrates, for the uapi rules
    #[arg(long, value_name = "BAR:OFFSET[:WIDTH]")]
    mark: Option<String>,
    /// Run on this machine instead of in the lab. Its device is reset, written and moved
    #[arg(long, conflicts_with = "modules")]
    pub here: bool,
    /// Check only this rule, or this group of rules; several times for several
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    /// Say which rules there are
    #[arg(long)]
    pub list: bool,
    /// The form of the verdicts
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Write the verdicts there instead
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The seed of random moments
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

impl Selection {
    /// Takes what the command line leaves out from the driver's folder.
    pub fn complete(&mut self) -> Result<()> {
        let author = Author::of(&self.modules)?;
        if self.device.is_none() && self.mdev.is_none() {
            self.mdev = author.mdev.clone();
        }
        // An exercise is for one kind of device.
        if self.mdev.is_some() && self.mdev == author.mdev && self.exercise.is_none() {
            self.exercise = author.exercise;
        }
        Ok(())
    }

    /// Returns the options of the scenario.
    pub fn options(&self) -> Result<BTreeMap<String, String>> {
        let mut options = BTreeMap::new();
        let mut set = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                options.insert(name.to_owned(), value.clone());
            }
        };
        set(MDEV, &self.mdev);
        set(DEVICE, &self.device);
        set("driver", &self.driver);
        set("mark", &self.mark);
        set("seed", &self.seed.map(|seed| seed.to_string()));
        if !self.modules.is_empty() && self.mdev.is_none() && self.device.is_none() {
            unusable!(
                "--module brings a driver, but which device is to be checked? Say --mdev \
                 PARENT/TYPE, two folders below /sys/class/mdev_bus; or let the driver's \
                 Cargo.toml say it, as that of mig-test new does."
            );
        }
        if self.here && self.mdev.is_none() && self.device.is_none() && self.driver.is_none() {
            unusable!(
                "--here takes a device of this machine: say --mdev PARENT/TYPE or --device FOLDER."
            );
        }
        if let Some(unknown) = self.rules.iter().find(|name| {
            let name = std::slice::from_ref(*name);
            !RULES.iter().any(|rule| rule::is_chosen(rule.id, name))
        }) {
            unusable!("there is no rule or group {unknown}. See mig-test conform --list.");
        }
        options.insert(
            front::RULES.into(),
            match self.rules.as_slice() {
                [] => rule::groups().join(","),
                rules => rules.join(","),
            },
        );
        if let Some(file) = &self.exercise {
            let text = match fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) => {
                    unusable!("--exercise {}: {error}. Name an exercise.", file.display())
                }
            };
            if let Err(error) = front::check_exercise(&text) {
                unusable!(
                    "--exercise {}: {error:#}. Documentation/conformance.md describes the file.",
                    file.display()
                );
            }
            options.insert(EXERCISE.into(), text);
        }
        options.insert(FULL.into(), "1".into());
        Ok(options)
    }
}

/// Prints the rules.
pub fn list() {
    let mut text = String::new();
    for rule in RULES {
        text += &format!("{:22} {}\n", rule.id, rule.says);
        text += &format!("{:22}   {}; {}\n", "", rule.severity.words(), rule.source);
    }
    progress::print(&text);
}

/// Runs the suite and prints the verdicts.
pub fn run(lab: Option<(&Lab, crate::lab::Platform)>, args: &Selection) -> Result<()> {
    let options = args.options()?;
    let reports = match lab {
        None => {
            let mut tell = |text: &str| eprintln!("{text} ...");
            front::here(&options, &mut tell)?
        }
        Some((lab, platform)) => {
            let names = [SCENARIO.to_owned()];
            let verdicts = commands::brought(lab, platform, &names, &args.modules, &options)?;
            let figures = verdicts.iter().flat_map(|verdict| &verdict.figures);
            let full = figures.filter_map(|figures| figures.get(NAME)).next();
            let Some(full) = full else {
                return commands::judge(&verdicts);
            };
            serde_json::from_value(full.clone()).context("the suite's report")?
        }
    };
    show(&reports, args)
}

fn show(reports: &[Report], args: &Selection) -> Result<()> {
    let text = show::text(reports, args.format)?;
    match &args.report {
        Some(file) => {
            fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?
        }
        None => progress::print(&text),
    }
    let failed: usize = reports.iter().map(|report| report.violated()).sum();
    if failed > 0 {
        bail!("{failed} rules are violated");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Selection,
    }

    fn options(line: &[&str]) -> Result<BTreeMap<String, String>> {
        let line = std::iter::once("conform").chain(line.iter().copied());
        Line::try_parse_from(line)?.args.options()
    }

    #[test]
    fn a_wrong_command_line_is_refused_with_what_to_say() {
        let refused = |line: &[&str]| options(line).unwrap_err().to_string();
        assert!(refused(&["--module", "x"]).contains("--mdev PARENT/TYPE"));
        assert!(refused(&["--here"]).contains("--device FOLDER"));
        assert!(refused(&["--rule", "move.regs"]).contains("--list"));
        assert!(refused(&["--exercise", "/none"]).contains("Name an exercise"));
    }

    #[test]
    fn without_a_choice_every_rule_is_checked() {
        let options = options(&["--mdev", "a/b"]).unwrap();
        let names: Vec<String> = options[front::RULES]
            .split(',')
            .map(str::to_owned)
            .collect();
        assert!(RULES.iter().all(|rule| rule::is_chosen(rule.id, &names)));
    }
}
