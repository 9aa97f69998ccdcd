// SPDX-License-Identifier: GPL-2.0
//! The scenarios, one function for each. They run as root inside the lab VM and report their
//! progress as events.

mod bed;
mod bench;
mod cancel;
mod compat;
mod config_space;
mod conformance;
mod demo;
mod digest;
mod doorbells;
mod edu_parent;
mod entry;
mod fail_nth;
mod file;
mod guest_drivers;
mod intx;
mod io_memory;
pub mod killed_client;
mod killed_qemu;
mod listener;
mod live;
mod memory;
pub mod mgpu;
mod options;
pub mod own_device;
mod parameter;
mod parent_interrupts;
mod physical;
mod refusal;
mod sysfs;
mod table;
mod tracing;
mod vectors;
mod victim;
mod waiting;

pub use bed::{kernel_release, load};
pub use conformance::oracle::{arc, Oracle};
pub use conformance::{source, target, UAPI, V1};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::event::{Event, Outcome};
use crate::lab::apart::{self, Apart};
use crate::lab::Hardware;
use crate::qemu::version::Qemu;

pub use options::check as check_options;
pub use table::ALL;
pub use waiting::until;

/// A named test. A scenario that returns an error has failed, with the error as its reason.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Name on the command line: words joined by dashes.
    pub name: &'static str,
    /// One sentence for `mig-test run --list`.
    pub about: &'static str,
    /// The time of silence after which the lab aborts it.
    pub deadline: Duration,
    /// Whether it races threads, and so needs several processors and starts no guest.
    pub races: bool,
    /// The hardware that the lab VM must have.
    pub hardware: Hardware,
    /// Whether it migrates guests, and so runs under each QEMU.
    pub migrates: bool,
    /// Whether `mig-test test` leaves it out without `--all`.
    pub only_with_all: bool,
    /// The modules that it loads in addition to the project's and mainline's.
    pub modules: &'static [Apart<'static>],
    /// The function.
    pub run: fn(&mut Ctx) -> Result<Outcome>,
}

/// The environment of a scenario: its folders and its channel for events.
pub struct Ctx<'a> {
    /// Options of the job, each defined by one of its scenarios ([`Scenario::options`]).
    pub options: &'a BTreeMap<String, String>,
    /// The QEMU that runs guests.
    pub qemu: Qemu,
    /// The kernel that guests boot.
    pub guest_kernel: &'a str,
    /// Scratch folder of this scenario, on the VM's tmpfs.
    pub dir: PathBuf,
    /// The share with the host, which has programs and images; results go to `job/out`.
    pub job: PathBuf,
    /// The destination of events.
    pub emit: &'a mut dyn FnMut(Event),
}

impl Ctx<'_> {
    /// Reports the current activity.
    pub fn step(&mut self, text: impl Into<String>) {
        (self.emit)(Event::Step { text: text.into() });
    }

    /// Returns the option `name`, which is a number; `default` if it is not given.
    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T> {
        let Some(text) = self.options.get(name) else {
            return Ok(default);
        };
        let number = text.parse().ok();
        number.with_context(|| format!("the option {name} is a number, not \"{text}\""))
    }

    /// Reports the scenario's figures to the host.
    pub fn report(&mut self, value: impl Serialize) -> Result<()> {
        let value = serde_json::to_value(value)?;
        (self.emit)(Event::Report { value });
        Ok(())
    }
}

/// Finds a scenario by its name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}

/// Returns the modules that the scenarios load in addition to the project's and mainline's.
pub fn modules(names: &[String]) -> Vec<Apart<'static>> {
    let loaded = |apart: &Apart<'_>| {
        let scenarios = names.iter().filter_map(|name| find(name));
        scenarios
            .flat_map(|one| one.modules)
            .any(|one| one == apart)
    };
    apart::OURS.into_iter().filter(loaded).collect()
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
