// SPDX-License-Identifier: GPL-2.0
//! One live migration of a running guest with busy devices, with figures: for this project's
//! drivers, and for mainline's C driver.

use anyhow::Result;

use super::bed::{
    kernel_release, load, skipped_without_v2, Bed, Checkpoint, Host, Kind, BOTH, MGPU_16, MGPU_RS,
    MTTY_C, ONE_PORT,
};
use super::mgpu::guest::{commands_left, draw, go_on, shows, BATCHES};
use super::Ctx;
use crate::event::Outcome;
use crate::qemu::migration;
use crate::qemu::vm::Role;
use crate::report;

/// The number of lines before the migration, and after it.
const LINES: u64 = 24;
/// The seed of the GPU's work.
const SEED: u64 = 1;
/// The number of the picture.
const PICTURE: u32 = 1;

/// Migrates a guest with a device of each of this project's drivers.
pub fn demo(ctx: &mut Ctx) -> Result<Outcome> {
    let report = migrate(ctx, &BOTH)?;
    let verdict = judge(&report, true);
    ctx.report(&report)?;
    Ok(verdict)
}

/// Migrates a guest with the toy GPU only.
pub fn mgpu_guest(ctx: &mut Ctx) -> Result<Outcome> {
    let report = migrate(ctx, &[(MGPU_RS, MGPU_16)])?;
    let verdict = judge(&report, true);
    ctx.report(&report)?;
    Ok(verdict)
}

/// Migrates a guest with mainline's mtty only. QEMU's complaints about that driver are reported and
/// do not fail the scenario.
pub fn mtty_c_baseline(ctx: &mut Ctx) -> Result<Outcome> {
    if let Some(skipped) = skipped_without_v2(ctx) {
        return Ok(skipped);
    }
    let report = migrate(ctx, &[(MTTY_C, ONE_PORT)])?;
    let verdict = judge(&report, false);
    ctx.report(&report)?;
    Ok(verdict)
}

fn migrate(ctx: &mut Ctx, kinds: &[Kind]) -> Result<report::Migration> {
    let devices: Vec<&str> = kinds.iter().map(|(driver, _)| driver.module).collect();
    ctx.step(format!("loading {}", devices.join(" and ")));
    devices.iter().try_for_each(|module| load(module))?;
    let bed = Bed::prepare(ctx)?;

    ctx.step("starting the source, booting its guest");
    let mut source = bed.start_of("source", kinds, Role::Source)?;
    source.vm.await_ready()?;
    let is_gpu = |(driver, _): &Kind| driver.module == MGPU_RS.module;
    let mut gpu = match kinds.iter().position(is_gpu) {
        Some(card) => Some(Gpu::begin(&mut source, card)?),
        None => None,
    };
    let serial = match kinds.iter().all(is_gpu) {
        true => None,
        false => Some(Serial::begin(&mut source)?),
    };

    ctx.step("starting the destination");
    let mut destination = bed.start_of("destination", kinds, Role::Destination)?;
    ctx.step("migrating the running guest");
    if serial.is_some() {
        source.vm.await_lines(1)?;
    }
    if gpu.is_some() {
        source.vm.gpu_batches(BATCHES)?;
    }
    let rests = destination.leaves_intx_raised();
    if rests {
        source.vm.pause_guest()?;
    }
    let socket = bed.socket("migration");
    migration::listen(&mut destination.vm, &socket)?;
    migration::start(&mut source.vm, &socket, migration::Stop::Never)?;
    let figures = migration::arrive(&mut source.vm, &mut destination.vm)?;
    if let Some(gpu) = &mut gpu {
        gpu.carried = commands_left(&mut source.vm, gpu.card)?;
    }
    destination.vm.succeed(&mut source.vm)?;
    if rests {
        destination.vm.resume_guest()?;
    }

    ctx.step("checking the guest's data on the destination");
    let gpu = gpu.map(|gpu| gpu.end(&source, &mut destination));
    let serial = serial.map(|serial| serial.end(&mut destination));
    let mut qemu_complaints = source.vm.complaints();
    qemu_complaints.extend(destination.vm.complaints());
    Ok(report::Migration {
        devices: devices.join(", "),
        total_ms: figures.total_ms,
        downtime_ms: figures.downtime_ms,
        setup_ms: figures.setup_ms,
        device_bytes: figures.device_bytes,
        serial: serial.transpose()?,
        gpu: gpu.transpose()?,
        kernel: kernel_release()?,
        qemu: source.vm.version.clone(),
        qemu_complaints,
    })
}

/// The state of the serial card before the migration.
struct Serial(Checkpoint);

impl Serial {
    fn begin(source: &mut Host) -> Result<Serial> {
        source.vm.await_lines(LINES)?;
        Checkpoint::take(&mut source.vm).map(Serial)
    }

    fn end(self, destination: &mut Host) -> Result<report::Serial> {
        let Serial(before) = self;
        destination.vm.await_lines(LINES)?;
        let after = Checkpoint::take(&mut destination.vm)?;
        let unaccounted = after
            .sum(|c| c.written)
            .saturating_sub(after.sum(|c| c.read));
        let lines_before = before.sum(|c| c.lines);
        Ok(report::Serial {
            bytes_lost: after.sum(|c| c.lost).max(unaccounted),
            bytes_repeated: after.sum(|c| c.repeated),
            bytes_corrupt: after.sum(|c| c.corrupt),
            registers_equal: after.registers == before.registers,
            lines_before,
            lines_after: after.sum(|c| c.lines) - lines_before,
        })
    }
}

/// The state of the GPU before the migration.
struct Gpu {
    /// Its index among the devices.
    card: usize,
    /// Commands that the source has left to the destination.
    carried: u32,
}

impl Gpu {
    fn begin(source: &mut Host, card: usize) -> Result<Gpu> {
        draw(&mut source.vm, card, PICTURE)?;
        source.vm.gpu_work(SEED)?;
        Ok(Gpu { card, carried: 0 })
    }

    fn end(self, source: &Host, destination: &mut Host) -> Result<report::Gpu> {
        let checked = go_on(&mut destination.vm)?;
        let sent = source.vm.traffic()?.of(&source.cards[self.card].mdev.uuid);
        Ok(report::Gpu {
            gpu_pre_copy_bytes: sent.pre_copy,
            gpu_stop_copy_bytes: sent.stop_copy,
            commands_carried: self.carried,
            commands: checked.commands,
            pages_checked: checked.looks,
            pages_lost: checked.lost,
            pages_corrupt: checked.corrupt,
            first_damage: checked.first,
            picture_equal: shows(&mut destination.vm, self.card, PICTURE)?,
        })
    }
}

fn judge(report: &report::Migration, complaints_count: bool) -> Outcome {
    let damage =
        |serial: &report::Serial| serial.bytes_lost + serial.bytes_repeated + serial.bytes_corrupt;
    let (serial, gpu) = (report.serial.as_ref(), report.gpu.as_ref());
    let reason = if serial.is_some_and(|serial| damage(serial) > 0) {
        "the guest's data did not come through".to_owned()
    } else if serial.is_some_and(|serial| !serial.registers_equal) {
        "the guest sees other registers than before the migration".to_owned()
    } else if gpu.is_some_and(|gpu| gpu.pages_lost + gpu.pages_corrupt > 0) {
        "pages of the GPU did not come through".to_owned()
    } else if gpu.is_some_and(|gpu| !gpu.picture_equal) {
        "the screen shows another picture than before the migration".to_owned()
    } else if complaints_count && !report.qemu_complaints.is_empty() {
        format!("QEMU complains: {}", report.qemu_complaints.join(" | "))
    } else {
        return Outcome::Passed;
    };
    Outcome::Failed { reason }
}
