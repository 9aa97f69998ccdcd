// SPDX-License-Identifier: GPL-2.0
//! Interrupts of a VFIO device: VFIO_DEVICE_SET_IRQS and its eventfds.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys;
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::{read, write, Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE,
};

use super::device::Device;
use crate::patience;

/// The timeout for signals that the kernel does not deliver within the call itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// An eventfd.
pub struct Event(OwnedFd);

impl Event {
    /// Creates a non-blocking eventfd.
    pub fn new() -> Result<Event> {
        eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map(Event)
    }

    /// Returns the number of signals since the last call.
    pub fn take(&self) -> Result<u64> {
        let mut count = [0; 8];
        match read(&self.0, &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Waits until it has been signalled; returns the number of signals, or 0 at the timeout.
    pub fn await_signal(&self) -> Result<u64> {
        self.await_within(PATIENCE)
    }

    /// Waits until it has been signalled, for as long as what usually takes less than `usual`.
    pub fn await_within(&self, usual: Duration) -> Result<u64> {
        let deadline = patience::until(usual);
        while let Some(left) = deadline.remaining() {
            let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&timeout))?;
            let signals = self.take()?;
            if signals > 0 {
                return Ok(signals);
            }
        }
        self.take()
    }

    /// Signals it.
    pub fn signal(&self) -> Result<()> {
        write(&self.0, &1u64.to_ne_bytes()).map(drop)
    }

    /// Returns its file descriptor.
    pub fn number(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }
}

/// The arguments of VFIO_DEVICE_SET_IRQS, valid or not.
#[derive(Debug, Clone, Default)]
pub struct SetIrqs {
    /// VFIO_IRQ_SET_*: one kind of data, one action.
    pub flags: u32,
    /// Index of the interrupt type.
    pub index: u32,
    /// First interrupt.
    pub start: u32,
    /// The number of interrupts.
    pub count: u32,
    /// The data after the structure.
    pub data: Vec<u8>,
    /// A wrong length.
    pub argsz: Option<u32>,
}

impl Device {
    /// Calls VFIO_DEVICE_SET_IRQS.
    pub fn set_irqs(&self, set: &SetIrqs) -> Result<()> {
        let mut packet = Packet::sized()
            .u32(set.flags)
            .u32(set.index)
            .u32(set.start)
            .u32(set.count)
            .bytes(&set.data)
            .argsz(set.argsz);
        sys::with_sized(self, number::DEVICE_SET_IRQS, &mut packet.0).map(drop)
    }

    /// Performs an action on interrupt 0 of an index, without data.
    pub fn act(&self, index: u32, action: u32) -> Result<()> {
        let flags = VFIO_IRQ_SET_DATA_NONE | action;
        self.set_irqs(&SetIrqs {
            flags,
            index,
            count: 1,
            ..SetIrqs::default()
        })
    }

    /// Sets the eventfd of an action on interrupt 0 of an index.
    pub fn connect(&self, index: u32, action: u32, fd: i32) -> Result<()> {
        self.connect_all(index, action, &[fd])
    }

    /// Sets the eventfds of an action on the interrupts of an index, from interrupt 0 on.
    pub fn connect_all(&self, index: u32, action: u32, fds: &[i32]) -> Result<()> {
        self.connect_from(index, action, 0, fds)
    }

    /// Sets the eventfds of an action on the interrupts of an index, from interrupt `start` on.
    pub fn connect_from(&self, index: u32, action: u32, start: u32, fds: &[i32]) -> Result<()> {
        self.set_irqs(&SetIrqs {
            flags: VFIO_IRQ_SET_DATA_EVENTFD | action,
            index,
            start,
            count: fds.len() as u32,
            data: fds.iter().flat_map(|fd| fd.to_ne_bytes()).collect(),
            ..SetIrqs::default()
        })
    }

    /// Disables an index.
    pub fn disable(&self, index: u32) -> Result<()> {
        let flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
        self.set_irqs(&SetIrqs {
            flags,
            index,
            ..SetIrqs::default()
        })
    }
}
