// SPDX-License-Identifier: GPL-2.0
//! Runs scenarios in the lab VM and collects how they went.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use serde_json::Value;

use super::vm::{Accelerator, Machine, Vm};
use super::Lab;
use crate::event::{Event, Job, Outcome};
use crate::failure::unusable;
use crate::scenario;

/// How long the VM with the stock kernel may take to come up: some 40 times what it takes.
const BOOT: Duration = Duration::from_secs(180);
/// A clock that counts instructions makes everything slower.
const ICOUNT_FACTOR: u32 = 10;

/// How one scenario went.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Its name.
    pub scenario: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its figures.
    pub reports: Vec<Value>,
}

/// Runs `scenarios` and returns a verdict on each. A scenario that takes the VM down has failed; the
/// others go on in a new one.
pub fn run(
    lab: &Lab,
    machine: Machine,
    scenarios: &[String],
    options: &BTreeMap<String, String>,
    watch: &mut dyn FnMut(&Event),
) -> Result<Vec<Verdict>> {
    prepare(lab)?;
    let mut waiting: VecDeque<String> = scenarios.iter().cloned().collect();
    let mut verdicts = Vec::new();
    while !waiting.is_empty() {
        boot(lab, machine, &mut waiting, options, &mut verdicts, watch)?;
    }
    Ok(verdicts)
}

/// Boots a VM and takes from `waiting` what it has dealt with.
fn boot(
    lab: &Lab,
    machine: Machine,
    waiting: &mut VecDeque<String>,
    options: &BTreeMap<String, String>,
    verdicts: &mut Vec<Verdict>,
    watch: &mut dyn FnMut(&Event),
) -> Result<()> {
    let mut vm = Vm::start(&lab.components, &lab.work, machine)?;
    let ready = vm
        .event(Instant::now() + BOOT * machine.platform.kernel.patience())
        .context("the lab VM did not come up")?;
    let Event::Ready { .. } = ready else {
        bail!("the lab VM says {ready:?} before it is ready")
    };
    watch(&ready);
    vm.send(&Job {
        scenarios: waiting.iter().cloned().collect(),
        options: options.clone(),
        qemu: machine.platform.qemu,
        guest_kernel: format!(
            "/usr/lib/modules/{}/vmlinuz",
            lab.components.ready("root").fact("abi")
        ),
    })?;

    let dealt_with = verdicts.len();
    while let Some(name) = waiting.pop_front() {
        let deadline = deadline(&name, machine);
        let start = Instant::now();
        let mut heard = start;
        let mut reports = Vec::new();
        loop {
            let event = match vm.event(heard + deadline) {
                Ok(event) => event,
                Err(error) => {
                    let outcome = Outcome::Failed {
                        reason: format!("{error:#}"),
                    };
                    let seconds = start.elapsed().as_secs_f64();
                    watch(&Event::End {
                        scenario: name.clone(),
                        outcome: outcome.clone(),
                        seconds,
                    });
                    verdicts.push(Verdict {
                        scenario: name,
                        outcome,
                        reports,
                    });
                    return Ok(());
                }
            };
            heard = Instant::now();
            watch(&event);
            match event {
                Event::Report { value } => reports.push(value),
                Event::End {
                    scenario, outcome, ..
                } => {
                    verdicts.push(Verdict {
                        scenario,
                        outcome,
                        reports,
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

fn deadline(name: &str, machine: Machine) -> Duration {
    let deadline = scenario::find(name).map_or(Duration::from_secs(60), |found| found.deadline);
    let factor = match machine.accelerator {
        Accelerator::Icount => ICOUNT_FACTOR,
        _ => 1,
    };
    deadline * factor * machine.platform.kernel.patience()
}

/// Fills the folder that the VM sees as `/job`.
fn prepare(lab: &Lab) -> Result<()> {
    let job = lab.work.join("job");
    fs::create_dir_all(job.join("out"))?;
    fs::create_dir_all(job.join("modules"))?;
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    for name in ["mig-test", "mig-guest"] {
        let source = if name == "mig-test" {
            program.clone()
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
pub fn prepare_shell(lab: &Lab) -> Result<()> {
    prepare(lab)?;
    fs::write(lab.work.join("job/start"), include_str!("scripts/shell.sh"))?;
    Ok(())
}

/// Whether the VM comes up with KVM for guests of its own.
pub fn nests(lab: &Lab, machine: Machine) -> Result<bool> {
    prepare(lab)?;
    let mut vm = Vm::start(&lab.components, &lab.work, machine)?;
    Ok(matches!(
        vm.event(Instant::now() + BOOT),
        Ok(Event::Ready { kvm: true, .. })
    ))
}
