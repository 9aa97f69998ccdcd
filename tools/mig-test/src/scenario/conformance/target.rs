// SPDX-License-Identifier: GPL-2.0
//! The device under test: one the user names, or a fresh card of a sample driver.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use vfio_bindings::bindings::vfio::VFIO_PCI_BAR0_REGION_INDEX;

use crate::mdev::{Mdev, MdevType};
use crate::scenario::bed::{load, Driver, MTTY_C, MTTY_RS, ONE_PORT};
use crate::scenario::Ctx;
use crate::vfio::device::Device;

/// A device and what is known about it.
pub struct Target {
    /// The driver, if it is one of the samples.
    pub driver: Option<Driver>,
    path: PathBuf,
    /// Removed at the end.
    _mdev: Option<Mdev>,
}

impl Target {
    /// Takes the device of the option `device`, else makes a card of the option `driver`, else one of
    /// mtty_rs.
    pub fn prepare(ctx: &mut Ctx) -> Result<Target> {
        load("vfio_iommu_type1")?;
        if let Some(path) = ctx.options.get("device") {
            ctx.step(format!("testing {path}"));
            return Ok(Target {
                driver: None,
                path: path.into(),
                _mdev: None,
            });
        }
        let driver = match ctx.options.get("driver").map(String::as_str) {
            None | Some("mtty_rs") => MTTY_RS,
            Some("mtty") => MTTY_C,
            Some(other) => bail!("there is no sample driver {other}; use mtty_rs or mtty"),
        };
        ctx.step(format!("testing a card of {}", driver.module));
        load(driver.module)?;
        let mdev = MdevType::find(driver.parent, ONE_PORT)?.create()?;
        let path = mdev.path().to_owned();
        Ok(Target {
            driver: Some(driver),
            path,
            _mdev: Some(mdev),
        })
    }

    /// Whether the streams are this project's records, checksum and all.
    pub fn has_records(&self) -> bool {
        self.driver
            .is_some_and(|driver| driver.module == MTTY_RS.module)
    }

    /// The device's folder in sysfs.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it.
    pub fn open(&self) -> Result<Device> {
        Device::open(&self.path)
    }

    /// The registers of the card's first port, if it is a sample card.
    pub fn uart(&self, device: &Device) -> Result<Option<Uart>> {
        if self.driver.is_none() {
            return Ok(None);
        }
        Ok(Some(Uart {
            base: device.region(VFIO_PCI_BAR0_REGION_INDEX, None)?.offset,
        }))
    }
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

    /// Scratch.
    pub fn scr(&self) -> u64 {
        self.base + 7
    }
}
