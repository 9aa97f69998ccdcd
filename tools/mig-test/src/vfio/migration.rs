// SPDX-License-Identifier: GPL-2.0
//! Migration protocol v2 of a VFIO device: states, data files, sizes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::{pread, read, write, Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_DEVICE_FEATURE_GET, VFIO_DEVICE_FEATURE_MIGRATION, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
    VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, VFIO_DEVICE_FEATURE_PROBE, VFIO_DEVICE_FEATURE_SET,
};

use super::device::Device;

/// `enum vfio_device_mig_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum State {
    /// Dead until reset.
    Error = 0,
    /// Stopped.
    Stop = 1,
    /// Running.
    Running = 2,
    /// Stopped, saving its state.
    StopCopy = 3,
    /// Stopped, loading a state.
    Resuming = 4,
    /// Running, except for peer-to-peer DMA.
    RunningP2p = 5,
    /// Running and saving state.
    PreCopy = 6,
    /// As `PreCopy`, except for peer-to-peer DMA.
    PreCopyP2p = 7,
}

impl State {
    /// The states that a user can request.
    pub const TARGETS: [State; 7] = [
        State::Stop,
        State::Running,
        State::StopCopy,
        State::Resuming,
        State::RunningP2p,
        State::PreCopy,
        State::PreCopyP2p,
    ];

    fn from_number(number: u32) -> Option<State> {
        if number == State::Error as u32 {
            return Some(State::Error);
        }
        State::TARGETS
            .into_iter()
            .find(|state| *state as u32 == number)
    }
}

/// Answer to VFIO_MIG_GET_PRECOPY_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrecopyInfo {
    /// The returned flags.
    pub flags: u32,
    /// Bytes of initial data still to be read.
    pub initial: u64,
    /// Bytes of changed data still to be read.
    pub dirty: u64,
}

/// The data file that a state is read from or written to.
pub struct DataFile(OwnedFd);

impl DataFile {
    /// Reads at most `bytes.len()` bytes.
    pub fn read(&self, bytes: &mut [u8]) -> Result<usize> {
        read(&self.0, bytes)
    }

    /// Returns whether it is readable.
    pub fn is_readable(&self) -> Result<bool> {
        self.poll(Duration::ZERO)
    }

    /// Waits until it becomes readable or the time is over; returns whether this thread was woken.
    /// A poll() at the end of its timeout checks once more, and would not show a missing wakeup.
    pub fn await_readable(&self, most: Duration) -> Result<bool> {
        let end = Instant::now() + most;
        Ok(self.poll(most)? && Instant::now() < end)
    }

    fn poll(&self, most: Duration) -> Result<bool> {
        let timeout = Timespec::try_from(most).map_err(|_| Errno::INVAL)?;
        let mut files = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut files, Some(&timeout))?;
        Ok(files[0].revents() == PollFlags::IN)
    }

    /// Reads at a position, which such a file does not have.
    pub fn read_at(&self, position: u64) -> Result<usize> {
        pread(&self.0, &mut [0; 1], position)
    }

    /// Writes, possibly only a part.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        write(&self.0, bytes)
    }

    /// Writes everything, in pieces of the given sizes, which are repeated.
    pub fn write_split(&self, bytes: &[u8], sizes: &[usize]) -> Result<()> {
        let mut rest = bytes;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let piece = &rest[..rest.len().min(*size)];
            rest = &rest[self.write(piece)?..];
        }
        Ok(())
    }

    /// Reads pieces of the given size to the end of the stream, or to its end for now (ENOMSG).
    /// Returns whether the end was final.
    pub fn read_to_end(&self, size: usize) -> Result<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        let mut piece = vec![0; size];
        loop {
            match self.read(&mut piece) {
                Ok(0) => return Ok((all, true)),
                Ok(count) => all.extend_from_slice(&piece[..count]),
                Err(Errno::NOMSG) => return Ok((all, false)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls VFIO_MIG_GET_PRECOPY_INFO; `argsz` overrides the length.
    pub fn precopy_info(&self, argsz: Option<u32>, flags: u32) -> Result<PrecopyInfo> {
        let mut packet = Packet::sized().u32(flags).u64(0).u64(0).argsz(argsz);
        sys::with_sized(&self.0, number::MIG_GET_PRECOPY_INFO, &mut packet.0)?;
        Ok(PrecopyInfo {
            flags: packet.read_u32(4),
            initial: packet.read_u64(8),
            dirty: packet.read_u64(16),
        })
    }

    /// Calls an ioctl that such a file does not have.
    pub fn unknown_ioctl(&self) -> Result<()> {
        sys::with_value(&self.0, number::DEVICE_RESET, 0).map(drop)
    }
}

impl AsFd for DataFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Device {
    /// Calls VFIO_DEVICE_FEATURE with a payload; returns the payload as the kernel leaves it.
    pub fn feature(&self, flags: u32, payload: &[u8], argsz: Option<u32>) -> Result<Vec<u8>> {
        let mut packet = Packet::sized().u32(flags).bytes(payload).argsz(argsz);
        sys::with_sized(self, number::DEVICE_FEATURE, &mut packet.0)?;
        Ok(packet.0.split_off(8))
    }

    /// Returns the VFIO_MIGRATION_* flags.
    pub fn migration_flags(&self) -> Result<u64> {
        self.get_u64(VFIO_DEVICE_FEATURE_MIGRATION)
    }

    /// Returns the number of bytes that STOP_COPY would still transfer.
    pub fn stop_copy_length(&self) -> Result<u64> {
        self.get_u64(VFIO_DEVICE_FEATURE_MIG_DATA_SIZE)
    }

    fn get_u64(&self, feature: u32) -> Result<u64> {
        let answer = self.feature(VFIO_DEVICE_FEATURE_GET | feature, &[0; 8], None)?;
        Ok(answer
            .first_chunk()
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes)))
    }

    /// Returns whether a feature can be set.
    pub fn can_set(&self, feature: u32) -> Result<()> {
        let flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET | feature;
        self.feature(flags, &[], None).map(drop)
    }

    /// Returns the device's state. An unknown number is an error.
    pub fn state(&self) -> Result<State> {
        let flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
        let answer = self.feature(flags, &[0; 8], None)?;
        let number = answer
            .first_chunk()
            .map_or(u32::MAX, |bytes| u32::from_ne_bytes(*bytes));
        State::from_number(number).ok_or(Errno::PROTO)
    }

    /// Requests a state; returns the new data file, if there is one.
    pub fn set_state(&self, state: State) -> Result<Option<DataFile>> {
        self.set_state_number(state as u32)
    }

    /// Requests a state by number, known or not.
    pub fn set_state_number(&self, number: u32) -> Result<Option<DataFile>> {
        let flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE;
        let payload = Packet(number.to_ne_bytes().to_vec()).i32(-1).0;
        let answer = self.feature(flags, &payload, None)?;
        let fd = answer[4..]
            .first_chunk()
            .map_or(-1, |bytes| i32::from_ne_bytes(*bytes));
        Ok((fd >= 0).then(|| DataFile(sys::take_fd(fd))))
    }
}
