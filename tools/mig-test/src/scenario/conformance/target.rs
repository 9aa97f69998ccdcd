// SPDX-License-Identifier: GPL-2.0
//! The device under test, and what is known of it.

use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use mdev_model::stream::MAGIC;
use mig_common::exercise::place::Register;

use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;

/// The number of bytes at the beginning of a stream of records that contain its magic.
const HEAD: usize = 64;

/// A register, or a part of a BAR's memory, that a guest can write, that is saved, and that is 0
/// after a reset.
#[derive(Clone, Copy)]
pub struct Mark {
    /// The BAR.
    pub bar: u32,
    /// The offset in it.
    pub offset: u64,
    /// Bytes of an access: 1, 2, 4 or 8.
    pub width: usize,
}

/// A device and its known properties.
pub struct Target {
    pub(super) path: PathBuf,
    /// Whether it is this project's, and so has everything that the SDK offers.
    pub is_ours: bool,
    pub(super) mark: Option<Mark>,
    pub(super) is_uart: bool,
    /// Its type, unless it existed before.
    pub(super) kind: Option<MdevType>,
    /// Removed at the end.
    pub(super) _mdev: Option<Mdev>,
}

impl Target {
    /// Makes another device of the same type, if there can be one.
    pub fn another(&self) -> Result<Option<Target>> {
        let Some(kind) = &self.kind else {
            return Ok(None);
        };
        if kind.available()? == 0 {
            return Ok(None);
        }
        let mdev = kind.create()?;
        Ok(Some(Target {
            path: mdev.path().to_owned(),
            kind: self.kind.clone(),
            _mdev: Some(mdev),
            ..*self
        }))
    }

    /// Returns whether this device's stream consists of the SDK's records, with checksum.
    pub fn has_records(&self, stream: &[u8]) -> bool {
        let head = &stream[..stream.len().min(HEAD)];
        self.is_ours || head.windows(MAGIC.len()).any(|bytes| bytes == MAGIC)
    }

    /// The device's folder in sysfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    pub fn open(&self) -> Result<Device> {
        Device::open(&self.path)
    }

    fn mark_at(&self, device: &Device) -> Result<Option<u64>> {
        let Some(mark) = self.mark else {
            return Ok(None);
        };
        let bar = device.region(mark.bar, None)?;
        ensure!(
            mark.offset + mark.width as u64 <= bar.size,
            "BAR {} has {} bytes, and none at {:#x}: choose another mark",
            mark.bar,
            bar.size,
            mark.offset
        );
        Ok(Some(bar.offset + mark.offset))
    }

    /// Writes to the place of the device that keeps its value, if one is known: `value` in each of
    /// its bytes.
    pub fn mark(&self, device: &Device, value: u8) -> Result<()> {
        if let (Some(mark), Some(at)) = (self.mark, self.mark_at(device)?) {
            device
                .write(at, &[value; 8][..mark.width])
                .context("write the mark")?;
            let found = self.marked(device)?;
            ensure!(
                found == Some(value),
                "the mark keeps {found:#x?} instead of {value:#x}: it has to be a place that keeps \
                 what is written to it"
            );
        }
        Ok(())
    }

    /// Reads that place, whose bytes must be equal.
    pub fn marked(&self, device: &Device) -> Result<Option<u8>> {
        let (Some(mark), Some(at)) = (self.mark, self.mark_at(device)?) else {
            return Ok(None);
        };
        let mut bytes = [0; 8];
        let bytes = &mut bytes[..mark.width];
        device.read(at, bytes).context("read the mark")?;
        ensure!(
            bytes.iter().all(|byte| *byte == bytes[0]),
            "the mark reads {bytes:02x?}, whose bytes are not equal"
        );
        Ok(Some(bytes[0]))
    }

    /// Returns the registers of the card's first port, if it is a serial card.
    pub fn uart(&self, device: &Device) -> Result<Option<Uart>> {
        if !self.is_uart {
            return Ok(None);
        }
        let base = device.region(0, None)?.offset;
        Ok(Some(Uart { base }))
    }
}

/// Parses `BAR:OFFSET` or `BAR:OFFSET:WIDTH`; the numbers may be hexadecimal.
pub fn parse_mark(text: &str) -> Result<Mark> {
    let (place, width) = match text.rsplit_once(':') {
        Some((place, width)) if place.contains(':') => (place, width.parse().ok()),
        _ => (text, Some(1)),
    };
    let register = width.and_then(|width| Register::parse(place, width).ok());
    let register = register.with_context(|| {
        format!("the option mark is BAR:OFFSET or BAR:OFFSET:WIDTH, like 1:0x20:4, and not {text}")
    })?;
    Ok(Mark {
        bar: register.bar,
        offset: register.offset,
        width: register.width,
    })
}

/// Positions of a 16550's registers in the device file.
#[derive(Clone, Copy)]
pub struct Uart {
    base: u64,
}

impl Uart {
    /// Interrupt enable.
    pub fn ier(&self) -> u64 {
        self.base + 1
    }

    /// Interrupt identification, FIFO control.
    pub fn iir(&self) -> u64 {
        self.base + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_bar_an_offset_and_a_width() {
        let parts = |text| parse_mark(text).map(|mark| (mark.bar, mark.offset, mark.width));
        assert_eq!(parts("1:0x20").unwrap(), (1, 32, 1));
        assert_eq!(parts("0:7").unwrap(), (0, 7, 1));
        assert_eq!(parts("0:0x80:4").unwrap(), (0, 128, 4));
        for bad in [
            "", "1", "6:0", "1:", "1:0x", "-1:0", "a:b", "0:0:3", "0:2:4",
        ] {
            let error = parse_mark(bad).err().unwrap().to_string();
            assert!(error.contains("like 1:0x20:4"), "{error}");
        }
    }
}
