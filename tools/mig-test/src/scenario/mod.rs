// SPDX-License-Identifier: GPL-2.0
//! What `mig-test` can prove, one function each. Scenarios run as root inside the lab VM and report
//! what they do as events.

mod bed;
mod bench;
mod cancel;
mod conformance;
mod demo;
mod file;
mod live;
mod memory;
mod mgpu;
mod options;
mod parameter;
mod refusal;
mod sysfs;

pub use conformance::target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::event::{Event, Outcome};
use crate::qemu::version::Qemu;

pub use options::check as check_options;

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

/// Every scenario, in the order `mig-test test` runs them.
pub fn all() -> &'static [Scenario] {
    SCENARIOS
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "demo",
        about: "migrates a running guest with devices of mtty_rs and mgpu_rs; figures",
        deadline: minutes(4),
        races: false,
        migrates: true,
        run: demo::demo,
    },
    Scenario {
        name: "mtty-c-baseline",
        about: "the same with mainline's C mtty, so that every figure has a peer",
        deadline: minutes(4),
        races: false,
        migrates: true,
        run: demo::mtty_c_baseline,
    },
    Scenario {
        name: "reboot",
        about: "a reboot of the guest resets the device, and QEMU has nothing to complain about",
        deadline: minutes(3),
        races: false,
        migrates: false,
        run: live::reboot,
    },
    Scenario {
        name: "ping-pong",
        about: "a running guest migrates back and forth ten times",
        deadline: minutes(6),
        races: false,
        migrates: true,
        run: live::ping_pong,
    },
    Scenario {
        name: "fifo-in-flight",
        about: "bytes unread in the FIFOs of a two-port card arrive in order and once",
        deadline: minutes(4),
        races: false,
        migrates: true,
        run: live::fifo_in_flight,
    },
    Scenario {
        name: "mainline-and-back",
        about: "a running guest leaves mainline's mtty for mtty_rs and goes back",
        deadline: minutes(4),
        races: false,
        migrates: true,
        run: live::mainline_and_back,
    },
    Scenario {
        name: "cancel",
        about: "a migration cancelled in each phase leaves the guest whole where it is",
        deadline: minutes(6),
        races: false,
        migrates: true,
        run: cancel::run,
    },
    Scenario {
        name: "refusal",
        about: "a destination refuses a torn, bent or foreign stream, and the source runs on",
        deadline: minutes(8),
        races: false,
        migrates: true,
        run: refusal::serial,
    },
    Scenario {
        name: "refusal-gpu",
        about: "the same with the toy GPU's records, while the GPU is at work",
        deadline: minutes(8),
        races: false,
        migrates: true,
        run: refusal::gpu,
    },
    Scenario {
        name: "save-and-load",
        about: "a guest with both devices is saved to a file and started from it",
        deadline: minutes(4),
        races: false,
        migrates: true,
        run: file::run,
    },
    Scenario {
        name: "sysfs-limits",
        about: "the limit on ports, and what sysfs refuses",
        deadline: minutes(2),
        races: false,
        migrates: false,
        run: sysfs::limits,
    },
    Scenario {
        name: "module-in-use",
        about: "a module in use stays, after use it goes; a device has one user",
        deadline: minutes(3),
        races: false,
        migrates: false,
        run: sysfs::module_in_use,
    },
    Scenario {
        name: "remove-in-use",
        about: "removing a device in use asks its user to let go",
        deadline: minutes(2),
        races: false,
        migrates: false,
        run: sysfs::remove_in_use,
    },
    Scenario {
        name: "migration-parameter",
        about: "which protocols devices offer with each value of the SDK's module parameter",
        deadline: minutes(3),
        races: false,
        migrates: false,
        run: parameter::run,
    },
    Scenario {
        name: "conformance-states",
        about: "every ordered pair of migration states against an oracle of its own",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::states::run,
    },
    Scenario {
        name: "conformance-data",
        about: "the data file: ends, sizes, errors, any split of reads and writes",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::data::run,
    },
    Scenario {
        name: "conformance-refusal",
        about: "streams cut short or changed anywhere are refused and change nothing",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::refusal::run,
    },
    Scenario {
        name: "conformance-lifetime",
        about: "reset and close in each state; files that outlive their device",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::lifetime::run,
    },
    Scenario {
        name: "conformance-info",
        about: "device, region, interrupt and feature information; bad questions",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::info::run,
    },
    Scenario {
        name: "conformance-regions",
        about: "bounds of the regions, configuration space, BAR sizing",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::regions::run,
    },
    Scenario {
        name: "conformance-interrupts",
        about: "INTx levels, MSI messages, bad VFIO_DEVICE_SET_IRQS calls",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::interrupts::run,
    },
    Scenario {
        name: "conformance-concurrency",
        about: "registers, states, data and reset from several threads at once",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::concurrency::run,
    },
    Scenario {
        name: "conformance-v1-states",
        about: "every ordered pair of values of protocol v1's device_state",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::v1::states::run,
    },
    Scenario {
        name: "conformance-v1-registers",
        about: "widths, directions and bounds of protocol v1's region, and random accesses",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::v1::registers::run,
    },
    Scenario {
        name: "conformance-v1-data",
        about: "protocol v1's chunks: taken once, given up, loaded in any pieces, refused",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::v1::data::run,
    },
    Scenario {
        name: "conformance-v1-owner",
        about: "both protocols at one device: who has moved it first owns the session",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::v1::owner::run,
    },
    Scenario {
        name: "conformance-v1-crossing",
        about: "what is saved through either protocol loads through the other one",
        deadline: minutes(5),
        races: true,
        migrates: false,
        run: conformance::v1::crossing::run,
    },
    Scenario {
        name: "conformance-v1-races",
        about: "both protocols, the mapped window and reset from several threads at once",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: conformance::v1::races::run,
    },
    Scenario {
        name: "guest-memory",
        about: "each call of the SDK's GuestMemory: copies, pins, limits, unmaps, the DMA log",
        deadline: minutes(4),
        races: true,
        migrates: false,
        run: memory::run,
    },
    Scenario {
        name: "mgpu-commands",
        about: "commands of the toy GPU against a model; errors, interrupts, reset, the picture",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::commands::run,
    },
    Scenario {
        name: "mgpu-migrate",
        about: "the toy GPU migrates while it works, and sends the pages that were written",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::migrate::run,
    },
    Scenario {
        name: "mgpu-random",
        about: "random work, moved at a random moment of it",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::moments::run,
    },
    Scenario {
        name: "mgpu-dirty",
        about: "what the container reports of guest memory is what commands have touched",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::dirty::run,
    },
    Scenario {
        name: "mgpu-log",
        about: "what the device's own DMA log reports is what commands have written",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::log::run,
    },
    Scenario {
        name: "mgpu-scope",
        about: "a physical device in the container makes every page dirty, and no more once it has left",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::scope::run,
    },
    Scenario {
        name: "mgpu-unmap",
        about: "guest memory goes while commands use it, and nothing hangs or stays pinned",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::unmap::run,
    },
    Scenario {
        name: "mgpu-late-memory",
        about: "guest memory comes late, and goes while commands wait for it",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::late::run,
    },
    Scenario {
        name: "mgpu-unmap-dirty",
        about: "guest memory that goes during pre-copy is reported dirty by the call that takes it away",
        deadline: minutes(3),
        races: true,
        migrates: false,
        run: mgpu::unmap_dirty::run,
    },
    Scenario {
        name: "mgpu-guest",
        about: "a guest migrates while its toy GPU works, and finds every page and its picture",
        deadline: minutes(4),
        races: false,
        migrates: true,
        run: demo::mgpu_guest,
    },
    Scenario {
        name: "mgpu-guest-ping-pong",
        about: "the same ten times, back and forth, with a new picture at each place",
        deadline: minutes(8),
        races: false,
        migrates: true,
        run: mgpu::guest::ping_pong,
    },
    Scenario {
        name: "mgpu-guest-random",
        about: "random work, migrated at a random moment",
        deadline: minutes(8),
        races: false,
        migrates: true,
        run: mgpu::guest::random,
    },
    Scenario {
        name: "mgpu-guest-iommu",
        about: "a guest's IOMMU takes memory from its toy GPU during pre-copy, and no page is lost",
        deadline: minutes(6),
        races: false,
        migrates: true,
        run: mgpu::viommu::run,
    },
    Scenario {
        name: "bench-regs",
        about: "instructions of each register access, through mtty_rs and mainline's mtty",
        deadline: minutes(5),
        races: false,
        migrates: false,
        run: bench::registers::run,
    },
    Scenario {
        name: "bench-pin",
        about: "instructions to pin, write and unpin guest memory, through the SDK and without",
        deadline: minutes(5),
        races: false,
        migrates: false,
        run: bench::pin::run,
    },
    Scenario {
        name: "bench-dirty",
        about: "pages reported for each page written, with selective pins and with all of memory pinned",
        deadline: minutes(3),
        races: false,
        migrates: false,
        run: bench::dirty::run,
    },
    Scenario {
        name: "bench-vram",
        about: "speed at which VRAM leaves, beside a memfd's, and what PRE_COPY leaves to stop for",
        deadline: minutes(5),
        races: false,
        migrates: false,
        run: bench::vram::run,
    },
    Scenario {
        name: "bench-window",
        about: "protocol v1's window, mapped and trapped, beside v2's data file",
        deadline: minutes(5),
        races: false,
        migrates: false,
        run: bench::window::run,
    },
];

/// Finds a scenario by its name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().iter().find(|scenario| scenario.name == name)
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

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
