// SPDX-License-Identifier: GPL-2.0

//! For tests of protocol v1: a device that has only a stream, behind the registers.

use mdev_model::{
    state::State,
    v1::{Chunk, Register, Session, DATA_OFFSET},
};
use Register::{DataOffset, DataSize, DeviceState, PendingBytes, Reserved};

pub const STOP: u64 = 0;
pub const RUNNING: u64 = 1;
pub const STOP_COPY: u64 = 2;
pub const PRE_COPY: u64 = 3;
pub const RESUMING: u64 = 4;
pub const VALID: [u64; 5] = [STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING];

pub const REGISTERS: [(u64, Register); 5] = [
    (0x00, DeviceState),
    (0x04, Reserved),
    (0x08, PendingBytes),
    (0x10, DataOffset),
    (0x18, DataSize),
];

/// The errors of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    Invalid,
    Broken,
}

/// A device whose stream is records of the given lengths, some of which are ready while it runs.
/// The bytes of a record are its number.
pub struct Device {
    state: State,
    pub records: Vec<usize>,
    /// Number of records that are ready before the device stops.
    pub early: usize,
    next: usize,
    chunk: Option<Chunk>,
    pub window: Vec<u8>,
    pub loaded: Vec<u8>,
    pub breaks: bool,
}

impl Device {
    pub fn new(records: &[usize], early: usize) -> Self {
        Device {
            state: State::Running,
            records: records.to_vec(),
            early,
            next: 0,
            chunk: None,
            window: vec![],
            loaded: vec![],
            breaks: false,
        }
    }

    pub fn read(&mut self, register: Register) -> u64 {
        register.read(self).expect("a register that can be read")
    }

    pub fn set(&mut self, bits: u64) {
        assert_eq!(DeviceState.write(bits, self), Ok(()), "state {bits}");
    }

    /// Returns a chunk as user space takes it: the bytes in the window, none if nothing is pending.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.read(PendingBytes) == 0 {
            return None;
        }
        assert_eq!(self.read(DataOffset), DATA_OFFSET);
        let size = self.read(DataSize) as usize;
        assert!(size > 0, "an empty chunk with bytes pending");
        Some(self.window[..size].to_vec())
    }

    pub fn stream(&self) -> Vec<u8> {
        let record = |(number, len): (usize, &usize)| vec![number as u8; *len];
        self.records.iter().enumerate().flat_map(record).collect()
    }

    fn ready(&self) -> &[usize] {
        let end = match self.state {
            State::StopCopy => self.records.len(),
            _ => self.early.max(self.next),
        };
        &self.records[self.next..end]
    }
}

impl Session for Device {
    type Error = Error;
    const INVALID: Error = Error::Invalid;

    fn state(&self) -> State {
        self.state
    }

    fn set_state(&mut self, target: State) -> Result<(), Error> {
        while self.state != target {
            let (next, _) = self.state.step_to(target).ok_or(Error::Invalid)?;
            let saves = |state: State| state.is_pre_copy() || state == State::StopCopy;
            match (saves(self.state), saves(next)) {
                (false, true) => (self.chunk, self.next) = (Some(Chunk::default()), 0),
                (true, false) => self.chunk = None,
                _ => {}
            }
            self.state = next;
        }
        Ok(())
    }

    fn chunk(&mut self) -> Option<&mut Chunk> {
        self.chunk.as_mut()
    }

    fn pending(&mut self) -> Result<u64, Error> {
        Ok(self.ready().iter().sum::<usize>() as u64)
    }

    fn save(&mut self, enough: u64) -> Result<u64, Error> {
        if self.breaks {
            return Err(Error::Broken);
        }
        self.window.clear();
        while let Some(len) = self.ready().first().copied() {
            if !self.window.is_empty() && self.window.len() + len > enough as usize {
                break;
            }
            self.window.extend(vec![self.next as u8; len]);
            self.next += 1;
        }
        Ok(self.window.len() as u64)
    }

    fn load(&mut self, len: u64) -> Result<(), Error> {
        if self.state != State::Resuming {
            return Err(Error::Invalid);
        }
        // Bytes that were never written are zero.
        let mut bytes = self.window.clone();
        bytes.resize(len as usize, 0);
        self.loaded.extend(bytes);
        Ok(())
    }
}
