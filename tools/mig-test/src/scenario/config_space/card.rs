// SPDX-License-Identifier: GPL-2.0
//! A card of `config_rs`: its configuration space, its registers and guest memory.

use std::sync::Arc;

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::VFIO_PCI_CONFIG_REGION_INDEX;

use crate::mdev::{Mdev, MdevType};
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::Mapping;

// A file of the test modules, which Kbuild compiles and cargo does not.
#[path = "../../../kmod/config_registers.rs"]
pub mod register;

/// The module, and its parent device.
pub const MODULE: &str = "config_rs";
/// The IOVA of a page of guest memory.
pub const IOVA: u64 = 0x1_0000_0000;

/// Offsets in configuration space: the command register, then those of the type `express`, from the
/// specifications a second time.
pub const COMMAND: u64 = 0x04;
pub const POWER: u64 = 0x50;
pub const EXPRESS: u64 = 0x58;
pub const VENDOR: u64 = 0x94;
pub const SERIAL: u64 = 0x100;
pub const VSEC: u64 = 0x10c;
/// The register with the power state.
pub const POWER_CONTROL: u64 = POWER + 4;
/// Device Control, whose upper bit initiates the reset.
pub const DEVICE_CONTROL: u64 = EXPRESS + 8;
pub const MAILBOX: u64 = VSEC + 8;
/// Memory space and Bus Master Enable.
pub const MASTER: u16 = 0x0006;

/// An open card. Removed when dropped, device first.
pub struct Card {
    /// The device.
    pub device: Device,
    /// A page of guest memory, at [`IOVA`].
    pub guest: Arc<Mapping>,
    config: u64,
    _mdev: Mdev,
}

impl Card {
    /// A new card of a type.
    pub fn new(kind: &str) -> Result<Card> {
        let mdev = MdevType::find(MODULE, &format!("{MODULE}-{kind}"))?.create()?;
        let device = Device::open(mdev.path())?;
        let guest = Arc::new(Mapping::anonymous(PAGE)?);
        device.space.map_dma(Dma {
            iova: IOVA,
            memory: &guest,
            offset: 0,
            len: PAGE,
            access: Access::ReadWrite,
        })?;
        Ok(Card {
            config: device.region(VFIO_PCI_CONFIG_REGION_INDEX, None)?.offset,
            device,
            guest,
            _mdev: mdev,
        })
    }

    /// Reads bytes of configuration space.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
        self.device.read(self.config + offset, bytes)
    }

    /// Writes bytes of configuration space.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.device.write(self.config + offset, bytes)
    }

    /// Reads 32 bits of configuration space.
    pub fn config(&self, offset: u64) -> Result<u32, Errno> {
        self.device.read_u32(self.config + offset)
    }

    /// Returns all of configuration space.
    pub fn space(&self) -> Result<Vec<u8>> {
        let size = self.device.region(VFIO_PCI_CONFIG_REGION_INDEX, None)?.size;
        let mut space = vec![0; size as usize];
        self.read(0, &mut space)?;
        Ok(space)
    }

    /// Sets the command register.
    pub fn command(&self, command: u16) -> Result<(), Errno> {
        self.write(COMMAND, &command.to_le_bytes()).map(drop)
    }

    /// Initiates a function-level reset, the rest of Device Control as after one.
    pub fn reset_function(&self) -> Result<usize, Errno> {
        self.write(DEVICE_CONTROL, &[0x10, 0xa8])
    }

    /// Reads a register. BAR 0 is at the beginning of the device file.
    pub fn get(&self, register: u64) -> Result<u32, Errno> {
        self.device.read_u32(register)
    }

    /// Writes a register.
    pub fn set(&self, register: u64, value: u32) -> Result<(), Errno> {
        self.device.write(register, &value.to_le_bytes()).map(drop)
    }

    /// Has the card access guest memory.
    pub fn call(&self, call: u32) -> Result<(), Errno> {
        self.device.write(register::IOVA, &IOVA.to_le_bytes())?;
        self.set(register::CALL, call)
    }
}
