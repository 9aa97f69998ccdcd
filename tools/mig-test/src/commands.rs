// SPDX-License-Identifier: GPL-2.0
//! The commands that run scenarios and print figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde_json::{json, Map, Value};

use crate::cli::RunArgs;
use crate::event::{Event, Outcome};
use crate::failure::unusable;
use crate::lab::job::{self, News, Verdict, Watch};
use crate::lab::{apart, brought, modules, Accelerator, Hardware, Lab, Machine, Platform, Seat};
use crate::narrator::Narrator;
use crate::progress;
use crate::series::{self, Counts, Load, SeriesArgs, Turn};
use crate::{scenario, table};

/// Scenarios that measure, and therefore need a clock that counts instructions.
const BENCH: &str = "bench-";

/// Returns whether a scenario is a benchmark.
pub fn is_bench(name: &str) -> bool {
    name.starts_with(BENCH)
}

/// Prints the names of all scenarios.
pub fn list() {
    let mut text = String::new();
    for scenario in scenario::ALL {
        let options = match scenario.options() {
            [] => String::new(),
            names => format!(" (options: {})", names.join(", ")),
        };
        text += &format!("{:24} {}{options}\n", scenario.name, scenario.about);
    }
    progress::print(&text);
}

/// Checks that every name is that of a scenario, and every option one of theirs.
pub fn check(names: &[String], options: &BTreeMap<String, String>) -> Result<()> {
    let mut scenarios = Vec::new();
    for name in names {
        let Some(scenario) = scenario::find(name) else {
            unusable!("there is no scenario {name}. See mig-test run --list.");
        };
        scenarios.push(scenario);
    }
    scenario::check_options(&scenarios, options)
}

/// Migrates the demo's guest and saves the figures.
pub fn demo(lab: &Lab, platform: Platform, args: &SeriesArgs) -> Result<()> {
    job::forget_files(lab)?;
    lab.require(platform.kernel)?;
    lab.install_modules(platform.kernel)?;
    let machine = Machine {
        accelerator: lab.accelerator()?,
        platform,
        hardware: Hardware::Usual,
    };
    let names = &["demo".into()];
    let file = report_file(lab, "demo", platform);
    let _load = Load::start(args.load);
    if let Some(times) = args.times {
        let stop = args.stop_at_failure;
        let no_options = BTreeMap::new();
        return in_turns(lab, machine, names, &no_options, times, stop, Some(&file));
    }
    let verdicts = narrated(lab, machine, names, &BTreeMap::new())?;
    show(&verdicts);
    let figures = verdicts.iter().flat_map(|verdict| &verdict.figures);
    if let Some(figures) = figures.filter_map(Value::as_object).next() {
        // The scenario's own words win: it has asked the programs it ran.
        let mut report = about(lab, platform);
        report.extend(figures.clone());
        write_report(&file, &Value::Object(report))?;
        println!("\nThe figures are in {}.", file.display());
    }
    judge(&verdicts)
}

/// Runs scenarios by name.
pub fn run(lab: &Lab, args: &RunArgs, options: &BTreeMap<String, String>) -> Result<()> {
    let runs_guest = |name: &&String| scenario::find(name).is_some_and(|one| one.migrates);
    if let (true, Some(name)) = (args.icount, args.names.iter().find(runs_guest)) {
        unusable!(
            "{name} runs guests, which takes hours by a clock that counts instructions. Leave \
             --icount out, or run the others apart."
        );
    }
    job::forget_files(lab)?;
    let platform = lab.platform(args.platform.choice());
    lab.require(platform.kernel)?;
    let options = &prepare(
        lab,
        platform,
        &args.names,
        &args.modules,
        options,
        args.no_build,
    )?;
    let accelerator = if args.icount {
        Accelerator::Icount
    } else {
        lab.accelerator()?
    };
    let machine = Machine {
        accelerator,
        platform,
        hardware: Hardware::Usual,
    };
    let report = args.report.as_deref();
    run_all(lab, machine, &args.names, options, &args.series, report)
}

/// Runs scenarios, whose modules are installed, as often as `series` says.
pub fn run_all(
    lab: &Lab,
    machine: Machine,
    names: &[String],
    options: &BTreeMap<String, String>,
    series: &SeriesArgs,
    report: Option<&Path>,
) -> Result<()> {
    let _load = Load::start(series.load);
    if let Some(times) = series.times {
        let stop = series.stop_at_failure;
        return in_turns(lab, machine, names, options, times, stop, report);
    }
    let verdicts = narrated(lab, machine, names, options)?;
    show(&verdicts);
    if let Some(file) = report {
        write_verdicts(lab, machine.platform, file, &verdicts)?;
    }
    judge(&verdicts)
}

/// Builds and installs the modules of scenarios, and `modules` of the user's. Returns the options,
/// with those that load the latter.
fn prepare(
    lab: &Lab,
    platform: Platform,
    names: &[String],
    modules: &[PathBuf],
    options: &BTreeMap<String, String>,
    no_build: bool,
) -> Result<BTreeMap<String, String>> {
    let kernel = platform.kernel;
    let apart = if no_build {
        apart::OURS.into()
    } else {
        lab.build_test_modules(kernel, &scenario::modules(names))?;
        modules::current(lab, kernel)?
    };
    brought::install(lab, kernel, &apart, modules, options)
}

/// Runs scenarios with modules of the user's, reports progress, and returns the verdicts.
pub fn brought(
    lab: &Lab,
    platform: Platform,
    names: &[String],
    modules: &[PathBuf],
    options: &BTreeMap<String, String>,
) -> Result<Vec<Verdict>> {
    job::forget_files(lab)?;
    lab.require(platform.kernel)?;
    let options = prepare(lab, platform, names, modules, options, false)?;
    let machine = Machine {
        accelerator: lab.accelerator()?,
        platform,
        hardware: Hardware::Usual,
    };
    narrated(lab, machine, names, &options)
}

/// Runs the benchmarks.
pub fn bench(lab: &Lab, platform: Platform, report: Option<&Path>) -> Result<()> {
    lab.require(platform.kernel)?;
    job::forget_files(lab)?;
    lab.install_test_modules(platform.kernel)?;
    let names = scenario::ALL
        .iter()
        .map(|scenario| scenario.name.to_string());
    let names: Vec<String> = names.filter(|name| is_bench(name)).collect();
    let machine = Machine {
        accelerator: Accelerator::Icount,
        platform,
        hardware: Hardware::Usual,
    };
    let verdicts = narrated(lab, machine, &names, &BTreeMap::new())?;
    show(&verdicts);
    let default = report_file(lab, "bench", platform);
    let file = report.unwrap_or(&default);
    write_verdicts(lab, machine.platform, file, &verdicts)?;
    judge(&verdicts)
}

/// Runs scenarios a number of times.
fn in_turns(
    lab: &Lab,
    machine: Machine,
    names: &[String],
    options: &BTreeMap<String, String>,
    times: u32,
    stop_at_failure: bool,
    report: Option<&Path>,
) -> Result<()> {
    let mut once = |watch: &mut Watch<'_>| watched(lab, machine, names, options, watch);
    let mut report = |turns: &[Turn], counts: &Counts| match report {
        Some(file) => {
            let about = about(lab, machine.platform);
            let report = json!({ "about": about, "counts": counts, "turns": turns });
            write_report(file, &report)
        }
        None => Ok(()),
    };
    series::run(lab, times, stop_at_failure, &mut once, &mut report)
}

/// Runs scenarios and reports progress.
fn narrated(
    lab: &Lab,
    machine: Machine,
    names: &[String],
    options: &BTreeMap<String, String>,
) -> Result<Vec<Verdict>> {
    let mut narrator = Narrator::default();
    watched(lab, machine, names, options, &mut |news| {
        narrator.hear(news);
    })
}

/// Runs scenarios: first those without racing threads, then those that race threads in a VM of
/// their own.
fn watched(
    lab: &Lab,
    machine: Machine,
    names: &[String],
    options: &BTreeMap<String, String>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    for part in parts(machine, names) {
        verdicts.extend(part.run(lab, &lab.seat(1), options, watch)?);
    }
    Ok(verdicts)
}

/// Scenarios that share a VM.
pub struct Part {
    machine: Machine,
    /// Their names.
    pub names: Vec<String>,
}

/// Returns the scenarios of each VM: those that race threads have one of their own, and those that
/// need other hardware.
pub fn parts(machine: Machine, names: &[String]) -> Vec<Part> {
    let racing = machine.accelerator.racing();
    let accelerators = [(machine.accelerator, false), (racing, true)];
    let hardware = [Hardware::Usual, Hardware::Cards, Hardware::CardsAlone];
    let kinds = accelerators
        .into_iter()
        .flat_map(|kind| hardware.map(|hardware| (kind, hardware)));
    let parts = kinds.map(|((accelerator, races), hardware)| {
        let is_it = |name: &&String| match scenario::find(name) {
            Some(found) => (found.races, found.hardware) == (races, hardware),
            None => !races && hardware == Hardware::Usual,
        };
        Part {
            machine: Machine {
                accelerator,
                hardware,
                ..machine
            },
            names: names.iter().filter(is_it).cloned().collect(),
        }
    });
    parts.filter(|part| !part.names.is_empty()).collect()
}

impl Part {
    /// Returns the same scenarios in VMs of at most `most` each.
    pub fn pieces(self, most: usize) -> Vec<Part> {
        let machine = self.machine;
        let pieces = self.names.chunks(most).map(|names| Part {
            machine,
            names: names.into(),
        });
        pieces.collect()
    }

    /// Runs the scenarios. If the lab VM is unavailable, all of them are skipped.
    pub fn run(
        &self,
        lab: &Lab,
        seat: &Seat,
        options: &BTreeMap<String, String>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Verdict>> {
        let Some(reason) = lab.lacks(self.machine.platform) else {
            return job::run(lab, seat, self.machine, &self.names, options, watch);
        };
        let skipped = self.names.iter().map(|name| {
            let outcome = Outcome::Skipped {
                reason: reason.into(),
            };
            watch(News::Event(&Event::End {
                scenario: name.clone(),
                outcome: outcome.clone(),
                seconds: 0.0,
            }));
            Verdict {
                scenario: name.clone(),
                outcome,
                figures: Vec::new(),
            }
        });
        Ok(skipped.collect())
    }
}

/// Prints all figures.
fn show(verdicts: &[Verdict]) {
    for verdict in verdicts {
        for value in &verdict.figures {
            println!("\n{}\n{}", verdict.scenario, table::render(value));
        }
    }
}

/// Returns the versions that the figures were measured with.
fn about(lab: &Lab, platform: Platform) -> Map<String, Value> {
    let (kernel, qemu) = lab.versions(platform);
    let about = [
        ("mig_test", env!("CARGO_PKG_VERSION")),
        ("kernel", kernel),
        ("qemu", qemu),
    ];
    let owned = about.map(|(name, value)| (name.to_owned(), value.into()));
    owned.into_iter().collect()
}

/// Writes the outcome and the figures of each scenario, and the versions that they were measured
/// with.
fn write_verdicts(lab: &Lab, platform: Platform, file: &Path, verdicts: &[Verdict]) -> Result<()> {
    let report = json!({ "about": about(lab, platform), "scenarios": verdicts });
    write_report(file, &report)
}

/// Returns the folder for a command's figures, one for each kernel.
fn report_file(lab: &Lab, command: &str, platform: Platform) -> PathBuf {
    let folder = format!("{command}{}", lab.suffix(platform.kernel));
    lab.target.join(folder).join("report.json")
}

fn write_report(file: &Path, report: &Value) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Returns an error unless everything passed or was skipped.
pub fn judge(verdicts: &[Verdict]) -> Result<()> {
    let mut failed = Vec::new();
    for verdict in verdicts {
        match &verdict.outcome {
            Outcome::Passed => {}
            Outcome::Skipped { reason } => println!("skipped {}: {reason}", verdict.scenario),
            Outcome::Failed { reason } => failed.push(format!("{}: {reason}", verdict.scenario)),
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}
