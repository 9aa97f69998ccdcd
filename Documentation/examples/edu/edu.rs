// SPDX-License-Identifier: GPL-2.0

//! An educational device, after QEMU's `edu`: it computes factorials and copies between guest
//! memory and a buffer of its own, both in the background, and migrates in the middle of either.
//!
//! Specification: <https://www.qemu.org/docs/master/specs/edu.html>. Registers below 0x80 have 32
//! bits, those from there on 64, of which each half can be accessed too. Unlike QEMU's, a copy
//! begins at once, and one with a range outside of the buffer ends without a copy.

#![forbid(unsafe_code)]

use kernel::sync::{Arc, Mutex};
use kernel::{new_mutex, prelude::*};
use mdev_sdk::model::config::{Bar, Identity};
use mdev_sdk::model::record::{Field, Record};
use mdev_sdk::model::stream::{name, Format, Name};
use mdev_sdk::{Budget, Context, Driver, Engine, FixedState, NewDevice, Operations};
use mdev_sdk::{Share, Step, Task, Type};

mdev_sdk::module_mdev_driver! {
    driver: Edu,
    parent: c"edu",
    parent_driver: c"edu",
    parent_data: Budget::new(16)?,
    name: "edu",
    authors: ["The mdev SDK authors"],
    description: "Educational device that migrates, after QEMU's edu",
    license: "GPL",
}

const BUFFER: u64 = 0x40000;
const COMPUTING: u32 = 0x01;
const FACTORIAL_DONE: u32 = 0x01;
const RAISE_INTERRUPT: u32 = 0x80;
const COPY_DONE: u32 = 0x100;
const START: u32 = 1;
const TO_GUEST: u32 = 2;
const INTERRUPT: u32 = 4;
/// Number of multiplications in a step.
const BATCH: u32 = 4096;

mdev_sdk::model::record! {
    /// What migrates: all that the device has.
    struct State {
        liveness: u32,
        factorial: u32,
        /// The factors that are left while COMPUTING: this one and all that are smaller.
        factor: u32,
        status: u32,
        interrupt: u32,
        command: u32,
        /// The registers DMA source, destination and count.
        dma: [u64; 3],
        buffer: [u8; 4096],
    }
}

impl Record for State {
    fn check(&self) -> Result<(), &'static str> {
        let commands = START | TO_GUEST | INTERRUPT;
        if self.status & !(COMPUTING | RAISE_INTERRUPT) != 0 || self.command & !commands != 0 {
            return Err("unknown bits of STATUS or of the DMA command");
        }
        match self.status & COMPUTING == 0 && self.factor != 0 {
            true => Err("factors of no factorial"),
            false => Ok(()),
        }
    }
}

impl State {
    fn read(&self, offset: u64) -> u32 {
        match offset {
            0x00 => 0x0100_00ed,
            0x04 => self.liveness,
            0x08 => self.factorial,
            0x20 => self.status,
            0x24 => self.interrupt,
            0x80..0x98 => (self.dma[(offset as usize - 0x80) / 8] >> (offset % 8 * 8)) as u32,
            0x98 => self.command,
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, value: u32) {
        match offset {
            0x04 => self.liveness = !value,
            0x08 if self.status & COMPUTING == 0 => {
                (self.factorial, self.factor) = (1, value);
                self.status |= COMPUTING;
            }
            0x20 => self.status = self.status & COMPUTING | value & RAISE_INTERRUPT,
            0x60 => self.interrupt |= value,
            0x64 => self.interrupt &= !value,
            0x80..0x98 if self.command & START == 0 => {
                let (register, shift) =
                    (&mut self.dma[(offset as usize - 0x80) / 8], offset % 8 * 8);
                *register = *register & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            0x98 if self.command & START == 0 => {
                self.command = value & (START | TO_GUEST | INTERRUPT)
            }
            _ => {}
        }
    }

    fn compute(&mut self) {
        let factors = (self.factor.saturating_sub(BATCH) + 1)..=self.factor;
        self.factor = factors.start() - 1;
        self.factorial = factors.fold(self.factorial, u32::wrapping_mul);
        if self.factor == 0 {
            self.status &= !COMPUTING;
            self.interrupt |= match self.status & RAISE_INTERRUPT {
                0 => 0,
                _ => FACTORIAL_DONE,
            };
        }
    }
}

/// The device's state, and its work: factorials and copies.
#[pin_data]
struct Core {
    #[pin]
    state: Mutex<State>,
}

impl Core {
    /// Copies between the buffer and guest memory, without the lock: it may wait for user space.
    fn copy(&self, cx: &Context, command: u32, [source, destination, count]: [u64; 3]) -> Result {
        let out = command & TO_GUEST != 0;
        let (own, iova) = if out {
            (source, destination)
        } else {
            (destination, source)
        };
        let start = own.checked_sub(BUFFER).ok_or(EINVAL)? as usize;
        let end = start.checked_add(count as usize).ok_or(EINVAL)?;
        let mut data = KVec::from_elem(0, (count as usize).min(4096), GFP_KERNEL)?;
        if !out {
            cx.memory().read(iova, &mut data)?;
        }
        let mut state = self.state.lock();
        let bytes = state.buffer.get_mut(start..end).ok_or(EINVAL)?;
        if !out {
            bytes.copy_from_slice(&data);
            return Ok(());
        }
        data.copy_from_slice(bytes);
        drop(state);
        cx.memory().write(iova, &data)
    }
}

impl Task for Core {
    fn step(&self, cx: &Context) -> Step {
        let mut state = self.state.lock();
        let (command, dma) = (state.command, state.dma);
        if command & START != 0 {
            drop(state);
            // The device has no way to report an error.
            let _ = self.copy(cx, command, dma);
            state = self.state.lock();
            state.command &= !START;
            state.interrupt |= if command & INTERRUPT != 0 {
                COPY_DONE
            } else {
                0
            };
        } else if state.status & COMPUTING != 0 {
            state.compute();
        } else {
            return Step::Idle;
        }
        cx.set_interrupt(state.interrupt != 0);
        Step::More
    }
}

/// An mdev from `create` to `remove`.
struct Edu(#[expect(dead_code, reason = "counts")] Share);

struct OpenEdu(Engine<Core>);

#[vtable]
impl Driver for Edu {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"edu";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Educational device",
        description: c"Factorials, and copies to and from a buffer",
    }];
    type Parent = Budget;
    type Open = OpenEdu;

    fn available(devices: &Budget, _type_index: usize) -> u32 {
        devices.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Edu(new.parent.take(1)?))
    }

    fn identity(&self) -> Identity {
        let mut bars = [Bar::None; 6];
        bars[0] = Bar::Memory32 {
            size: 1 << 20,
            prefetchable: false,
        };
        Identity {
            vendor: 0x1234,
            device: 0x11e8,
            subsystem_vendor: 0x1234,
            subsystem: 0x11e8,
            class: 0x00_ff_00,
            revision: 0x10,
            intx: true,
            msi: true,
            msix: None,
            bars,
        }
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenEdu, Error> {
        let state = new_mutex!(State::ZERO, "edu_state");
        Engine::new(cx, pin_init!(Core { state <- state })).map(OpenEdu)
    }
}

#[vtable]
impl Operations for OpenEdu {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let state = self.0.state.lock();
        for (half, offset) in data.chunks_exact_mut(4).zip((offset..).step_by(4)) {
            half.copy_from_slice(&state.read(offset).to_le_bytes());
        }
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut state = self.0.state.lock();
        for (half, offset) in data.chunks_exact(4).zip((offset..).step_by(4)) {
            let value = half.try_into().map(u32::from_le_bytes);
            state.write(offset, value.unwrap_or(0));
        }
        cx.set_interrupt(state.interrupt != 0);
        self.0.kick();
        Ok(())
    }

    fn reset(&self, cx: &Context) -> Result {
        *self.0.state.lock() = State::ZERO;
        cx.set_interrupt(false);
        Ok(())
    }
}

#[vtable]
impl FixedState for OpenEdu {
    const FORMAT: Format = Format {
        name: name("edu"),
        version: 1,
        oldest: 1,
        readable_by: 1,
    };
    type State = State;

    fn kind(&self) -> Name {
        name("edu-1")
    }

    fn state(&self) -> &Mutex<State> {
        &self.0.state
    }

    fn restored(&self, cx: &Context, state: &State) {
        cx.set_interrupt(state.interrupt != 0);
    }
}
