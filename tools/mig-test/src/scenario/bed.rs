// SPDX-License-Identifier: GPL-2.0
//! The test bed: loads drivers, makes devices, starts VMs with them, and has the checks that all
//! scenarios share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use mig_common::message::{Counters, Registers};
use mig_common::modules::{self, Module};

use super::mgpu::guest::{ensure_whole, go_on};
use super::Ctx;
use crate::event::Outcome;
use crate::mdev::{Mdev, MdevType};
use crate::qemu::image::Image;
use crate::qemu::migration::{self, Figures};
use crate::qemu::version::Qemu;
use crate::qemu::vm::{Assigned, Role, Setup, Vm};

/// A driver of cards.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    /// Its module.
    pub module: &'static str,
    /// Its parent device under `/sys/class/mdev_bus`.
    pub parent: &'static str,
    /// QEMU's properties for its devices, each after a comma.
    pub properties: &'static str,
    /// The parameters of the guest program.
    pub guest: &'static str,
    /// Whether its devices are express devices, each behind a port of its own.
    pub has_port: bool,
}

/// This project's driver.
pub const MTTY_RS: Driver = Driver {
    module: "mtty_rs",
    parent: "mtty_rs",
    properties: "",
    guest: "mig_serial=1",
    has_port: false,
};

/// The toy GPU.
pub const MGPU_RS: Driver = Driver {
    module: "mgpu_rs",
    parent: "mgpu_rs",
    properties: ",display=on",
    guest: "mig_gpu=1",
    has_port: false,
};

/// This project's driver, for a guest that migrates from or to mainline's driver.
pub const MTTY_RS_COMPAT: Driver = Driver {
    guest: MTTY_C.guest,
    ..MTTY_RS
};

/// Mainline's driver. It offers a DMA log that cannot report on this kernel, so QEMU must not use
/// it. It treats a FIFO with 16 bytes as empty and loses them, so the guest sends at most 15 at a
/// time.
pub const MTTY_C: Driver = Driver {
    module: "mtty",
    parent: "mtty",
    properties: ",x-device-dirty-page-tracking=off",
    guest: "mig_serial=1 mig_window=15",
    has_port: false,
};

/// The number of lines that shows that data flows: several times a FIFO.
pub const LINES: u64 = 8;

/// The type with one port; its name in both drivers.
pub const ONE_PORT: &str = "mtty-1";
/// The type with one port that speaks mainline's stream format.
pub const ONE_PORT_COMPAT: &str = "mtty-1-compat";
/// The type with two ports.
pub const TWO_PORTS: &str = "mtty-2";
/// The type with 16 MiB of VRAM.
pub const MGPU_16: &str = "mgpu-16";
/// The type with 64 MiB.
pub const MGPU_64: &str = "mgpu-64";

/// A card for a guest: its driver and its type.
pub type Kind = (Driver, &'static str);

/// One of each of this project's.
pub const BOTH: [Kind; 2] = [(MTTY_RS, ONE_PORT), (MGPU_RS, MGPU_16)];

/// The seed of the work of a guest's GPU.
const GPU_SEED: u64 = 2;

/// The reason for which a scenario with mainline's driver is skipped.
pub fn skipped_without_v2(ctx: &Ctx) -> Option<Outcome> {
    (!ctx.qemu.speaks_v2()).then(|| Outcome::Skipped {
        reason: format!(
            "mainline's mtty speaks protocol v2, QEMU {} does not",
            ctx.qemu.series()
        ),
    })
}

/// Loads a module and its dependencies.
pub fn load(module: &str) -> Result<()> {
    if Path::new("/sys/module").join(module).exists() {
        return Ok(());
    }
    load_with(module, &[])
}

/// Loads a module with parameters.
pub fn load_with(module: &str, parameters: &[&str]) -> Result<()> {
    run("modprobe", &[&[module], parameters].concat())
}

/// Unloads a module.
pub fn unload(module: &str) -> Result<()> {
    run("modprobe", &["-r", module])
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(args)
        .output()
        .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), reason.trim());
    }
    Ok(())
}

/// Returns the release of the running kernel.
pub fn kernel_release() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?
        .trim()
        .to_owned())
}

/// The environment of VMs.
pub struct Bed {
    /// The QEMU that runs the VMs.
    pub qemu: Qemu,
    /// Scratch folder: sockets, standard error.
    pub dir: PathBuf,
    /// The files that the VMs boot.
    pub image: Image,
}

impl Bed {
    /// Prepares the guest's image.
    pub fn prepare(ctx: &mut Ctx) -> Result<Bed> {
        Bed::prepare_with(ctx, &[])
    }

    /// Prepares the same, with an IOMMU in the VMs that the guest uses.
    pub fn prepare_with_iommu(ctx: &mut Ctx) -> Result<Bed> {
        let bed = Bed::prepare_with(ctx, modules::VFIO)?;
        Ok(Bed {
            image: bed.image.with_iommu(),
            ..bed
        })
    }

    /// The same with modules of the guest's kernel, for the guest program to load.
    pub fn prepare_with(ctx: &mut Ctx, modules: &[Module]) -> Result<Bed> {
        let program = ctx.job.join("mig-guest");
        let image = Image::prepare(
            Path::new(ctx.guest_kernel),
            &program,
            &ctx.dir,
            modules,
            vec![],
        )?;
        Ok(Bed {
            qemu: ctx.qemu,
            dir: ctx.dir.clone(),
            image,
        })
    }

    /// Makes a device and starts a VM with it.
    pub fn start(&self, name: &str, driver: &Driver, kind: &str, role: Role) -> Result<Host> {
        self.start_with(name, vec![Card::make(driver, kind)?], role)
    }

    /// Makes several devices and starts a VM with them.
    pub fn start_of(&self, name: &str, kinds: &[Kind], role: Role) -> Result<Host> {
        let cards = kinds.iter().map(|(driver, kind)| Card::make(driver, kind));
        self.start_with(name, cards.collect::<Result<_>>()?, role)
    }

    /// Boots a guest and starts work on its cards. Returns the guest, and its state.
    pub fn running_source(&self, ctx: &mut Ctx, kinds: &[Kind]) -> Result<(Host, Checkpoint)> {
        ctx.step("booting the guest");
        for (driver, _) in kinds {
            load(driver.module)?;
        }
        let mut source = self.start_of("source", kinds, Role::Source)?;
        source.vm.await_ready()?;
        if source.has_gpu() {
            source.vm.gpu_work(GPU_SEED)?;
        }
        source.vm.await_lines(LINES)?;
        let before = Checkpoint::take(&mut source.vm)?;
        Ok((source, before))
    }

    /// Starts a VM with cards, in its slots in this order.
    pub fn start_with(&self, name: &str, cards: Vec<Card>, role: Role) -> Result<Host> {
        let vm = self.start_vm(name, &cards, role, false)?;
        Ok(Host { vm, cards })
    }

    /// Starts a VM whose guest may reboot.
    pub fn start_rebootable(&self, name: &str, driver: &Driver) -> Result<Host> {
        let cards = vec![Card::make(driver, ONE_PORT)?];
        let vm = self.start_vm(name, &cards, Role::Source, true)?;
        Ok(Host { vm, cards })
    }

    /// Starts a second VM with the cards of another one.
    pub fn start_again(&self, name: &str, cards: &[Card]) -> Result<Vm> {
        self.start_vm(name, cards, Role::Source, false)
    }

    fn start_vm(&self, name: &str, cards: &[Card], role: Role, may_reboot: bool) -> Result<Vm> {
        let assign = |card: &'_ Card| Assigned {
            path: card.mdev.path().to_owned(),
            properties: card.driver.properties,
            has_port: card.driver.has_port,
        };
        let parameters: Vec<&str> = cards.iter().map(|card| card.driver.guest).collect();
        let setup = Setup {
            qemu: self.qemu,
            name,
            dir: &self.dir,
            image: &self.image,
            devices: &cards.iter().map(assign).collect::<Vec<_>>(),
            parameters: &parameters.join(" "),
            may_reboot,
        };
        Vm::start(&setup, role)
    }

    /// Returns a socket path in the scenario's folder.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// A device and its driver.
pub struct Card {
    /// Its driver.
    pub driver: Driver,
    /// The device.
    pub mdev: Mdev,
}

impl Card {
    /// Makes a device of some type.
    pub fn make(driver: &Driver, kind: &str) -> Result<Card> {
        Ok(Card {
            driver: *driver,
            mdev: MdevType::find(driver.parent, kind)?.create()?,
        })
    }
}

/// A VM and its devices. The VM is dropped first, because a device in use cannot be removed.
pub struct Host {
    /// The VM.
    pub vm: Vm,
    /// Its devices.
    pub cards: Vec<Card>,
}

impl Host {
    /// Returns whether an interrupt line that is raised at the migration stays raised here, with an
    /// interrupt storm in the guest (Documentation/findings.md). A guest rests during a migration
    /// to such a host.
    pub fn leaves_intx_raised(&self) -> bool {
        let mut modules = self.cards.iter().map(|card| card.driver.module);
        modules.any(|module| module == MTTY_C.module)
    }

    fn has_gpu(&self) -> bool {
        let mut modules = self.cards.iter().map(|card| card.driver.module);
        modules.any(|module| module == MGPU_RS.module)
    }
}

/// The state of a guest with nothing in flight.
pub struct Checkpoint {
    /// The data received so far.
    pub counters: Vec<Counters>,
    /// The card's registers.
    pub registers: Vec<Registers>,
}

impl Checkpoint {
    /// Stops the data, reads the state, and resumes the data.
    pub fn take(vm: &mut Vm) -> Result<Checkpoint> {
        let counters = vm.pause_guest()?;
        let registers = vm.registers()?;
        vm.resume_guest()?;
        Ok(Checkpoint {
            counters,
            registers,
        })
    }

    /// Requires that every byte so far was received exactly once.
    pub fn ensure_clean(&self) -> Result<()> {
        for (port, counters) in self.counters.iter().enumerate() {
            let clean = (counters.lost, counters.repeated, counters.corrupt) == (0, 0, 0)
                && counters.written == counters.read;
            ensure!(clean, "port {port} has lost or changed data: {counters:?}");
        }
        Ok(())
    }

    /// Requires a running guest with correct data and registers, and correct pages of its GPU if it
    /// has one.
    pub fn check(host: &mut Host, before: &Checkpoint) -> Result<()> {
        host.vm.await_lines(LINES)?;
        let now = Checkpoint::take(&mut host.vm)?;
        now.ensure_clean()?;
        now.ensure_registers(before)?;
        if host.has_gpu() {
            ensure_whole(&go_on(&mut host.vm)?)?;
        }
        Ok(())
    }

    /// Requires that the card's registers are those of an earlier state.
    pub fn ensure_registers(&self, before: &Checkpoint) -> Result<()> {
        ensure!(
            self.registers == before.registers,
            "the guest sees other registers than before: {:?}, formerly {:?}",
            self.registers,
            before.registers
        );
        Ok(())
    }

    /// Returns a counter summed over the ports.
    pub fn sum(&self, counter: fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(counter).sum()
    }
}

/// Requires that QEMU has printed no complaint.
pub fn ensure_quiet(host: &Host) -> Result<()> {
    let complaints = host.vm.complaints();
    ensure!(
        complaints.is_empty(),
        "QEMU complains: {}",
        complaints.join(" | ")
    );
    Ok(())
}

/// Requires that QEMU has printed no complaint about the device. For a migration that is made to
/// fail, which QEMU reports.
pub fn ensure_device_quiet(host: &Host) -> Result<()> {
    let about_device = |line: &String| line.to_lowercase().contains("vfio");
    let complaints: Vec<String> = host
        .vm
        .complaints()
        .into_iter()
        .filter(about_device)
        .collect();
    ensure!(
        complaints.is_empty(),
        "QEMU complains: {}",
        complaints.join(" | ")
    );
    Ok(())
}

/// Migrates a guest while its data flows, unless it must rest meanwhile, and requires unchanged
/// data and registers.
pub fn migrate_checked(bed: &Bed, source: &mut Host, destination: &mut Host) -> Result<Figures> {
    source.vm.await_lines(LINES)?;
    let before = Checkpoint::take(&mut source.vm)?;
    let rests = destination.leaves_intx_raised();
    if rests {
        source.vm.pause_guest()?;
    }
    let socket = bed.socket("migration");
    let figures = migration::migrate(&mut source.vm, &mut destination.vm, &socket)?;
    if rests {
        destination.vm.resume_guest()?;
    }
    Checkpoint::check(destination, &before)?;
    Ok(figures)
}
