// SPDX-License-Identifier: GPL-2.0
//! `mig-test test`: all checks and scenarios, as KTAP with counts in the last line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::checks::{Check, Done, TestsFailed, BUILDS, HOST, MODULES};
use crate::commands::{parts, Part};
use crate::counts::Counts;
use crate::event::{Event, Outcome};
use crate::lab::job::{self, News};
use crate::lab::{Hardware, Lab, Machine, Seat};
use crate::narrator::Narrator;
use crate::plan::Batch;
use crate::progress;
use crate::side_by_side::{places, work_off};

/// The most scenarios of a VM of the last batch. Its VMs are small, so that no processor is idle
/// for long at the end.
const LAST: usize = 6;

/// A task to run in parallel with others.
enum Task<'a> {
    /// Checks, one after the other, because they share cargo or the folders of modules.
    Checks(&'static [(&'static str, Check)]),
    /// The modules of all VMs, by these checks or as they are needed. What uses them follows.
    Modules(&'static [(&'static str, Check)]),
    /// Scenarios in a VM.
    Vm(&'a Batch, Part),
}

/// Runs batches of scenarios, and the checks of the source tree if wanted.
pub fn test(lab: &Lab, tree: bool, batches: &[Batch]) -> Result<()> {
    job::forget_files(lab)?;
    let (mut checks, mut tasks) = (0, vec![Task::Modules(&[])]);
    if tree {
        checks = HOST.len() + BUILDS.len() + MODULES.len();
        tasks = vec![Task::Modules(&BUILDS), Task::Checks(&HOST)];
    }
    let scenarios: usize = batches.iter().map(|batch| batch.scenarios.len()).sum();
    println!("KTAP version 1\n1..{}", checks + scenarios);

    let report = Report::default();
    work_off(places(), tasks, &|place, task| {
        match task {
            Task::Checks(checks) => report.checks(lab, checks),
            Task::Modules(checks) => {
                report.checks(lab, checks);
                return report.after_modules(lab, tree, batches);
            }
            Task::Vm(batch, part) => report.part(lab, &lab.seat(place), batch, &part),
        }
        Vec::new()
    });
    let counts = report.counts();
    println!("{counts}");
    if counts.failed > 0 {
        // The counts are the last line and say it all.
        std::process::exit(1);
    }
    Ok(())
}

/// The VMs of a batch whose components are ready.
fn prepared(lab: &Lab, batch: &Batch) -> Result<Vec<Part>> {
    if lab.lacks(batch.platform).is_none() {
        lab.install_test_modules(batch.platform.kernel)?;
    }
    let machine = Machine {
        accelerator: lab.accelerator()?,
        platform: batch.platform,
        hardware: Hardware::Usual,
    };
    Ok(parts(machine, &batch.names()))
}

/// The state of the output.
#[derive(Default)]
struct Printed {
    number: usize,
    counts: Counts,
}

/// Prints results, each with its explanation, as they arrive.
#[derive(Default)]
struct Report(Mutex<Printed>);

impl Report {
    fn counts(&self) -> Counts {
        self.printed().counts
    }

    fn printed(&self) -> MutexGuard<'_, Printed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tasks that use modules: VMs, and checks of the source tree if wanted.
    fn after_modules<'a>(&self, lab: &Lab, tree: bool, batches: &'a [Batch]) -> Vec<Task<'a>> {
        let mut tasks = Vec::new();
        for (index, batch) in batches.iter().enumerate() {
            let is_last = index + 1 == batches.len();
            if tree && is_last {
                // Beside VMs, because they take minutes; small VMs are what fills the end.
                tasks.push(Task::Checks(&MODULES));
            }
            let most = if is_last { LAST } else { usize::MAX };
            match prepared(lab, batch) {
                Ok(parts) => {
                    let pieces = parts.into_iter().flat_map(|part| part.pieces(most));
                    tasks.extend(pieces.map(|part| Task::Vm(batch, part)));
                }
                Err(error) => self.not_run(batch, &batch.names(), &error),
            }
        }
        tasks
    }

    /// Runs checks and reports each.
    fn checks(&self, lab: &Lab, checks: &[(&str, Check)]) {
        for (name, check) in checks {
            let start = Instant::now();
            let result = check(lab);
            self.check(name, result, start.elapsed());
        }
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

    /// Reports scenarios whose VM failed before they ran.
    fn not_run(&self, batch: &Batch, names: &[String], error: &anyhow::Error) {
        let mut reason = format!("it could not run: {error:#}");
        for name in names {
            self.result(&batch.label(name), Counts::FAILED, "", &reason);
            reason = "it could not run either".into();
        }
    }

    fn check(&self, name: &str, result: Result<Done>, took: Duration) {
        let took = format!(" # {:.1} s", took.as_secs_f64());
        match result {
            Ok(Done::Passed) => self.result(name, Counts::PASSED, &took, ""),
            Ok(Done::Skipped(reason)) => {
                self.result(name, Counts::SKIPPED, &format!(" # SKIP {reason}"), "");
            }
            Ok(Done::Tests(counts)) => {
                self.result(name, counts, &format!("{took}, {counts}"), "");
            }
            Err(error) => {
                let failed = error.downcast_ref::<TestsFailed>();
                let counts = failed.map_or(Counts::FAILED, |failed| failed.counts);
                self.result(name, counts, &took, &format!("{error:#}"));
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

    /// Prints and counts one result.
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
