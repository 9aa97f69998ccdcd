// SPDX-License-Identifier: GPL-2.0
//! Several threads at one device: registers, states, data and reset at once. Whatever comes out, no
//! call hangs, the kernel log stays clean (the agent looks), and the device is whole in the end.

use std::sync::Barrier;
use std::thread;

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::VFIO_PCI_BAR0_REGION_INDEX;

use super::checks::Checks;
use super::session::capture;
use super::target::Target;
use crate::event::Outcome;
use crate::scenario::Ctx;
use crate::vfio::device::Device;
use crate::vfio::migration::State;

/// Operations of each thread.
const ROUNDS: u32 = 400;

/// Runs the scenario.
pub fn run(ctx: &mut Ctx) -> Result<Outcome> {
    let target = Target::prepare(ctx)?;
    let device = target.open()?;
    let stream = capture(&device)?;
    let bar = device.region(VFIO_PCI_BAR0_REGION_INDEX, None)?;
    let mut checks = Checks::default();
    ctx.step(format!("five threads, {ROUNDS} operations each"));

    let start = Barrier::new(5);
    let unexpected = thread::scope(|scope| {
        let registers = |seed: u32| {
            let (device, start) = (&device, &start);
            move || {
                start.wait();
                for number in sequence(seed) {
                    let at = bar.offset + u64::from(number) % bar.size.max(1);
                    // Data registers apart, where what a stopped device answers is its own affair.
                    let _ = device.read_byte(at);
                    let _ = device.write_byte(at, number as u8);
                }
                Vec::new()
            }
        };
        let states = |seed: u32| {
            let (device, start, stream) = (&device, &start, &stream);
            move || {
                start.wait();
                sequence(seed)
                    .filter_map(|number| change(device, stream, number))
                    .collect()
            }
        };
        let resets = || {
            start.wait();
            sequence(9)
                .filter(|number| number % 8 == 0)
                .filter_map(|_| {
                    device
                        .reset()
                        .err()
                        .map(|error| format!("reset: {error:?}"))
                })
                .collect::<Vec<String>>()
        };
        let threads = [
            scope.spawn(registers(1)),
            scope.spawn(registers(2)),
            scope.spawn(states(3)),
            scope.spawn(states(4)),
            scope.spawn(resets),
        ];
        threads.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| vec!["a thread panicked".into()])
        })
    });
    for text in unexpected.concat() {
        checks.that(text, false);
    }
    checks.equal("reset after it all", device.reset(), Ok(()));
    checks.equal("state after it all", device.state(), Ok(State::Running));
    checks.that(
        "the device saves another length",
        capture(&device)?.len() == stream.len(),
    );
    Ok(checks.outcome())
}

/// Asks for a state and uses its file. Returns what must not come out, whatever the others do.
fn change(device: &Device, stream: &[u8], number: u32) -> Option<String> {
    let state = State::TARGETS[number as usize % State::TARGETS.len()];
    let allowed = [Errno::INVAL, Errno::NODEV, Errno::BUSY];
    let file = match device.set_state(state) {
        Ok(file) => file?,
        Err(error) if allowed.contains(&error) => return None,
        Err(error) => return Some(format!("{state:?}: {error:?}")),
    };
    let result = match state {
        State::Resuming => file.write(&stream[..number as usize % (stream.len() + 1)]),
        _ => file.read(&mut [0; 64]),
    };
    match result {
        Ok(_) | Err(Errno::NODEV | Errno::NOMSG | Errno::INVAL) => None,
        Err(error) => Some(format!("data file of {state:?}: {error:?}")),
    }
}

/// Numbers that look random and are the same in every run (Marsaglia's xorshift).
fn sequence(seed: u32) -> impl Iterator<Item = u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b1) | 1;
    (0..ROUNDS).map(move |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    })
}
