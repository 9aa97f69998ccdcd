// SPDX-License-Identifier: GPL-2.0
//! `mig-test test`: everything that must hold, as KTAP with counts in the last line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::AddAssign;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{bail, Result};

use crate::commands::{parts, Part};
use crate::event::{Event, Outcome};
use crate::lab::job::{self, News};
use crate::lab::modules::{self, Goal};
use crate::lab::{format, run_logged, Choice, Kernel, Lab, Machine, Seat};
use crate::narrator::Narrator;
use crate::plan::Batch;
use crate::progress;
use crate::side_by_side::{places, work_off};

/// How many tests ended in which way.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl Counts {
    const PASSED: Counts = Counts {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    const FAILED: Counts = Counts {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    const SKIPPED: Counts = Counts {
        passed: 0,
        failed: 0,
        skipped: 1,
    };
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.skipped += more.skipped;
    }
}

/// A check of the source tree. One that stands for many tests says how they went.
type Check = fn(&Lab) -> Result<Done>;

enum Done {
    Passed,
    Tests(Counts),
    Skipped(String),
}

/// What builds modules that VMs load: done before the first of them boots.
const BUILDS: [(&str, Check); 2] = [
    ("modules-without-warnings", |lab| {
        modules::strict(lab, lab.default_kernel(), Goal::Fresh).map(|()| Done::Passed)
    }),
    ("vendor-guide", vendor_guide),
];

/// The others, which run beside the first VM.
const CHECKS: [(&str, Check); 5] = [
    ("host-tests", host_tests),
    ("host-clippy", host_clippy),
    ("rustfmt", |lab| format::check(lab).map(|()| Done::Passed)),
    ("modules-clippy", |lab| {
        modules::strict(lab, lab.default_kernel(), Goal::Clippy).map(|()| Done::Passed)
    }),
    ("modules-of-other-kernels", other_kernels),
];

/// What is done side by side.
enum Task<'a> {
    /// Checks of the source tree, one after the other: they share cargo, and the folders of modules.
    Checks,
    /// Scenarios in a VM.
    Vm(&'a Batch, Part),
}

/// Runs batches of scenarios, and the checks of the source tree if wanted.
pub fn test(lab: &Lab, tree: bool, batches: &[Batch]) -> Result<()> {
    job::forget_files(lab)?;
    let checks = if tree { BUILDS.len() + CHECKS.len() } else { 0 };
    let scenarios: usize = batches.iter().map(|batch| batch.scenarios.len()).sum();
    println!("KTAP version 1\n1..{}", checks + scenarios);

    let report = Report::default();
    let mut tasks = Vec::new();
    if tree {
        for (name, check) in BUILDS {
            report.check(name, check(lab));
        }
        tasks.push(Task::Checks);
    }
    for batch in batches {
        let names = batch.names();
        match prepared(lab, batch) {
            Ok(parts) => tasks.extend(parts.into_iter().map(|part| Task::Vm(batch, part))),
            Err(error) => report.not_run(batch, &names, &error),
        }
    }
    work_off(places(), tasks, &|place, task| match task {
        Task::Checks => {
            for (name, check) in CHECKS {
                report.check(name, check(lab));
            }
        }
        Task::Vm(batch, part) => report.part(lab, &lab.seat(place), batch, &part),
    });
    let counts = report.counts();
    println!("{counts}");
    if counts.failed > 0 {
        // The counts are the last line and say it all.
        std::process::exit(1);
    }
    Ok(())
}

/// The VMs of a batch, for which everything is ready.
fn prepared(lab: &Lab, batch: &Batch) -> Result<Vec<Part>> {
    lab.install_test_modules(batch.platform.kernel)?;
    let machine = Machine {
        accelerator: lab.accelerator()?,
        platform: batch.platform,
    };
    Ok(parts(machine, &batch.names()))
}

/// What has been printed so far.
#[derive(Default)]
struct Printed {
    number: usize,
    counts: Counts,
}

/// The results, a line each as they come, with its explanation whole.
#[derive(Default)]
struct Report(Mutex<Printed>);

impl Report {
    fn counts(&self) -> Counts {
        self.printed().counts
    }

    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs scenarios in a VM, and reports each.
    fn part(&self, lab: &Lab, seat: &Seat, batch: &Batch, part: &Part) {
        let mut left = part.names.clone();
        let mut narrator = Narrator::default();
        let mut watch = |news: News<'_>| {
            narrator.hear(news);
            if let News::Event(Event::End {
                scenario,
                outcome,
                seconds,
            }) = news
            {
                left.retain(|other| other != scenario);
                self.scenario(&batch.label(scenario), outcome, *seconds);
            }
        };
        if let Err(error) = part.run(lab, seat, &BTreeMap::new(), &mut watch) {
            self.not_run(batch, &left, &error);
        }
    }

    /// Reports scenarios whose VM failed before them.
    fn not_run(&self, batch: &Batch, names: &[String], error: &anyhow::Error) {
        let mut reason = format!("it could not run: {error:#}");
        for name in names {
            self.result(&batch.label(name), Counts::FAILED, "", &reason);
            reason = "it could not run either".into();
        }
    }

    fn check(&self, name: &str, result: Result<Done>) {
        match result {
            Ok(Done::Passed) => self.result(name, Counts::PASSED, "", ""),
            Ok(Done::Skipped(reason)) => {
                self.result(name, Counts::SKIPPED, &format!(" # SKIP {reason}"), "");
            }
            Ok(Done::Tests(counts)) => self.result(name, counts, &format!(" # {counts}"), ""),
            Err(error) => {
                let failed = error.downcast_ref::<TestsFailed>();
                let counts = failed.map_or(Counts::FAILED, |failed| failed.counts);
                self.result(name, counts, "", &format!("{error:#}"));
            }
        }
    }

    fn scenario(&self, name: &str, outcome: &Outcome, seconds: f64) {
        let took = format!(" # {seconds:.1} s");
        match outcome {
            Outcome::Passed => self.result(name, Counts::PASSED, &took, ""),
            Outcome::Skipped { reason } => {
                self.result(name, Counts::SKIPPED, &format!(" # SKIP {reason}"), "");
            }
            Outcome::Failed { reason } => self.result(name, Counts::FAILED, &took, reason),
        }
    }

    /// Prints one result, and adds it up.
    fn result(&self, name: &str, counts: Counts, rest: &str, explanation: &str) {
        let mut printed = self.printed();
        printed.number += 1;
        printed.counts += counts;
        let ok = if counts.failed == 0 { "ok" } else { "not ok" };
        let mut text = format!("{ok} {} {name}{rest}\n", printed.number);
        for line in explanation.lines() {
            let _ = writeln!(text, "# {line}");
        }
        progress::print(&text);
    }
}

/// Some of many tests have failed.
#[derive(Debug, thiserror::Error)]
#[error("{output}")]
struct TestsFailed {
    counts: Counts,
    output: String,
}

fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn host_tests(lab: &Lab) -> Result<Done> {
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--color", "never"]);
    command.current_dir(&lab.project);
    let (ok, output) = run_logged(lab, "testing the host side", "cargo-test", command)?;
    let counts = count(&output);
    match (ok, counts.failed) {
        (true, 0) if counts.passed == 0 => bail!("cargo test ran nothing"),
        (true, _) => Ok(Done::Tests(counts)),
        (false, failed) => {
            let counts = Counts {
                failed: failed.max(1),
                ..counts
            };
            Err(TestsFailed {
                counts,
                output: failures(&output),
            }
            .into())
        }
    }
}

/// Adds up the result lines of all test programs.
fn count(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<usize>() else {
                continue;
            };
            match pair[1] {
                "passed;" => counts.passed += number,
                "failed;" => counts.failed += number,
                "ignored;" => counts.skipped += number,
                _ => {}
            }
        }
    }
    counts
}

/// The part of the output that says what went wrong: errors of the compiler, or failed tests.
fn failures(output: &str) -> String {
    let telling = |line: &&str| {
        line.starts_with("error")
            || line.ends_with("... FAILED")
            || line.contains("panicked at")
            || line.starts_with("  left:")
            || line.starts_with(" right:")
    };
    let lines: Vec<&str> = output.lines().filter(telling).take(60).collect();
    lines.join("\n")
}

/// The guide's driver builds in a tree of its own, and what the guide quotes is in it.
fn vendor_guide(lab: &Lab) -> Result<Done> {
    let mut command = Command::new("sh");
    command.arg(lab.project.join("Documentation/examples/check-guide"));
    let (ok, output) = run_logged(lab, "comparing the vendor guide", "check-guide", command)?;
    if !ok {
        bail!("{}", output.trim());
    }
    modules::build_ours(lab, lab.default_kernel(), &modules::GUIDE, Goal::Fresh)?;
    Ok(Done::Passed)
}

/// The same source builds for the other series, too: the modules, the tests' and the guide's driver.
fn other_kernels(lab: &Lab) -> Result<Done> {
    let others = Kernel::STOCK.into_iter();
    for kernel in others.filter(|kernel| *kernel != lab.default_kernel()) {
        if let Some(reason) = lab.lacks(lab.platform(Choice::kernel(kernel))) {
            return Ok(Done::Skipped(reason.into()));
        }
        modules::strict(lab, kernel, Goal::Fresh)?;
        modules::build_ours(lab, kernel, &modules::GUIDE, Goal::Fresh)?;
    }
    Ok(Done::Passed)
}

fn host_clippy(lab: &Lab) -> Result<Done> {
    if !cargo(&["clippy", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Ok(Done::Skipped(
            "cargo clippy is not installed: rustup component add clippy, or apt install rust-clippy"
                .into(),
        ));
    }
    let mut command = cargo(&["clippy", "--workspace", "--all-targets", "--color", "never"]);
    command
        .args(["--", "-D", "warnings"])
        .current_dir(&lab.project);
    let (ok, output) = run_logged(
        lab,
        "running clippy on the host side",
        "cargo-clippy",
        command,
    )?;
    if !ok {
        bail!("{}", failures(&output));
    }
    Ok(Done::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_of_all_test_programs_are_added_up() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            count(output),
            Counts {
                passed: 5,
                failed: 4,
                skipped: 1
            }
        );
    }

    #[test]
    fn the_last_line_names_what_was_skipped_only_if_something_was() {
        let counts = Counts {
            passed: 7,
            failed: 0,
            skipped: 0,
        };
        assert_eq!(counts.to_string(), "7 passed, 0 failed");
        assert_eq!(
            Counts {
                skipped: 2,
                ..counts
            }
            .to_string(),
            "7 passed, 0 failed, 2 skipped"
        );
    }

    #[test]
    fn a_failed_test_is_found_in_the_output() {
        let output = "test a ... ok\ntest b ... FAILED\nthread 'b' panicked at x.rs:1:2:\n";
        assert_eq!(
            failures(output),
            "test b ... FAILED\nthread 'b' panicked at x.rs:1:2:"
        );
    }
}
