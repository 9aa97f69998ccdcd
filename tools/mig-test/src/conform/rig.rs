// SPDX-License-Identifier: GPL-2.0
//! An open device under test, in a place where it can work: with guest memory and an interrupt.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use mig_common::exercise::place::{Place, Register, BARS};
use mig_common::exercise::{self, Exercise, VECTORS};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK as UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX as INTX, VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
    VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::signals::Signals;
use crate::scenario::{arc, Oracle};
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma};
use crate::vfio::irq::Event;
use crate::vfio::migration::{DataFile, State};
use crate::vfio::Mapping;

/// The types of interrupt, by their names in exercises.
pub const INTERRUPTS: [(&str, u32); 3] = {
    let [intx, msi, msix] = exercise::INTERRUPTS;
    [(intx, INTX), (msi, MSI), (msix, MSIX)]
};
/// The time in which a device that works signals, and ends what it has begun.
const PATIENCE: Duration = Duration::from_secs(5);

/// Guest memory, which all devices of a test share: those that are stopped must not touch it.
pub type Guest = Rc<Vec<(u64, Arc<Mapping>)>>;

/// Allocates the guest memory of an exercise.
pub fn guest_memory(exercise: &Exercise) -> Result<Guest> {
    let memory = exercise.memory.iter().map(|one| {
        let mapping = Mapping::anonymous(one.size.0 as usize)?;
        Ok((one.iova.0, Arc::new(mapping)))
    });
    Ok(Rc::new(memory.collect::<Result<_>>()?))
}

/// The state changes that were made with all devices of a test.
pub type Arcs = Rc<RefCell<BTreeSet<String>>>;

/// A BAR.
pub struct Bar {
    /// Its index.
    pub index: u32,
    /// Its position in the device file.
    pub position: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// A part of a BAR, or all of it, that can be mapped: memory. The rest are registers.
pub struct Area {
    /// The index of the BAR.
    pub bar: u32,
    /// The offset in the BAR.
    pub start: u64,
    /// The mapping of all of it.
    pub memory: Mapping,
}

impl Area {
    /// Returns the size in bytes.
    pub fn size(&self) -> u64 {
        self.memory.len() as u64
    }

    /// Returns the offset in the area of `len` bytes of a BAR, if they are within it.
    fn offset_of(&self, bar: u32, offset: u64, len: u64) -> Option<u64> {
        let at = offset.checked_sub(self.start)?;
        let left = self.size().checked_sub(at)?;
        (self.bar == bar && len <= left).then_some(at)
    }
}

/// An open device.
pub struct Rig {
    /// The device.
    pub device: Device,
    /// Its BARs, without those of size 0.
    pub bars: Vec<Bar>,
    /// What of them is memory.
    pub areas: Vec<Area>,
    /// Its guest memory.
    pub guest: Guest,
    interrupt: RefCell<Option<Interrupt>>,
    arcs: Arcs,
    oracle: Rc<Oracle>,
}

/// Where bytes are.
enum Bytes<'r> {
    /// At an offset of a mapping.
    Mapped(&'r Mapping, usize),
    /// At a position of the device file.
    InFile(u64),
}

/// An interrupt that is listened to.
struct Interrupt {
    index: u32,
    /// The eventfds of the vectors.
    events: Vec<Event>,
    /// Whether INTx was signalled, which masks it.
    is_masked: bool,
}

impl Rig {
    /// Opens the device in a sysfs folder, and makes it bus master, as a guest's driver does.
    pub fn open(path: &Path, guest: &Guest, arcs: &Arcs, oracle: &Rc<Oracle>) -> Result<Rig> {
        let device = Device::open(path)?;
        let (mut bars, mut areas) = (Vec::new(), Vec::new());
        for index in 0..BARS {
            let region = device.region(index, None)?;
            if region.size == 0 {
                continue;
            }
            let mapped = device.map_all(index);
            for (start, memory) in mapped.with_context(|| format!("map BAR {index}"))? {
                let bar = index;
                areas.push(Area { bar, start, memory });
            }
            bars.push(Bar {
                index,
                position: region.offset,
                size: region.size,
            });
        }
        for (iova, memory) in guest.iter() {
            device.space.map_dma(Dma {
                iova: *iova,
                memory,
                offset: 0,
                len: memory.len(),
                access: Access::ReadWrite,
            })?;
        }
        device.enable_bus_master().context("Bus Master Enable")?;
        Ok(Rig {
            device,
            bars,
            areas,
            guest: guest.clone(),
            interrupt: RefCell::default(),
            arcs: arcs.clone(),
            oracle: oracle.clone(),
        })
    }

    /// Changes the state, and remembers the arcs on the way.
    pub fn set_state(&self, to: State) -> Result<Option<DataFile>, Errno> {
        let mut from = self.device.state()?;
        let file = self.device.set_state(to)?;
        for (next, _) in self.oracle.way(from, to).unwrap_or_default() {
            self.arcs.borrow_mut().insert(arc(from, next));
            from = next;
        }
        Ok(file)
    }

    /// Returns the BAR with this index.
    pub fn bar(&self, index: u32) -> Result<&Bar> {
        let found = self.bars.iter().find(|bar| bar.index == index);
        found.with_context(|| format!("the device has no BAR {index}"))
    }

    /// Reads a register.
    pub fn read(&self, register: &Register) -> Result<u64> {
        let mut bytes = [0; 8];
        let piece = &mut bytes[..register.width];
        let count = self.device.read(self.position(register)?, piece);
        let count = count.with_context(|| format!("read {register}"))?;
        ensure!(
            count == register.width,
            "a read of {register} gives {count} bytes"
        );
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a register.
    pub fn write(&self, register: &Register, value: u64) -> Result<()> {
        let bytes = value.to_le_bytes();
        let count = self
            .device
            .write(self.position(register)?, &bytes[..register.width]);
        let count = count.with_context(|| format!("write {value:#x} to {register}"))?;
        ensure!(
            count == register.width,
            "a write of {register} takes {count} bytes"
        );
        Ok(())
    }

    fn position(&self, register: &Register) -> Result<u64> {
        let bar = self.bar(register.bar)?;
        ensure!(
            register.offset + register.width as u64 <= bar.size,
            "{register} is beyond the {} bytes of BAR {}",
            bar.size,
            bar.index
        );
        Ok(bar.position + register.offset)
    }

    /// Reads bytes of a BAR or of guest memory.
    pub fn read_bytes(&self, place: Place, bytes: &mut [u8]) -> Result<()> {
        match self.bytes(place, bytes.len())? {
            Bytes::Mapped(memory, offset) => memory.read(offset, bytes),
            Bytes::InFile(position) => {
                for (at, piece) in (position..).step_by(4).zip(bytes.chunks_mut(4)) {
                    self.device.read(at, piece)?;
                }
            }
        }
        Ok(())
    }

    /// Returns whether a page is all zeros, without a copy of it; `false` if it is not mapped.
    pub fn is_zero(&self, place: Place, len: usize) -> Result<bool> {
        Ok(match self.bytes(place, len)? {
            Bytes::Mapped(memory, offset) => memory.is_zero(offset, len),
            Bytes::InFile(_) => false,
        })
    }

    /// Writes bytes to a BAR or to guest memory.
    pub fn write_bytes(&self, place: Place, bytes: &[u8]) -> Result<()> {
        match self.bytes(place, bytes.len())? {
            Bytes::Mapped(memory, offset) => memory.write(offset, bytes),
            Bytes::InFile(position) => {
                for (at, piece) in (position..).step_by(4).zip(bytes.chunks(4)) {
                    self.device.write(at, piece)?;
                }
            }
        }
        Ok(())
    }

    /// Returns where the `len` bytes at a place are.
    fn bytes(&self, place: Place, len: usize) -> Result<Bytes<'_>> {
        let (offset, size, bytes) = match place {
            Place::Memory(index, offset) => {
                let memory = &self.guest[index].1;
                let size = memory.len() as u64;
                (offset, size, Bytes::Mapped(memory, offset as usize))
            }
            Place::Bar(index, offset) => {
                let bar = self.bar(index)?;
                let mapped = self.area(index, offset, len as u64);
                let bytes = match mapped {
                    Some((area, at)) => Bytes::Mapped(&area.memory, at as usize),
                    None => Bytes::InFile(bar.position.saturating_add(offset)),
                };
                (offset, bar.size, bytes)
            }
        };
        let end = offset.checked_add(len as u64);
        ensure!(
            end.is_some_and(|end| end <= size),
            "{len} bytes at {place} are beyond its {size} bytes"
        );
        Ok(bytes)
    }

    /// Returns the area that `len` bytes of a BAR are in, and their offset there.
    pub fn area(&self, bar: u32, offset: u64, len: u64) -> Option<(&Area, u64)> {
        let mut areas = self.areas.iter();
        areas.find_map(|area| Some((area, area.offset_of(bar, offset, len)?)))
    }

    /// Does something and gives guest memory back what it had before.
    pub fn keeping_guest<T>(&self, doing: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = self.guest.iter().map(|(_, memory)| {
            let mut bytes = vec![0; memory.len()];
            memory.read(0, &mut bytes);
            bytes
        });
        let before: Vec<_> = before.collect();
        let done = doing();
        for ((_, memory), bytes) in self.guest.iter().zip(&before) {
            memory.write(0, bytes);
        }
        done
    }

    /// Returns the bytes of configuration space.
    pub fn config_space(&self) -> Result<Vec<u8>> {
        let region = self.device.region(VFIO_PCI_CONFIG_REGION_INDEX, None)?;
        let mut space = vec![0; region.size as usize];
        self.device.read(region.offset, &mut space)?;
        Ok(space)
    }

    /// Returns the types of interrupt that the device has.
    pub fn interrupts(&self) -> Vec<(&'static str, u32)> {
        let all = INTERRUPTS.into_iter();
        all.filter(|(_, index)| self.vectors(*index) > 0).collect()
    }

    /// Returns the number of vectors of a type of interrupt that can be listened to.
    pub fn vectors(&self, index: u32) -> u32 {
        let info = self.device.irq(index, None);
        info.map_or(0, |info| info.count.min(VECTORS))
    }

    /// Listens to an interrupt, all of its vectors, or to none.
    pub fn listen(&self, index: Option<u32>) -> Result<()> {
        if let Some(old) = self.interrupt.take() {
            self.device.disable(old.index)?;
        }
        if let Some(index) = index {
            let new = (0..self.vectors(index)).map(|_| Event::new());
            let events = new.collect::<Result<Vec<_>, _>>()?;
            let fds: Vec<i32> = events.iter().map(Event::number).collect();
            self.device.connect_all(index, TRIGGER, &fds)?;
            let is_masked = false;
            self.interrupt.replace(Some(Interrupt {
                index,
                events,
                is_masked,
            }));
        }
        Ok(())
    }

    /// Returns the number of signals since the last call. INTx stays masked after one.
    pub fn signals(&self) -> Result<Signals> {
        let mut interrupt = self.interrupt.borrow_mut();
        let Some(interrupt) = interrupt.as_mut() else {
            return Ok(Signals::default());
        };
        let counts = interrupt.events.iter().map(Event::take);
        let signals = Signals::of(counts.collect::<Result<_, _>>()?);
        interrupt.is_masked |= signals.any();
        Ok(signals)
    }

    /// Waits for a signal of a vector, or of the last one if there are fewer; returns their number,
    /// or 0 if there is none.
    pub fn await_signal(&self, vector: usize) -> Result<u64> {
        let mut interrupt = self.interrupt.borrow_mut();
        let Some(interrupt) = interrupt.as_mut() else {
            return Ok(0);
        };
        let event = interrupt.events.get(vector).or(interrupt.events.last());
        let signals = event.map_or(Ok(0), |event| event.await_within(PATIENCE))?;
        interrupt.is_masked |= signals > 0;
        Ok(signals)
    }

    /// Returns the vector of what is listened to that stands for a vector of the device: with fewer
    /// of them, vectors share the last.
    pub fn listened(&self, vector: usize) -> usize {
        let interrupt = self.interrupt.borrow();
        let count = interrupt.as_ref().map_or(0, |one| one.events.len());
        vector.min(count.saturating_sub(1))
    }

    /// Unmasks INTx after a signal, as at the end of a guest's handler.
    pub fn unmask(&self) -> Result<()> {
        if let Some(interrupt) = self.interrupt.borrow_mut().as_mut() {
            if interrupt.index == INTX && interrupt.is_masked {
                interrupt.is_masked = false;
                self.device.act(INTX, UNMASK)?;
            }
        }
        Ok(())
    }

    /// Resets the device, and makes it bus master again.
    pub fn reset(&self) -> Result<()> {
        self.device.reset().context("VFIO_DEVICE_RESET")?;
        self.device.enable_bus_master().context("Bus Master Enable")
    }

    /// Waits until `is_so`; returns whether it came to be.
    pub fn until(&self, is_so: impl Fn() -> Result<bool>) -> Result<bool> {
        crate::scenario::until(PATIENCE, is_so)
    }
}
