// SPDX-License-Identifier: GPL-2.0

//! A whole device as a model: one record of state, registers, and work in steps.
//!
//! A device of this kind is a type of its driver's own that needs no kernel. The SDK makes an mdev
//! of it, and `testing` runs it on the host.

use core::{ops::Range, time::Duration};

use crate::{
    config::Identity,
    record::{Older, Record},
    registers::Register,
    stream::Format,
};

/// The most bytes that a step may transfer between the device and guest memory.
pub const MAX_TRANSFER: usize = 4096;

/// A device whose state is one record, `Self`, and whose registers are in BAR 0.
///
/// The state after power-on and reset is [`ZERO`](crate::record::Field::ZERO). All of it migrates,
/// in the middle of work too, because a step begins and ends with nothing but the state.
///
/// # Examples
///
/// A card that counts down, and asserts its interrupt at zero:
///
/// ```
/// use mdev_model::{prelude::*, testing::Machine};
///
/// record! {
///     pub struct Timer {
///         left: u32,
///         expired: bool,
///     }
/// }
///
/// impl Record for Timer {
///     fn check(&self) -> Result<(), &'static str> {
///         match self.left != 0 && self.expired {
///             true => Err("an expired timer with time left"),
///             false => Ok(()),
///         }
///     }
/// }
///
/// impl DeviceModel for Timer {
///     const IDENTITY: Identity = Identity {
///         bars: Bar::memory32(4096).alone(),
///         ..Identity::new(0x1234, 0x0001)
///     };
///     const FORMAT: Format = Format::first("timer");
///     const REGISTERS: &'static [Register<Self>] = registers! { Timer {
///         0x00: u32, read |timer| timer.left, write |timer, left| {
///             *timer = Timer { left, expired: false };
///         };
///     } };
///
///     fn interrupt(&self) -> bool {
///         self.expired
///     }
///
///     fn step(&mut self) -> Work<'_> {
///         if self.left == 0 {
///             return Work::Idle;
///         }
///         self.left -= 1;
///         self.expired = self.left == 0;
///         Work::More
///     }
/// }
///
/// let mut machine = Machine::<Timer>::new(0);
/// machine.write(0, 3u32);
/// machine.run(3);
/// assert_eq!(machine.interrupts(), 1);
/// ```
pub trait DeviceModel: Record + Copy + Send + Sync + Unpin + 'static {
    /// The device's PCI identity.
    const IDENTITY: Identity;
    /// Name and version of the device's state in a stream. The name is also that of the device type
    /// which source and destination must have in common.
    const FORMAT: Format;
    /// The versions before that of [`FORMAT`](Self::FORMAT) whose streams the device loads, from
    /// the oldest on.
    const OLDER: &'static [Older<Self>] = &[];
    /// The registers, all of them in BAR 0.
    const REGISTERS: &'static [Register<Self>];

    /// Returns the level of the interrupt, of a device with one vector. It must follow from the
    /// state alone.
    fn interrupt(&self) -> bool {
        false
    }

    /// Returns the level of interrupt vector `vector`, of a device whose identity has several;
    /// `vector` is less than their number. It must follow from the state alone.
    fn vector(&self, vector: usize) -> bool {
        vector == 0 && self.interrupt()
    }

    /// Does a step of the work that is under way, and returns what the SDK has to do for it.
    ///
    /// The SDK calls it after a write to a register, and again until it returns [`Work::Idle`].
    /// Whoever stops the device waits for a step, so work that a guest can make long must be cut
    /// into steps.
    fn step(&mut self) -> Work<'_> {
        Work::Idle
    }

    /// Takes the result of the transfer that the last step asked for: the bytes of a
    /// [`Work::Read`], or none after a [`Work::Write`].
    ///
    /// The guest may have accessed registers since that step. An implementation that changes
    /// nothing makes the device ask for the same transfer again, for ever.
    fn transferred(&mut self, result: Result<&[u8], Fault>) {
        let _ = result;
    }
}

/// What a step of a device needs. A transfer has at most [`MAX_TRANSFER`] bytes.
///
/// # Examples
///
/// [`DeviceModel`] has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work<'a> {
    /// Nothing, until a register is written or the device runs again after a move or a reset.
    Idle,
    /// Another step.
    More,
    /// Another step after this time, rounded up to the kernel's timer ticks, or earlier if a
    /// register is written. The time does not migrate: the next step comes at once after a move.
    After(Duration),
    /// Guest memory from an IOVA on, so many bytes, for [`DeviceModel::transferred`].
    Read(u64, usize),
    /// These bytes in guest memory from an IOVA on; then a call of [`DeviceModel::transferred`].
    Write(u64, &'a [u8]),
}

/// The transfer failed: the guest has no such memory, does not allow the access, or the host could
/// not do it.
///
/// # Examples
///
/// ```
/// use mdev_model::device::Fault;
///
/// /// Returns the status register's bits after a transfer.
/// fn status(result: Result<&[u8], Fault>) -> u32 {
///     match result {
///         Ok(_) => 1,
///         Err(Fault) => 2,
///     }
/// }
/// assert_eq!(status(Err(Fault)), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Returns the range of `len` bytes at `offset`, numbers of the guest's, of something that has
/// `size` bytes; `None` if a part of it is outside.
///
/// # Examples
///
/// ```
/// use mdev_model::device::in_bounds;
///
/// assert_eq!(in_bounds(8, 4, 16), Some(8..12));
/// assert_eq!(in_bounds(16, 0, 16), Some(16..16));
/// assert_eq!(in_bounds(13, 4, 16), None);
/// assert_eq!(in_bounds(u64::MAX, 2, 16), None);
/// ```
pub fn in_bounds(offset: u64, len: u64, size: usize) -> Option<Range<usize>> {
    let end = offset.checked_add(len)?;
    // Both fit into a usize, because `size` does.
    (end <= size as u64).then_some(offset as usize..end as usize)
}
