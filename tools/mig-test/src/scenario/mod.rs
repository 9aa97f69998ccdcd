// SPDX-License-Identifier: GPL-2.0
//! What `mig-test` can prove, one function each. Scenarios run as root inside the lab VM and report
//! what they do as events.

mod bed;
mod bench;
mod cancel;
mod conformance;
mod demo;
mod file;
mod guest_drivers;
mod intx;
mod live;
mod memory;
pub mod mgpu;
mod options;
mod parameter;
mod refusal;
mod sysfs;
mod table;
mod waiting;

pub use conformance::target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::event::{Event, Outcome};
use crate::lab::modules::{self, Apart};
use crate::qemu::version::Qemu;

pub use options::check as check_options;
pub use table::all;

/// A named proof. A scenario that returns an error counts as failed, with the error as its reason.
pub struct Scenario {
    /// Name on the command line: words joined by dashes.
    pub name: &'static str,
    /// One sentence for `mig-test run --list`.
    pub about: &'static str,
    /// How long it may say nothing before the lab gives it up.
    pub deadline: Duration,
    /// Whether it races threads, and so wants several processors, and starts no guest.
    pub races: bool,
    /// Whether it migrates guests, and so shows something else under each QEMU.
    pub migrates: bool,
    /// The modules that it loads besides the project's and mainline's.
    pub modules: &'static [Apart<'static>],
    /// The proof itself.
    pub run: fn(&mut Ctx) -> Result<Outcome>,
}

/// What a scenario is given: where it may work, and where it reports to.
pub struct Ctx<'a> {
    /// Options of the job, each known to one of its scenarios ([`Scenario::options`]).
    pub options: &'a BTreeMap<String, String>,
    /// What runs guests.
    pub qemu: Qemu,
    /// What they boot.
    pub guest_kernel: &'a str,
    /// Scratch folder of this scenario, on the VM's tmpfs.
    pub dir: PathBuf,
    /// The share with the host: programs and images come from here, results go to `job/out`.
    pub job: PathBuf,
    /// Where events go.
    pub emit: &'a mut dyn FnMut(Event),
}

impl Ctx<'_> {
    /// Says what is being done now.
    pub fn step(&mut self, text: impl Into<String>) {
        (self.emit)(Event::Step { text: text.into() });
    }

    /// Hands the scenario's figures to the host.
    pub fn report(&mut self, value: impl Serialize) -> Result<()> {
        let value = serde_json::to_value(value)?;
        (self.emit)(Event::Report { value });
        Ok(())
    }
}

/// Finds a scenario by its name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().iter().find(|scenario| scenario.name == name)
}

/// The modules that any of the scenarios loads besides the project's and mainline's.
pub fn modules(names: &[String]) -> Vec<Apart<'static>> {
    let loaded = |apart: &Apart<'_>| {
        let scenarios = names.iter().filter_map(|name| find(name));
        scenarios
            .flat_map(|one| one.modules)
            .any(|one| one == apart)
    };
    modules::OURS.into_iter().filter(loaded).collect()
}

/// Runs one scenario and turns an error into a failed outcome.
pub fn run(name: &str, ctx: &mut Ctx) -> Outcome {
    let Some(scenario) = find(name) else {
        return Outcome::Failed {
            reason: format!("there is no scenario {name}"),
        };
    };
    match (scenario.run)(ctx) {
        Ok(outcome) => outcome,
        Err(error) => Outcome::Failed {
            reason: format!("{error:#}"),
        },
    }
}
