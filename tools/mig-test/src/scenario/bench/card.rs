// SPDX-License-Identifier: GPL-2.0
//! The card of `pin_rs` and `pin_c`, which pins guest memory and writes to it; this program takes
//! the place of the guest.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::mdev::{Mdev, MdevType};
use crate::scenario::bed::load;
use crate::vfio::device::Device;
use crate::vfio::dma::{Access, Dma, PAGE};
use crate::vfio::Mapping;

// A file of the test modules, which Kbuild compiles and cargo does not.
#[path = "../../../kmod/pin_registers.rs"]
pub mod register;

/// The IOVA of guest memory.
const IOVA: u64 = 0x1_0000_0000;

/// A driver of the card.
pub struct Driver {
    /// The name of its module and of its parent device.
    module: &'static str,
    /// Its only type.
    kind: &'static str,
}

/// The driver with the SDK.
pub const RUST: Driver = Driver {
    module: "pin_rs",
    kind: "pin_rs-1",
};

/// The driver without the SDK.
pub const C: Driver = Driver {
    module: "pin_c",
    kind: "faux_driver-1",
};

/// An open card that can reach guest memory. Removed when dropped, device first.
pub struct Card {
    /// The device.
    pub device: Device,
    _mdev: Mdev,
}

impl Card {
    /// Loads the driver and makes a card.
    pub fn new(driver: &Driver, guest: &Arc<Mapping>) -> Result<Card> {
        load("vfio_iommu_type1")?;
        load(driver.module)?;
        let mdev = MdevType::find(driver.module, driver.kind)?.create()?;
        let device = Device::open(mdev.path())?;
        device.space.map_dma(Dma {
            iova: IOVA,
            memory: guest,
            offset: 0,
            len: guest.len(),
            access: Access::ReadWrite,
        })?;
        Ok(Card {
            device,
            _mdev: mdev,
        })
    }

    /// Selects pages of guest memory, and the number of bytes to write to each.
    pub fn choose(&self, first: usize, pages: usize, bytes: usize) -> Result<()> {
        self.set(register::FIRST, first + IOVA as usize / PAGE)?;
        self.set(register::PAGES, pages)?;
        self.set(register::BYTES, bytes)
    }

    /// Writes a register.
    pub fn set(&self, register: u64, value: usize) -> Result<()> {
        let value = u32::try_from(value)?.to_le_bytes();
        let written = self.device.write(register, &value);
        let count = written.with_context(|| format!("write to register {register:#x}"))?;
        anyhow::ensure!(count == value.len(), "a register takes {count} bytes");
        Ok(())
    }
}
