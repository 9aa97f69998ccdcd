// SPDX-License-Identifier: GPL-2.0
//! Both protocols, the window and reset from several threads concurrently. Each kind of call must
//! succeed sometimes, no call may hang, the kernel log must stay clean (the agent checks it), and
//! the device must work in the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use mig_common::random::Random;
use rustix::io::Errno;

use super::{capture, lacks};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::oracle::Oracle;
use crate::scenario::conformance::race::{race, some, whole, Seen, MARK};
use crate::scenario::conformance::source::on_each;
use crate::scenario::conformance::target::Target;
use crate::scenario::mgpu::random;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;
use crate::vfio::v1::bits::{RESUMING, TARGETS};
use crate::vfio::v1::{MigrationRegion, Way};

/// The errors that a call may return while others change the state.
const ANSWERS: [Errno; 3] = [Errno::INVAL, Errno::BUSY, Errno::NODEV];
/// The errors for a stream that another thread overwrites.
const REFUSALS: [Errno; 3] = [Errno::BADMSG, Errno::OPNOTSUPP, Errno::NOMEM];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    on_each(ctx, test)
}

/// Tests one device.
pub fn test(ctx: &mut Ctx, target: Target) -> Result<Outcome> {
    let device = target.open()?;
    let (Some(region), Ok(flags)) = (device.migration_region()?, device.migration_flags()) else {
        return Ok(lacks(&target, "the device does not offer both protocols"));
    };
    let mut random = random::prepare(ctx)?;
    let mut checks = Checks::default();
    let oracle = Oracle::new(flags);
    device.reset()?;
    let new = capture(&region, Way::Mapped)?;
    target.mark(&device, MARK)?;
    let stream = capture(&region, Way::Mapped)?;
    ctx.step("three threads, one at the window, and resets");

    let v1 = TARGETS.map(|state| format!("v1 -> {state}"));
    let v2 = oracle.states().map(|state| format!("v2 -> {state:?}"));
    let others = [
        "v1 saving",
        "v1 loading",
        "v2 saving",
        "v2 loading",
        "reset",
    ];
    let others = others.map(String::from);
    let wanted: Vec<_> = v1.into_iter().chain(v2).chain(others).collect();

    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let window = &region.window;
        let scribbler = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                // The place of a record's size: what is checked must be what is used.
                window.write(0, &[0xff; 8]);
                window.write(0, &stream[..8]);
            }
        });
        let v1 = |random: &mut Random, seen: &mut Seen| by_v1(&region, &stream, random, seen);
        let v2 = |random: &mut Random, seen: &mut Seen| by_v2(&device, &stream, random, seen);
        let mut seen = race(
            &device,
            &mut random,
            &[&v1 as _, &v1 as _, &v2 as _],
            &wanted,
        );
        over.store(true, Ordering::Release);
        if scribbler.join().is_err() {
            seen.strange("the scribbler panicked");
        }
        seen
    });
    ctx.step(seen.counts());
    seen.judge(&mut checks, &wanted);
    checks.equal("reset after it all", device.reset(), Ok(()));
    checks.equal("state after it all", device.state(), Ok(State::Running));
    let after = capture(&region, Way::Mapped)?;
    whole(&mut checks, &target, &after, &new);
    Ok(checks.outcome())
}

/// Requests a state of protocol v1 and transfers data.
fn by_v1(region: &MigrationRegion, stream: &[u8], random: &mut Random, seen: &mut Seen) {
    let target = TARGETS[random.below(TARGETS.len())];
    let what = format!("v1 -> {target}");
    match region.set_state(target) {
        Ok(()) => seen.done(what),
        Err(error) => return unexpected(seen, &what, error, &[]),
    }
    if target == RESUMING {
        let length = some(stream.len(), random);
        let way = [Way::Mapped, Way::Trapped][random.below(2)];
        match region.load(way, &stream[..length], &[1 + random.below(200)]) {
            Ok(()) => seen.done("v1 loading"),
            Err(error) => unexpected(seen, "v1 loading", error, &REFUSALS),
        }
        return;
    }
    // Another thread may take the chunk, or the session, at any moment.
    let pending = region.pending();
    match pending.and_then(|_| region.data_offset().and(region.data_size())) {
        Ok(0) => {}
        Ok(_) => seen.done("v1 saving"),
        Err(error) => unexpected(seen, &format!("v1 in {target}"), error, &REFUSALS),
    }
}

/// Requests a state of protocol v2 and uses its file.
fn by_v2(device: &Device, stream: &[u8], random: &mut Random, seen: &mut Seen) {
    let target = State::TARGETS[random.below(State::TARGETS.len())];
    let what = format!("v2 -> {target:?}");
    let file = match device.set_state(target) {
        Ok(file) => file,
        Err(error) => return unexpected(seen, &what, error, &[]),
    };
    seen.done(what);
    let Some(file) = file else {
        return;
    };
    let (what, result) = match target {
        State::Resuming => {
            let length = some(stream.len(), random);
            ("v2 loading", file.write(&stream[..length]))
        }
        _ => ("v2 saving", file.read(&mut [0; 64])),
    };
    match result {
        Ok(0) => {}
        Ok(_) => seen.done(what),
        Err(error) => unexpected(seen, what, error, &[Errno::NOMSG]),
    }
}

fn unexpected(seen: &mut Seen, what: &str, error: Errno, more: &[Errno]) {
    if !ANSWERS.contains(&error) && !more.contains(&error) {
        seen.strange(format!("{what}: {error:?}"));
    }
}
