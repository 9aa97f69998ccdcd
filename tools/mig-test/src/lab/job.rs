// SPDX-License-Identifier: GPL-2.0
//! Runs scenarios in the lab VM and collects their outcomes.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::vm::{Accelerator, Machine, Vm};
use super::{cache, seat, stock_kernel, Lab, Seat};
use crate::event::{Event, Job, Outcome};
use crate::failure::unusable;
use crate::scenario;

/// The timeout for booting a VM with one of Debian's kernels: some 40 times the usual time.
const BOOT: Duration = Duration::from_secs(180);
/// The factor for timeouts with a clock that counts instructions, which is slower.
const ICOUNT_FACTOR: u32 = 10;

/// A callback for the events of a job.
pub type Watch<'a> = dyn FnMut(News<'_>) + 'a;

/// The folder for files of failed scenarios, below the folder that the VM sees as `/job`.
const OUT: &str = "out";
/// The folder for those of the first failure of a series.
const KEPT: &str = "first-failure";
/// The files that the VM leaves in its work folder, and the names under which they are kept.
const LOGS: [(&str, &str); 2] = [
    ("console.log", "lab-console.log"),
    ("qemu.log", "lab-qemu.log"),
];

/// An event of a job.
#[derive(Clone, Copy)]
pub enum News<'a> {
    /// A VM boots.
    Boot,
    /// The agent sent this, or the host sends it for a scenario whose VM failed.
    Event(&'a Event),
}

/// The result of one scenario; as JSON, an entry of a report.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Its name.
    pub scenario: String,
    /// Its outcome.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Its figures: records, and tables of records.
    #[serde(serialize_with = "records")]
    pub figures: Vec<Value>,
}

/// Joins the records of all tables into the one list of a report.
fn records<S: Serializer>(figures: &[Value], serializer: S) -> Result<S::Ok, S::Error> {
    let records = figures.iter().flat_map(|value| match value {
        Value::Array(rows) => rows.as_slice(),
        record => slice::from_ref(record),
    });
    serializer.collect_seq(records)
}

/// Removes the files of scenarios that failed before. Call it at the beginning of a command, so
/// that the files at its end are its own.
pub fn forget_files(lab: &Lab) -> Result<()> {
    let out = seat::out(&lab.work);
    match fs::remove_dir_all(&out) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", out.display()))
        }
        _ => Ok(()),
    }
}

/// Protects the files of failed scenarios, and of the first seat's last VM, from later turns of the
/// same command. Returns their folder.
pub fn keep_files(lab: &Lab) -> Result<PathBuf> {
    let kept = lab.work.join(KEPT);
    cache::remove(&kept)?;
    keep_logs(&lab.seat(1).own(), &kept)?;
    fs::rename(seat::out(&lab.work), kept.join(OUT))
        .with_context(|| format!("keep files in {}", kept.display()))?;
    Ok(kept)
}

/// Runs `scenarios` and returns the result of each. A scenario that crashes the VM has failed; the
/// others continue in a new one.
pub fn run(
    lab: &Lab,
    seat: &Seat,
    machine: Machine,
    scenarios: &[String],
    options: &BTreeMap<String, String>,
    watch: &mut Watch<'_>,
) -> Result<Vec<Verdict>> {
    prepare(seat)?;
    let mut waiting: VecDeque<String> = scenarios.iter().cloned().collect();
    let mut verdicts = Vec::new();
    while !waiting.is_empty() {
        boot(
            lab,
            seat,
            machine,
            &mut waiting,
            options,
            &mut verdicts,
            watch,
        )?;
    }
    Ok(verdicts)
}

/// Boots a VM, runs scenarios, and removes those that are done from `waiting`.
fn boot(
    lab: &Lab,
    seat: &Seat,
    machine: Machine,
    waiting: &mut VecDeque<String>,
    options: &BTreeMap<String, String>,
    verdicts: &mut Vec<Verdict>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    watch(News::Boot);
    let mut vm = Vm::start(&lab.components, seat, machine)?;
    let ready = vm
        .event(BOOT * machine.platform.kernel.patience())
        .context("the lab VM did not come up")?;
    let Event::Ready { .. } = ready else {
        bail!("the lab VM says {ready:?} before it is ready")
    };
    watch(News::Event(&ready));
    vm.send(&Job {
        scenarios: waiting.iter().cloned().collect(),
        options: options.clone(),
        qemu: machine.platform.qemu,
        out: out(machine),
        guest_kernel: stock_kernel::file(lab.components.ready(machine.platform.guest.tree())),
        patience: patience(machine),
    })?;

    let out = seat.out().join(machine.platform.folder());
    let dealt_with = verdicts.len();
    while let Some(name) = waiting.pop_front() {
        let deadline = deadline(&name, machine);
        let start = Instant::now();
        let mut figures = Vec::new();
        loop {
            let event = match vm.event(deadline) {
                Ok(event) => event,
                Err(error) => {
                    let outcome = Outcome::Failed {
                        reason: format!("{error:#}"),
                    };
                    keep_logs(&seat.own(), &out.join(&name))?;
                    watch(News::Event(&Event::End {
                        scenario: name.clone(),
                        outcome: outcome.clone(),
                        seconds: start.elapsed().as_secs_f64(),
                    }));
                    verdicts.push(Verdict {
                        scenario: name,
                        outcome,
                        figures,
                    });
                    return Ok(());
                }
            };
            if let Event::End {
                outcome: Outcome::Failed { .. },
                ..
            } = event
            {
                keep_logs(&seat.own(), &out.join(&name))?;
            }
            let event = with_place(event, &out);
            watch(News::Event(&event));
            match event {
                Event::Report { value } => figures.push(value),
                Event::End {
                    scenario, outcome, ..
                } => {
                    verdicts.push(Verdict {
                        scenario,
                        outcome,
                        figures,
                    });
                    break;
                }
                Event::Begin { .. } | Event::Step { .. } => {}
                // It has found that it is not fit for what is left.
                Event::Bye if verdicts.len() > dealt_with => {
                    waiting.push_front(name);
                    return vm.finish();
                }
                Event::Ready { .. } | Event::Bye => bail!("the lab VM lost its place in the job"),
            }
        }
    }
    vm.finish()
}

fn out(machine: Machine) -> String {
    format!("{OUT}/{}", machine.platform.folder())
}

/// Saves the VM's output so far, because the next VM begins new logs.
fn keep_logs(work: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (log, kept) in LOGS {
        match fs::copy(work.join(log), folder.join(kept)) {
            // A VM that has not come up may have said nothing.
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("keep {log}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Appends the folder of its files to the outcome of a failed scenario, if it left any.
fn with_place(mut event: Event, out: &Path) -> Event {
    if let Event::End {
        scenario,
        outcome: Outcome::Failed { reason },
        ..
    } = &mut event
    {
        let files = out.join(scenario);
        if fs::read_dir(&files).is_ok_and(|mut entries| entries.next().is_some()) {
            *reason += &format!(
                "\nThe consoles of the lab VM and of guests, and what QEMUs printed, are in {}.",
                files.display()
            );
        }
    }
    event
}

fn deadline(name: &str, machine: Machine) -> Duration {
    let deadline = scenario::find(name).map_or(Duration::from_secs(60), |found| found.deadline);
    deadline * patience(machine)
}

/// Returns the factor for timeouts.
fn patience(machine: Machine) -> u32 {
    let factor = match machine.accelerator {
        Accelerator::Icount => ICOUNT_FACTOR,
        _ => 1,
    };
    factor * machine.platform.kernel.patience()
}

/// Fills the folder that the VM sees as `/job`.
fn prepare(seat: &Seat) -> Result<()> {
    seat.prepare()?;
    let job = seat.own().join("job");
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    for name in ["mig-test", "mig-guest"] {
        let source = if name == "mig-test" {
            // What runs now, even if cargo has put another one in its place.
            PathBuf::from("/proc/self/exe")
        } else {
            folder.join(name)
        };
        if fs::copy(&source, job.join(name)).is_err() {
            unusable!("{} is missing. Run cargo build first.", source.display());
        }
    }
    fs::write(job.join("start"), include_str!("scripts/start.sh"))?;
    Ok(())
}

/// Makes the VM start with a shell on its console.
pub fn prepare_shell(seat: &Seat) -> Result<()> {
    prepare(seat)?;
    fs::write(
        seat.own().join("job/start"),
        include_str!("scripts/shell.sh"),
    )?;
    Ok(())
}

/// Returns whether the VM boots with KVM for its own guests.
pub fn nests(lab: &Lab, machine: Machine) -> Result<bool> {
    let seat = lab.seat(1);
    prepare(&seat)?;
    let mut vm = Vm::start(&lab.components, &seat, machine)?;
    Ok(matches!(vm.event(BOOT), Ok(Event::Ready { kvm: true, .. })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_names_each_scenario_with_its_outcome_and_its_records() {
        let verdict = |outcome, figures| Verdict {
            scenario: "demo".into(),
            outcome,
            figures,
        };
        let figures = vec![json!({"a_ms": 1}), json!([{"b": 2}, {"b": 3}])];
        let reason = "it did not".to_string();
        let report = json!([
            verdict(Outcome::Passed, figures),
            verdict(Outcome::Failed { reason }, Vec::new())
        ]);
        let wanted = json!([
            {"scenario": "demo", "outcome": "passed", "figures": [{"a_ms": 1}, {"b": 2}, {"b": 3}]},
            {"scenario": "demo", "outcome": "failed", "reason": "it did not", "figures": []}
        ]);
        assert_eq!(report, wanted);
    }

    #[test]
    fn a_failure_says_where_its_files_are_if_there_are_any() {
        let out = tempfile::tempdir().unwrap();
        let reason = || {
            let outcome = Outcome::Failed {
                reason: "it did not".into(),
            };
            let event = Event::End {
                scenario: "demo".into(),
                outcome,
                seconds: 1.0,
            };
            match with_place(event, out.path()) {
                Event::End {
                    outcome: Outcome::Failed { reason },
                    ..
                } => reason,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(reason(), "it did not");
        let files = out.path().join("demo");
        fs::create_dir(&files).unwrap();
        assert_eq!(reason(), "it did not");
        fs::write(files.join("source-stderr"), "").unwrap();
        let place = format!("{}.", files.display());
        assert!(reason().ends_with(&place), "{}", reason());
    }
}
