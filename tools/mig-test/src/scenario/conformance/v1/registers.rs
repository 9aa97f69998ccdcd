// SPDX-License-Identifier: GPL-2.0
//! Invalid accesses to the region, and thousands of random ones: each must have a defined result,
//! and the state must always be a legal one.

use anyhow::Result;
use mig_common::random::Random;
use rustix::io::Errno;

use super::{capture, enter, no_region};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::race::{whole, Seen, MARK};
use crate::scenario::conformance::source::on_each;
use crate::scenario::conformance::target::Target;
use crate::scenario::mgpu::random;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::v1::bits::{RESUMING, RUNNING, TARGETS};
use crate::vfio::v1::register::{DATA_OFFSET, DATA_SIZE, DEVICE_STATE, PENDING_BYTES, RESERVED};
use crate::vfio::v1::{MigrationRegion, Way};

/// The number of random accesses.
const RANDOM: usize = 10_000;
/// Widths that are tried.
const WIDTHS: [usize; 8] = [1, 2, 3, 4, 5, 8, 12, 16];
/// Width of each register.
const REGISTERS: [(u64, usize); 5] = [
    (DEVICE_STATE, 4),
    (RESERVED, 4),
    (PENDING_BYTES, 8),
    (DATA_OFFSET, 8),
    (DATA_SIZE, 8),
];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let Some(region) = device.migration_region()? else {
        return Ok(no_region(&target));
    };
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    device.reset()?;
    let new = capture(&region, Way::Mapped)?;
    target.mark(&device, MARK)?;
    let stream = capture(&region, Way::Mapped)?;

    ctx.step("widths, alignments, directions");
    for state in TARGETS {
        enter(&device, &region, state, &stream)?;
        header(&mut checks, &region, state);
        directions(&mut checks, &region, state);
        edges(&mut checks, &region, state);
        checks.equal("the state after all of it", region.state(), Ok(state));
    }
    ctx.step("mappings");
    mappings(&mut checks, &region);

    ctx.step(format!("{RANDOM} random accesses"));
    let mut seen = [0; TARGETS.len()];
    let mut done = Seen::default();
    for _ in 0..RANDOM {
        access(&device, &region, &mut random, &mut done);
        let state = region.state();
        let index = state.map_or(usize::MAX, |bits| bits as usize);
        match seen.get_mut(index) {
            Some(count) => *count += 1,
            None => checks.that(format!("state {state:?}"), false),
        }
    }
    checks.that(
        format!("some state was never seen: {seen:?}"),
        seen.iter().all(|count| *count > 0),
    );
    done.judge(&mut checks, &["read", "write", "reset"].map(String::from));
    checks.equal("reset after it all", device.reset(), Ok(()));
    checks.equal("state after it all", region.state(), Ok(RUNNING));
    let after = capture(&region, Way::Mapped)?;
    whole(&mut checks, &target, &after, &new);
    ctx.step(format!("{} checks made", checks.made()));
    Ok(checks.outcome())
}

/// Tests that a register can be accessed only with its own width at its own offset, and the rest of
/// the header not at all.
fn header(checks: &mut Checks, region: &MigrationRegion, state: u32) {
    for offset in 0..0x40 {
        for width in WIDTHS {
            let mut bytes = vec![0; width];
            let wanted = match REGISTERS.contains(&(offset, width)) {
                true => Ok(width),
                false => Err(Errno::INVAL),
            };
            let what = format!("{width} bytes at {offset:#x} in {state}");
            checks.equal(
                format!("read of {what}"),
                region.read(offset, &mut bytes),
                wanted,
            );
            if wanted.is_err() {
                checks.equal(
                    format!("write of {what}"),
                    region.write(offset, &bytes),
                    wanted,
                );
            }
        }
    }
}

/// Tests that writes to read-only registers fail, and that reserved ones accept any write.
fn directions(checks: &mut Checks, region: &MigrationRegion, state: u32) {
    let invalid = Err(Errno::INVAL);
    for register in [PENDING_BYTES, DATA_OFFSET] {
        let written = region.write(register, &[0; 8]);
        checks.equal(
            format!("write to {register:#x} in {state}"),
            written,
            invalid,
        );
    }
    checks.equal(
        "write to reserved",
        region.write(RESERVED, &[0xff; 4]),
        Ok(4),
    );
    let mut reserved = [0xff; 4];
    checks.equal("reserved", region.read(RESERVED, &mut reserved), Ok(4));
    checks.equal("reserved", reserved, [0; 4]);
    let loads = state == RESUMING;
    let written = region.write(DATA_SIZE, &[0; 8]);
    checks.equal(
        format!("no bytes to load in {state}"),
        written,
        if loads { Ok(8) } else { invalid },
    );
    for size in [region.window.len() as u64 + 1, u64::MAX] {
        let written = region.set_data_size(size);
        checks.equal(
            format!("{size} bytes to load in {state}"),
            written,
            Err(Errno::INVAL),
        );
    }
    checks.equal("data_offset", region.data_offset(), Ok(region.start));
}

/// Tests that accesses are cut at the window's end, and that it can be written only while loading.
fn edges(checks: &mut Checks, region: &MigrationRegion, state: u32) {
    let invalid = Err(Errno::INVAL);
    for outside in [0x20, 0x1000, region.start - 1, region.size, region.size + 1] {
        let what = format!("{outside:#x} in {state}");
        let read = region.read(outside, &mut [0; 1]);
        checks.equal(format!("read at {what}"), read, invalid);
        let written = region.write(outside, &[0; 1]);
        checks.equal(format!("write at {what}"), written, invalid);
    }
    let loads = state == RESUMING;
    for (offset, width, inside) in [
        (region.start, 1, 1),
        (region.start + 3, 8, 8),
        (region.size - 1, 1, 1),
        (region.size - 3, 8, 3),
    ] {
        let mut bytes = vec![0; width];
        let what = format!("{width} bytes at {offset:#x} in {state}");
        checks.equal(
            format!("read of {what}"),
            region.read(offset, &mut bytes),
            Ok(inside),
        );
        let wanted = if loads { Ok(inside) } else { invalid };
        checks.equal(
            format!("write of {what}"),
            region.write(offset, &bytes),
            wanted,
        );
    }
}

/// Tests that only the window can be mapped.
fn mappings(checks: &mut Checks, region: &MigrationRegion) {
    let len = region.window.len();
    let page = 4096;
    let last = region.size - page as u64;
    for (what, offset, bytes, wanted) in [
        ("all of the window", region.start, len, true),
        ("its last page", last, page, true),
        ("the registers", 0, page, false),
        (
            "the page before it",
            region.start - page as u64,
            page,
            false,
        ),
        ("registers and window", 0, region.size as usize, false),
        ("a page beyond", last, 2 * page, false),
        ("the page behind it", region.size, page, false),
    ] {
        let mapped = region.map(offset, bytes).is_ok();
        checks.equal(format!("mapping {what}"), mapped, wanted);
    }
}

/// Returns an access of any width at any place, more often at registers.
fn access(device: &Device, region: &MigrationRegion, random: &mut Random, seen: &mut Seen) {
    let width = match random.below(4) {
        0 => 1 + random.below(20),
        1 => random.size(70_000),
        2 => 4,
        _ => 8,
    };
    let offset = match random.below(8) {
        0 => DEVICE_STATE,
        1 | 2 => REGISTERS[random.below(REGISTERS.len())].0,
        3 => random.below(0x40) as u64,
        4 => region.start + random.below(region.window.len()) as u64,
        5 => region.start - 8 + random.below(16) as u64,
        6 => region.size - 8 + random.below(16) as u64,
        _ => random.next_u64() >> random.below(64),
    };
    // What leads elsewhere than to this region is another test's.
    if offset >= 1 << 40 {
        return;
    }
    let mut bytes = vec![0; width];
    if random.coin() {
        if region.read(offset, &mut bytes).is_ok() {
            seen.done("read");
        }
        return;
    }
    let value = match random.below(3) {
        0 => random.next_u64(),
        _ => random.below(10) as u64,
    };
    for (byte, from) in bytes.iter_mut().zip(value.to_ne_bytes()) {
        *byte = from;
    }
    if region.write(offset, &bytes).is_ok() {
        seen.done("write");
    }
    if random.below(200) == 0 && device.reset().is_ok() {
        seen.done("reset");
    }
}
