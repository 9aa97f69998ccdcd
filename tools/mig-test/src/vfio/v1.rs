// SPDX-License-Identifier: GPL-2.0
//! Migration protocol v1 of a VFIO device: a region with registers and a window, accessed as by
//! QEMU 7.2. The names are those of `struct vfio_device_migration_info`.

use rustix::io::{Errno, Result};
use vfio_bindings::bindings::vfio::{
    VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED, VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
};

use super::capability::Capability;
use super::device::Device;
use super::Mapping;

/// Values of `device_state`.
pub mod bits {
    /// Stopped.
    pub const STOP: u32 = 0;
    /// Running.
    pub const RUNNING: u32 = 1;
    /// Stopped, saving its state.
    pub const STOP_COPY: u32 = 2;
    /// Running and saving state.
    pub const PRE_COPY: u32 = 3;
    /// Stopped, loading a state.
    pub const RESUMING: u32 = 4;
    /// The states that a user can request.
    pub const TARGETS: [u32; 5] = [STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING];
}

/// Offsets of the registers.
pub mod register {
    /// Four bytes.
    pub const DEVICE_STATE: u64 = 0x00;
    /// Four bytes.
    pub const RESERVED: u64 = 0x04;
    /// Eight bytes.
    pub const PENDING_BYTES: u64 = 0x08;
    /// Eight bytes.
    pub const DATA_OFFSET: u64 = 0x10;
    /// Eight bytes.
    pub const DATA_SIZE: u64 = 0x18;
}

/// The way in which the window is accessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through a mapping.
    Mapped,
    /// By system calls of eight bytes, as QEMU does without a mapping.
    Trapped,
}

/// The migration region of a device, with its window mapped.
pub struct MigrationRegion<'a> {
    device: &'a Device,
    /// Its offset in the device file.
    base: u64,
    /// Its size.
    pub size: u64,
    /// The offset of the window in the region.
    pub start: u64,
    /// The window.
    pub window: Mapping,
}

impl Device {
    /// Finds the migration region as QEMU does, and maps its window. Returns `None` if the device
    /// has no such region, and PROTO if the region does not have exactly one mappable part.
    pub fn migration_region(&self) -> Result<Option<MigrationRegion<'_>>> {
        let wanted = Capability::Type(
            VFIO_REGION_TYPE_MIGRATION_DEPRECATED,
            VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED,
        );
        for index in 0..self.info(None)?.regions {
            let Ok(capabilities) = self.capabilities(index) else {
                continue;
            };
            if !capabilities.contains(&wanted) {
                continue;
            }
            let area = capabilities.into_iter().find_map(|found| match found {
                Capability::SparseMmap(areas) => <[_; 1]>::try_from(areas).ok(),
                _ => None,
            });
            let [area] = area.ok_or(Errno::PROTO)?;
            let region = self.region(index, None)?;
            let len = (area.end - area.start) as usize;
            return Ok(Some(MigrationRegion {
                device: self,
                base: region.offset,
                size: region.size,
                start: area.start,
                window: self.map(region.offset + area.start, len)?,
            }));
        }
        Ok(None)
    }
}

impl MigrationRegion<'_> {
    /// Reads anywhere in the region, in one call.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<usize> {
        self.device.read(self.base.wrapping_add(offset), bytes)
    }

    /// Writes anywhere in the region, in one call.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<usize> {
        self.device.write(self.base.wrapping_add(offset), bytes)
    }

    /// Maps a part of the region.
    pub fn map(&self, offset: u64, len: usize) -> Result<Mapping> {
        self.device.map(self.base + offset, len)
    }

    fn get(&self, register: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        match self.read(register, &mut bytes)? {
            8 => Ok(u64::from_ne_bytes(bytes)),
            _ => Err(Errno::PROTO),
        }
    }

    /// Reads `device_state`.
    pub fn state(&self) -> Result<u32> {
        let mut bytes = [0; 4];
        match self.read(register::DEVICE_STATE, &mut bytes)? {
            4 => Ok(u32::from_ne_bytes(bytes)),
            _ => Err(Errno::PROTO),
        }
    }

    /// Writes `device_state`.
    pub fn set_state(&self, bits: u32) -> Result<()> {
        self.write(register::DEVICE_STATE, &bits.to_ne_bytes())
            .map(drop)
    }

    /// Reads `pending_bytes`, which also acknowledges the last chunk.
    pub fn pending(&self) -> Result<u64> {
        self.get(register::PENDING_BYTES)
    }

    /// Reads `data_offset`.
    pub fn data_offset(&self) -> Result<u64> {
        self.get(register::DATA_OFFSET)
    }

    /// Reads `data_size`.
    pub fn data_size(&self) -> Result<u64> {
        self.get(register::DATA_SIZE)
    }

    /// Writes `data_size`, which passes a chunk to the device.
    pub fn set_data_size(&self, size: u64) -> Result<()> {
        self.write(register::DATA_SIZE, &size.to_ne_bytes())
            .map(drop)
    }

    /// Appends the current chunk to `stream` and returns its size. A chunk outside of the window is
    /// PROTO.
    pub fn take_chunk(&self, way: Way, stream: &mut Vec<u8>) -> Result<usize> {
        let offset = self.data_offset()?;
        let size = self.data_size()? as usize;
        if offset != self.start || size > self.window.len() {
            return Err(Errno::PROTO);
        }
        let at = stream.len();
        stream.resize(at + size, 0);
        self.read_window(way, &mut stream[at..])?;
        Ok(size)
    }

    /// Appends everything that the current state has yet to deliver to `stream`.
    pub fn drain(&self, way: Way, stream: &mut Vec<u8>) -> Result<()> {
        while self.pending()? > 0 {
            if self.take_chunk(way, stream)? == 0 {
                return Err(Errno::PROTO);
            }
        }
        Ok(())
    }

    /// Passes `stream` to the device in pieces of the given sizes, which are repeated.
    pub fn load(&self, way: Way, stream: &[u8], sizes: &[usize]) -> Result<()> {
        let mut rest = stream;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(*size).min(self.window.len()));
            if self.data_offset()? != self.start {
                return Err(Errno::PROTO);
            }
            self.write_window(way, piece)?;
            self.set_data_size(piece.len() as u64)?;
            rest = behind;
        }
        Ok(())
    }

    /// Reads from the start of the window.
    pub fn read_window(&self, way: Way, bytes: &mut [u8]) -> Result<()> {
        if way == Way::Mapped {
            self.window.read(0, bytes);
            return Ok(());
        }
        for (at, piece) in (self.start..).step_by(8).zip(bytes.chunks_mut(8)) {
            if self.read(at, piece)? != piece.len() {
                return Err(Errno::PROTO);
            }
        }
        Ok(())
    }

    /// Writes from the start of the window on.
    pub fn write_window(&self, way: Way, bytes: &[u8]) -> Result<()> {
        if way == Way::Mapped {
            self.window.write(0, bytes);
            return Ok(());
        }
        for (at, piece) in (self.start..).step_by(8).zip(bytes.chunks(8)) {
            if self.write(at, piece)? != piece.len() {
                return Err(Errno::PROTO);
            }
        }
        Ok(())
    }
}
