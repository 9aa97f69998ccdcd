// SPDX-License-Identifier: GPL-2.0

//! The commands of a ring: their place in guest memory, and the part of them that is yet to be
//! executed.

use mdev_model::record::require;

use crate::{
    error::Error,
    uapi::{COMMAND_LEN, RING_SIZE_MAX},
};

/// The registers RING_* of a ring, and whether it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queue {
    /// Guest address.
    pub(crate) base: u64,
    /// Number of commands.
    pub(crate) size: u32,
    /// Implies a valid geometry, and `head` and `tail` below `size`.
    pub(crate) enabled: bool,
    /// Implies `enabled`.
    pub(crate) halted: bool,
    /// Index of the command that is being executed, or of the next. 0 unless enabled.
    pub(crate) head: u32,
    /// Index after the last command to execute. 0 unless enabled.
    pub(crate) tail: u32,
}

impl Queue {
    pub(crate) fn set_base(&mut self, base: u64) {
        if !self.enabled {
            self.base = base;
        }
    }

    pub(crate) fn set_size(&mut self, size: u32) {
        if !self.enabled {
            self.size = size;
        }
    }

    /// Checks that the ring can be enabled with its geometry.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bytes = u64::from(self.size) * COMMAND_LEN as u64;
        let good = (2..=RING_SIZE_MAX).contains(&self.size)
            && self.size.is_power_of_two()
            && self.base % COMMAND_LEN as u64 == 0
            && self.base.checked_add(bytes - 1).is_some();
        require(good, Error::RingGeometry)
    }

    /// Starts the ring, which must not be enabled.
    pub(crate) fn enable(&mut self) -> Result<(), Error> {
        self.check()?;
        self.enabled = true;
        Ok(())
    }

    /// Stops the ring; the geometry stays.
    pub(crate) fn disable(&mut self) {
        *self = Queue {
            base: self.base,
            size: self.size,
            ..Queue::default()
        };
    }

    /// Halts the ring: no more commands are taken.
    pub(crate) fn halt(&mut self) {
        self.halted = true;
    }

    fn runs(&self) -> bool {
        self.enabled && !self.halted
    }

    /// Handles the doorbell.
    pub(crate) fn set_tail(&mut self, tail: u32) -> Result<(), Error> {
        if !self.runs() {
            return Ok(());
        }
        if tail >= self.size {
            self.halt();
            return Err(Error::RingTail);
        }
        self.tail = tail;
        Ok(())
    }

    /// Returns whether there is a command to fetch.
    pub(crate) fn has_command(&self) -> bool {
        self.runs() && self.head != self.tail
    }

    /// Returns the guest address of the command at `head`.
    pub(crate) fn slot(&self) -> u64 {
        self.base + u64::from(self.head) * COMMAND_LEN as u64
    }

    /// Moves past the command at `head`.
    pub(crate) fn advance(&mut self) {
        // The size is a power of two.
        self.head = (self.head + 1) & (self.size - 1);
    }
}
