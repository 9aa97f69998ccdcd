// SPDX-License-Identifier: GPL-2.0
//! Moves a device at work to another one by one of the ways, through either protocol, and checks
//! what is required of the device meanwhile.

use std::thread;

use anyhow::Result;
use mig_common::random::Random;
use rustix::io::Errno;

use super::play::{Fault, Player};
use super::rig::Rig;
use super::snapshot::{first_difference, Part, Readable, Snapshot};
use super::way::Way;
use crate::vfio::migration::{DataFile, State};

/// System calls between two looks at a stopped device.
pub const LOOKS: usize = 200;
/// Bytes of a large read or write.
pub const LARGE: usize = 1 << 20;
/// Sizes of small ones, which are repeated: none divides another.
const SMALL: [usize; 5] = [1, 7, 64, 4099, 13];

/// What is moved how.
pub struct Move<'a> {
    /// The device.
    pub source: &'a Rig,
    /// Where it continues.
    pub destination: &'a Rig,
    /// What is compared.
    pub readable: &'a Readable,
    /// The interrupt that the guest listens to.
    pub interrupt: Option<u32>,
    /// The way.
    pub way: Way,
}

/// A failed call, as the violation of a rule.
pub fn failed(what: &str) -> impl Fn(Errno) -> Fault + '_ {
    move |errno| Fault {
        rule: "move.completes",
        shows: format!("{what}: {errno}"),
    }
}

/// A result, a fault of the device, or an error of the test.
pub type Moved<T> = Result<Result<T, Fault>>;

/// Bytes that MIG_DATA_SIZE may say beyond twice what there is.
const NEAR: u64 = 1 << 20;

/// Returns early with a fault of the device.
macro_rules! sound {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(fault) => return Ok(Err(fault)),
        }
    };
}

pub(super) use sound;

impl Move<'_> {
    /// Moves the device, and returns the stream. `player` has worked on it and works on at the
    /// destination. `between` is called when the device is saved, before it is loaded.
    pub fn make(
        &self,
        player: &mut Player<'_>,
        between: impl FnOnce() -> Result<()>,
    ) -> Moved<Vec<u8>> {
        let stream = match self.way {
            way if way.is_v1() => sound!(self.save_v1(player)?),
            _ => sound!(self.save(player)?),
        };
        if self.way.is_cancelled() {
            return Ok(Ok(stream));
        }
        if std::ptr::eq(self.source, self.destination) {
            self.source.listen(None)?;
            self.source.reset()?;
        }
        between()?;
        sound!(match self.way.is_v1() {
            true => self.load_v1(&stream)?,
            false => self.load(&stream)?,
        });
        if !std::ptr::eq(self.source, self.destination) {
            self.source.listen(None)?;
        }
        Ok(Ok(stream))
    }

    fn set(&self, rig: &Rig, state: State) -> Result<Option<DataFile>, Fault> {
        rig.set_state(state).map_err(failed(&format!("{state:?}")))
    }

    fn file(&self, rig: &Rig, state: State) -> Result<DataFile, Fault> {
        let file = self.set(rig, state)?;
        file.ok_or_else(|| failed(&format!("{state:?} without a data file"))(Errno::BADF))
    }

    fn save(&self, player: &mut Player<'_>) -> Moved<Vec<u8>> {
        let source = self.source;
        let mut stream = Vec::new();
        let mut file = None;
        if matches!(
            self.way,
            Way::Anew | Way::CancelledPreCopy | Way::CancelledP2p
        ) {
            let first = sound!(self.file(source, State::PreCopy));
            sound!(read(&first, 4096, 1).map_err(failed("a read in PRE_COPY")));
            if self.way == Way::CancelledP2p {
                sound!(self.set(source, State::PreCopyP2p));
                sound!(self.set(source, State::RunningP2p));
            }
            sound!(self.set(source, State::Running));
            if self.way.is_cancelled() {
                return Ok(Ok(Vec::new()));
            }
        }
        if self.way.needs_pre_copy() {
            let new = sound!(self.file(source, State::PreCopy));
            let rounds = match self.way {
                Way::Working(steps) => steps,
                Way::TurnedBack => 1,
                _ => 0,
            };
            if self.way == Way::TurnedBack {
                sound!(self.set(source, State::PreCopyP2p));
                sound!(self.set(source, State::PreCopy));
            }
            for _ in 0..rounds {
                let some = read(&new, LARGE, 2).map_err(failed("a read in PRE_COPY"));
                stream.extend(sound!(some));
                if let Some(fault) = player.play(source, player.done + 1)? {
                    return Ok(Err(fault));
                }
            }
            let rest = read_small(&new).map_err(failed("a read in PRE_COPY"));
            stream.extend(sound!(rest));
            if self.way == Way::InP2p {
                sound!(self.set(source, State::PreCopyP2p));
                if let Some(fault) = player.play_write(source)? {
                    return Ok(Err(fault));
                }
            }
            file = Some(new);
        } else {
            sound!(self.set(source, State::Stop));
            player.arrived.add(&source.signals()?);
        }
        let stopped = file.is_none().then(|| self.memory()).transpose()?;
        if self.way == Way::StopCopy {
            sound!(self.saves_the_same()?);
        }
        let new = sound!(self.set(source, State::StopCopy));
        player.arrived.add(&source.signals()?);
        let file = sound!(file.or(new).ok_or_else(|| failed("STOP_COPY")(Errno::BADF)));
        let before = stopped.map_or_else(|| self.memory(), Ok)?;
        let promised = source.device.stop_copy_length();
        let promised = sound!(promised.map_err(failed("VFIO_DEVICE_FEATURE_MIG_DATA_SIZE")));
        let mut rest = Vec::new();
        let small: &[usize] = if self.way == Way::PreCopy {
            &SMALL
        } else {
            &[]
        };
        for size in small {
            let some = read(&file, *size, 1).map_err(failed("a read in STOP_COPY"));
            rest.extend(sound!(some));
        }
        let (large, is_end) = sound!(file
            .read_to_end(LARGE)
            .map_err(failed("a read in STOP_COPY")));
        rest.extend(large);
        if !is_end {
            return Ok(Err(failed("the end of STOP_COPY")(Errno::NOMSG)));
        }
        if rest.len() as u64 > promised {
            let shows = format!("it gives {} bytes, and promised {promised}", rest.len());
            return Ok(Err(Fault {
                rule: "size.stop-copy",
                shows,
            }));
        }
        stream.extend(rest);
        sound!(self.is_quiet(&before)?);
        if self.way == Way::CancelledStopCopy {
            sound!(self.set(source, State::Running));
        }
        Ok(Ok(stream))
    }

    pub(super) fn memory(&self) -> Result<Snapshot> {
        Snapshot::take_parts(self.source, self.readable, &Part::MEMORY)
    }

    /// Checks that the stopped source saves the same twice, and about as much as it says.
    fn saves_the_same(&self) -> Moved<()> {
        let source = self.source;
        let mut saved = Vec::new();
        let said = source.device.stop_copy_length();
        let said = sound!(said.map_err(failed("VFIO_DEVICE_FEATURE_MIG_DATA_SIZE")));
        for _ in 0..2 {
            let file = sound!(self.file(source, State::StopCopy));
            let stream = file.read_to_end(LARGE);
            saved.push(sound!(stream.map_err(failed("a read in STOP_COPY"))).0);
            sound!(self.set(source, State::Stop));
        }
        let (first, second) = (&saved[0], &saved[1]);
        let gives = first.len() as u64;
        let shows = format!("stopped, it says {said} bytes, and gives {gives}");
        if gives > said {
            let rule = "size.stop-copy";
            return Ok(Err(Fault { rule, shows }));
        }
        if said > 2 * gives + NEAR {
            let rule = "size.near";
            return Ok(Err(Fault { rule, shows }));
        }
        if first != second {
            let at = first_difference(first, second);
            let (one, other) = (first.len(), second.len());
            let shows = format!("of {one} and {other} bytes, those from {at} on differ");
            let rule = "stop.same";
            return Ok(Err(Fault { rule, shows }));
        }
        Ok(Ok(()))
    }

    /// Checks that the stopped source has changed no memory since `before`, changes no register and
    /// signals nothing.
    pub(super) fn is_quiet(&self, before: &Snapshot) -> Moved<()> {
        let source = self.source;
        let fault = |rule, shows| Ok(Err(Fault { rule, shows }));
        let signals = source.signals()?;
        let memory = self.memory()?;
        if let Some(what) = before.differs(&memory, Part::GuestMemory) {
            return fault("stop.guest-memory", what);
        }
        if let Some(what) = before.differs(&memory, Part::DeviceMemory) {
            return fault("stop.device", what);
        }
        // A device that goes on where it is must not be read: a read may change a register.
        if !self.way.is_cancelled() {
            // The first one takes away what a read takes away.
            Snapshot::take(source, self.readable)?;
            let first = Snapshot::take(source, self.readable)?;
            wait(source, LOOKS)?;
            let second = Snapshot::take(source, self.readable)?;
            if let Some(what) = first.differs(&second, Part::Registers) {
                return fault("stop.device", what);
            }
        }
        if signals.any() || source.signals()?.any() {
            return fault("stop.interrupts", "it signals".into());
        }
        Ok(Ok(()))
    }

    fn load(&self, stream: &[u8]) -> Moved<()> {
        let destination = self.destination;
        let write = failed("a write in RESUMING");
        sound!(self.set(destination, State::Stop));
        if self.way == Way::Again {
            let file = sound!(self.file(destination, State::Resuming));
            let half = &stream[..stream.len() / 2];
            sound!(file.write_split(half, &[LARGE]).map_err(&write));
            destination.reset()?;
            sound!(self.set(destination, State::Stop));
        }
        let file = sound!(self.file(destination, State::Resuming));
        let sizes: &[usize] = if self.way == Way::PreCopy && stream.len() < LARGE {
            &SMALL
        } else {
            &[LARGE]
        };
        sound!(file.write_split(stream, sizes).map_err(&write));
        sound!(self.set(destination, State::Stop));
        if self.way == Way::StopCopy || self.way == Way::Used {
            let file = sound!(self.file(destination, State::StopCopy));
            let (again, _) = sound!(file
                .read_to_end(LARGE)
                .map_err(failed("a read in STOP_COPY")));
            sound!(self.set(destination, State::Stop));
            if again != stream {
                let at = first_difference(&again, stream);
                let shows = format!(
                    "of {} bytes loaded and {} saved, those from {at} on differ",
                    stream.len(),
                    again.len()
                );
                return Ok(Err(Fault {
                    rule: "load.same",
                    shows,
                }));
            }
        }
        destination.listen(self.interrupt)?;
        sound!(self.set(destination, State::Running));
        Ok(Ok(()))
    }
}

/// Saves the state of a device in STOP_COPY. It is stopped afterwards.
pub fn save(rig: &Rig) -> Result<Vec<u8>> {
    rig.set_state(State::Stop)?;
    let file = rig.set_state(State::StopCopy)?;
    let (stream, _) = file.map_or(Ok((Vec::new(), true)), |file| file.read_to_end(LARGE))?;
    rig.set_state(State::Stop)?;
    Ok(stream)
}

/// Reads at most `times` pieces of `size` bytes, until there is nothing for now.
fn read(file: &DataFile, size: usize, times: usize) -> Result<Vec<u8>, Errno> {
    let (mut all, mut piece) = (Vec::new(), vec![0; size]);
    for _ in 0..times {
        match file.read(&mut piece) {
            Ok(0) | Err(Errno::NOMSG) => break,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Reads to the end for now: first in small pieces, then in large ones.
fn read_small(file: &DataFile) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    for size in SMALL {
        all.extend(read(file, size, 1)?);
    }
    // As much as a device whose pre-copy does not end may give: another check finds that.
    all.extend(read(file, LARGE, 64)?);
    Ok(all)
}

/// Lets the device work on for a random time.
pub fn pause(random: &mut Random, rig: &Rig) -> Result<()> {
    wait(rig, random.below(400))
}

/// Makes this number of system calls, in which other threads may run.
pub fn wait(rig: &Rig, calls: usize) -> Result<()> {
    for _ in 0..calls {
        rig.device.state()?;
        thread::yield_now();
    }
    Ok(())
}
