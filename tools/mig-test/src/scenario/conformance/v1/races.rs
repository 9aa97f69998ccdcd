// SPDX-License-Identifier: GPL-2.0
//! Both protocols, the window and reset from several threads at once. Whatever comes out, no call
//! hangs, the kernel log stays clean (the agent looks), and the device is whole in the end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::thread;

use anyhow::Result;
use rustix::io::Errno;

use super::{capture, no_region};
use crate::event::Outcome;
use crate::scenario::conformance::checks::Checks;
use crate::scenario::conformance::target::Target;
use crate::scenario::mgpu::random::Random;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;
use crate::vfio::v1::bits::{RESUMING, TARGETS};
use crate::vfio::v1::{MigrationRegion, Way};

/// Operations of each thread.
const ROUNDS: usize = 2000;
/// What a call may answer while others change the state.
const ANSWERS: [Errno; 3] = [Errno::INVAL, Errno::BUSY, Errno::NODEV];
/// What a stream may be refused with that somebody scribbles into.
const REFUSALS: [Errno; 3] = [Errno::BADMSG, Errno::OPNOTSUPP, Errno::NOMEM];

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let target = Target::prepare(ctx)?;
    let device = target.open()?;
    let Some(region) = device.migration_region()? else {
        return Ok(no_region());
    };
    let mut random = Random::prepare(ctx)?;
    let mut checks = Checks::default();
    let stream = capture(&region, Way::Mapped)?;
    ctx.step(format!("five threads, {ROUNDS} operations each"));

    let (start, over) = (Barrier::new(5), AtomicBool::new(false));
    let mut seed = || Random::new(random.next());
    let strange = thread::scope(|scope| {
        let (device, region, stream) = (&device, &region, &stream[..]);
        let (start, over) = (&start, &over);
        let mut each = |act: Act| {
            let mut random = seed();
            scope.spawn(move || {
                start.wait();
                let all = (0..ROUNDS).filter_map(|_| act(device, region, stream, &mut random));
                all.collect::<Vec<String>>()
            })
        };
        let threads = [each(by_v1), each(by_v1), each(by_v2), each(by_reset)];
        let scribbler = scope.spawn(move || {
            start.wait();
            while !over.load(Ordering::Acquire) {
                // The place of a record's size: what is checked must be what is used.
                region.window.write(0, &[0xff; 8]);
                region.window.write(0, &stream[..8]);
            }
        });
        let mut strange = Vec::new();
        for thread in threads {
            strange.extend(thread.join().unwrap_or_else(|_| vec!["a panic".into()]));
        }
        over.store(true, Ordering::Release);
        if scribbler.join().is_err() {
            strange.push("the scribbler panicked".into());
        }
        strange
    });
    for text in strange {
        checks.that(text, false);
    }
    checks.equal("reset after it all", device.reset(), Ok(()));
    checks.equal("state after it all", device.state(), Ok(State::Running));
    checks.that(
        "the device saves another length",
        capture(&region, Way::Mapped)?.len() == stream.len(),
    );
    Ok(checks.outcome())
}

/// One operation. Returns what must not come out, whatever the others do.
type Act = fn(&Device, &MigrationRegion, &[u8], &mut Random) -> Option<String>;

fn by_v1(
    _: &Device,
    region: &MigrationRegion,
    stream: &[u8],
    random: &mut Random,
) -> Option<String> {
    let target = TARGETS[random.below(TARGETS.len())];
    if let Err(error) = region.set_state(target) {
        return unexpected(format!("v1 -> {target}"), error, &[]);
    }
    let result = if target == RESUMING {
        let length = random.below(stream.len() + 1);
        let way = [Way::Mapped, Way::Trapped][random.below(2)];
        region.load(way, &stream[..length], &[1 + random.below(200)])
    } else {
        // Another thread may take the chunk, or the session, at any moment.
        let pending = region.pending();
        pending.and_then(|_| region.data_offset().and(region.data_size()).map(drop))
    };
    unexpected(format!("v1 in {target}"), result.err()?, &REFUSALS)
}

fn by_v2(
    device: &Device,
    _: &MigrationRegion,
    stream: &[u8],
    random: &mut Random,
) -> Option<String> {
    let target = State::TARGETS[random.below(State::TARGETS.len())];
    let file = match device.set_state(target) {
        Ok(file) => file?,
        Err(error) => return unexpected(format!("v2 -> {target:?}"), error, &[]),
    };
    let result = match target {
        State::Resuming => file.write(&stream[..random.below(stream.len() + 1)]),
        _ => file.read(&mut [0; 64]),
    };
    unexpected(format!("v2 in {target:?}"), result.err()?, &[Errno::NOMSG])
}

fn by_reset(device: &Device, _: &MigrationRegion, _: &[u8], random: &mut Random) -> Option<String> {
    if random.below(8) > 0 {
        thread::yield_now();
        return None;
    }
    device
        .reset()
        .err()
        .map(|error| format!("reset: {error:?}"))
}

fn unexpected(what: String, error: Errno, more: &[Errno]) -> Option<String> {
    let expected = ANSWERS.contains(&error) || more.contains(&error);
    (!expected).then(|| format!("{what}: {error:?}"))
}
