// SPDX-License-Identifier: GPL-2.0

//! The edu device: its state, its registers and its work, without a kernel.
//!
//! Specification: <https://www.qemu.org/docs/master/specs/edu.html>. Registers below 0x80 have 32
//! bits, those from there on 64. Unlike QEMU's, a copy begins at once, has at most 4,096 bytes, and
//! ends without a copy if a part of it is outside of the buffer.

use mdev_model::prelude::*;

const BUFFER: u64 = 0x40000;
/// Status: the end of a factorial raises the interrupt. Bit 0 is set while one is computed.
const RAISE: u32 = 0x80;
/// DMA command.
const START: u32 = 1;
const TO_GUEST: u32 = 2;
const INTERRUPT: u32 = 4;
const COMMAND: u32 = START | TO_GUEST | INTERRUPT;
/// Interrupt status.
const FACTORIAL_DONE: u32 = 0x001;
const COPY_DONE: u32 = 0x100;
/// Number of multiplications in a step.
const BATCH: u32 = 4096;

record! {
    /// All that the device has; zero after power-on.
    pub struct Edu {
        liveness: u32,
        factorial: u32,
        /// What is left of the factorial under way: this factor and all that are smaller.
        factor: u32,
        status: u32,
        interrupt: u32,
        source: u64,
        destination: u64,
        count: u64,
        command: u32,
        buffer: [u8; 4096],
    }
}

impl Record for Edu {
    fn check(&self) -> Result<(), &'static str> {
        let unknown = (self.status & !RAISE) | (self.command & !COMMAND);
        require(unknown == 0, "unknown bits of STATUS or of the DMA command")
    }
}

impl DeviceModel for Edu {
    const IDENTITY: Identity = Identity {
        class: 0x00_ff_00,
        revision: 0x10,
        bars: Bar::memory32(1 << 20).alone(),
        ..Identity::new(0x1234, 0x11e8)
    };
    const FORMAT: Format = Format::first("edu");
    const REGISTERS: &'static [Register<Self>] = registers! { Edu {
        0x00: u32, read |_| 0x0100_00ed;
        0x04: u32, read |edu| edu.liveness, write |edu, value| edu.liveness = !value;
        0x08: u32, read |edu| edu.factorial,
            write |edu, of| (edu.factorial, edu.factor) = (1, of.max(1)), if |edu| edu.factor == 0;
        0x20: u32, read |edu| edu.status | u32::from(edu.factor != 0),
            write |edu, value| edu.status = value & RAISE;
        0x24: u32, read |edu| edu.interrupt;
        0x60: u32, write |edu, value| edu.interrupt |= value;
        0x64: u32, write |edu, value| edu.interrupt &= !value;
        0x80: u64, keep source, if Edu::may_copy;
        0x88: u64, keep destination, if Edu::may_copy;
        0x90: u64, keep count, if Edu::may_copy;
        0x98: u32, read |edu| edu.command,
            write |edu, value| edu.command = value & COMMAND, if Edu::may_copy;
    } };

    fn interrupt(&self) -> bool {
        self.interrupt != 0
    }

    fn step(&mut self) -> Work<'_> {
        match (self.command & (START | TO_GUEST), self.place()) {
            (START, Some(place)) => Work::Read(self.source, place.len()),
            (0 | TO_GUEST, _) if self.factor == 0 => Work::Idle,
            (0 | TO_GUEST, _) => self.multiply(),
            (_, Some(place)) => Work::Write(self.destination, &self.buffer[place]),
            (_, None) => self.end_copy(),
        }
    }

    fn transferred(&mut self, result: Result<&[u8], Fault>) {
        // The device has no way to report a fault.
        if let (0, Some(place), Ok(data)) = (self.command & TO_GUEST, self.place(), result) {
            self.buffer[place].copy_from_slice(data);
        }
        self.end_copy();
    }
}

impl Edu {
    fn multiply(&mut self) -> Work<'static> {
        let left = self.factor.saturating_sub(BATCH);
        self.factorial = (left + 1..=self.factor).fold(self.factorial, u32::wrapping_mul);
        self.factor = left;
        if left == 0 && self.status == RAISE {
            self.interrupt |= FACTORIAL_DONE;
        }
        Work::More
    }

    fn may_copy(&self) -> bool {
        self.command & START == 0
    }

    /// Returns the part of the buffer that the copy is from or to.
    fn place(&self) -> Option<core::ops::Range<usize>> {
        let own = match self.command & TO_GUEST {
            0 => self.destination,
            _ => self.source,
        };
        in_bounds(own.checked_sub(BUFFER)?, self.count, self.buffer.len())
    }

    fn end_copy(&mut self) -> Work<'static> {
        self.interrupt |= COPY_DONE * u32::from(self.command & INTERRUPT != 0);
        self.command &= !START;
        Work::More
    }
}
