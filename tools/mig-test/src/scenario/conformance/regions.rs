// SPDX-License-Identifier: GPL-2.0
//! Reading and writing the regions: bounds, configuration space, BAR sizing. Errors are those of
//! vfio-pci: EINVAL outside of a BAR, EFAULT beyond configuration space.

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_BAR5_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
};

use super::checks::Checks;
use super::source::on_each;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;

const PCI_STATUS: usize = 0x06;
const PCI_STATUS_CAP_LIST: u8 = 0x10;
const PCI_HEADER_TYPE: usize = 0x0e;
const PCI_BAR0: usize = 0x10;
const PCI_CAPABILITY_LIST: usize = 0x34;
const PCI_INTERRUPT_LINE: usize = 0x3c;
const PCI_STD_HEADER: usize = 0x40;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let mut checks = Checks::default();
    ctx.step("configuration space");
    config(&mut checks, &device)?;
    ctx.step("bounds of the BARs");
    for index in VFIO_PCI_BAR0_REGION_INDEX..=VFIO_PCI_BAR5_REGION_INDEX {
        bar(&mut checks, &device, index)?;
    }
    let regions = device.info(None)?.regions;
    let stride = device.region(1, None)?.offset - device.region(0, None)?.offset;
    for index in [u64::from(regions), u64::from(regions) + 7] {
        let result = device.read(index * stride, &mut [0]);
        checks.equal(format!("read of region {index}"), result, Err(Errno::INVAL));
    }
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

fn bar(checks: &mut Checks, device: &Device, index: u32) -> Result<()> {
    let region = device.region(index, None)?;
    let what = |text: &str| format!("BAR {index} of {} bytes: {text}", region.size);
    let end = region.offset + region.size;
    let outside = Err(Errno::INVAL);
    checks.equal(
        what("read at its end"),
        device.read(end, &mut [0; 4]),
        outside,
    );
    checks.equal(
        what("write at its end"),
        device.write(end, &[0; 4]),
        outside,
    );
    let far = region.offset + (1 << 32);
    checks.equal(what("read far beyond"), device.read(far, &mut [0]), outside);
    if region.size > 0 {
        let across = device.read(end - 1, &mut [0; 2]);
        checks.that(
            what(&format!("read across its end: {across:?}")),
            across != Ok(2),
        );
        checks.equal(
            what("read of its last byte"),
            device.read(end - 1, &mut [0]),
            Ok(1),
        );
    }
    Ok(())
}

fn config(checks: &mut Checks, device: &Device) -> Result<()> {
    let region = device.region(VFIO_PCI_CONFIG_REGION_INDEX, None)?;
    let mut space = vec![0; region.size as usize];
    // QEMU demands that one read gets all of it.
    checks.equal(
        "read of all",
        device.read(region.offset, &mut space),
        Ok(space.len()),
    );
    for size in [1, 2, 4] {
        let mut pieces = vec![0; space.len()];
        for (at, piece) in (0..).zip(pieces.chunks_mut(size)) {
            device.read(region.offset + at * size as u64, piece)?;
        }
        checks.that(format!("read in pieces of {size} differs"), pieces == space);
    }
    let end = region.offset + region.size;
    let outside = Err(Errno::FAULT);
    checks.equal(
        "read beyond the end",
        device.read(end, &mut [0; 4]),
        outside,
    );
    checks.equal("write beyond the end", device.write(end, &[0; 4]), outside);
    checks.equal(
        "read across the end",
        device.read(end - 2, &mut [0; 4]),
        outside,
    );

    let word = |at: usize| u16::from_le_bytes([space[at], space[at + 1]]);
    checks.that("no vendor", !matches!(word(0), 0 | 0xffff));
    checks.equal("header type", space[PCI_HEADER_TYPE] & 0x7f, 0);
    capabilities(checks, &space);
    let writable = region.offset + PCI_INTERRUPT_LINE as u64;
    device.write_byte(writable, 0x0b)?;
    checks.equal("interrupt line", device.read_byte(writable), Ok(0x0b));
    device.write(region.offset, &[0; 2])?;
    let mut vendor = [0; 2];
    device.read(region.offset, &mut vendor)?;
    checks.equal("vendor after a write", u16::from_le_bytes(vendor), word(0));
    sizing(checks, device, region.offset)
}

/// Checks the capability list: it must end, be after the header, and exist only if the status says
/// so.
fn capabilities(checks: &mut Checks, space: &[u8]) {
    if space[PCI_STATUS] & PCI_STATUS_CAP_LIST == 0 {
        return checks.equal(
            "capability pointer without a list",
            space[PCI_CAPABILITY_LIST],
            0,
        );
    }
    let mut seen = Vec::new();
    let mut at = usize::from(space[PCI_CAPABILITY_LIST] & !3);
    while at != 0 {
        if at < PCI_STD_HEADER || at + 1 >= space.len() || seen.contains(&at) {
            return checks.that(format!("the capability list goes to {at:#x}"), false);
        }
        seen.push(at);
        at = usize::from(space[at + 1] & !3);
    }
    checks.that("an empty capability list", !seen.is_empty());
}

/// Checks that a BAR to which ones are written reads back its size. A 64-bit BAR takes two
/// registers, the second of which is not a BAR of its own.
fn sizing(checks: &mut Checks, device: &Device, config: u64) -> Result<()> {
    let mut indices = VFIO_PCI_BAR0_REGION_INDEX..=VFIO_PCI_BAR5_REGION_INDEX;
    while let Some(index) = indices.next() {
        let size = device.region(index, None)?.size;
        let at = config + PCI_BAR0 as u64 + 4 * u64::from(index);
        let low = ones(device, at)?;
        let flags = if low & 1 == 1 { 0x3 } else { 0xf };
        let mask = u64::from(low & !flags);
        let what = format!("size of BAR {index} by its register");
        if low & 0x7 == 0x4 {
            checks.that(
                format!("BAR {index} has an upper half"),
                indices.next().is_some(),
            );
            let high = u64::from(ones(device, at + 4)?);
            checks.equal(what, (!(high << 32 | mask)).wrapping_add(1), size);
        } else {
            let found = u64::from((!(mask as u32)).wrapping_add(1));
            checks.equal(what, found, size);
        }
    }
    Ok(())
}

/// Returns the value of a register after a write of ones, and restores the register.
fn ones(device: &Device, at: u64) -> Result<u32> {
    let (mut old, mut ones) = ([0; 4], [0; 4]);
    device.read(at, &mut old)?;
    device.write(at, &[0xff; 4])?;
    device.read(at, &mut ones)?;
    device.write(at, &old)?;
    Ok(u32::from_le_bytes(ones))
}
