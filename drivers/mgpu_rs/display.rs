// SPDX-License-Identifier: GPL-2.0

//! The display: which part of VRAM is the picture.

use mdev_model::record::require;

use crate::{
    error::Error,
    uapi::{DISPLAY_MAX, STRIDE_MAX},
};

/// The picture. It begins at offset 0 of VRAM, because VFIO's region plane allows no other place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row; each is of 32 bits.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
}

impl Picture {
    pub(crate) fn check(&self, vram_size: u32) -> Result<(), Error> {
        let Picture {
            width,
            height,
            stride,
        } = *self;
        let sizes = 1..=DISPLAY_MAX;
        let good = sizes.contains(&width)
            && sizes.contains(&height)
            && (4 * width..=STRIDE_MAX).contains(&stride)
            && stride % 4 == 0
            && u64::from(height) * u64::from(stride) <= vram_size.into();
        require(good, Error::Display)
    }
}

/// The display's registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Display {
    /// Implies a valid picture.
    pub(crate) enabled: bool,
    pub(crate) picture: Picture,
}

impl Display {
    /// Writes the register that `field` selects.
    pub(crate) fn set(&mut self, field: impl FnOnce(&mut Picture) -> &mut u32, value: u32) {
        if !self.enabled {
            *field(&mut self.picture) = value;
        }
    }

    pub(crate) fn enable(&mut self, on: bool, vram_size: u32) -> Result<(), Error> {
        if on {
            self.picture.check(vram_size)?;
        }
        self.enabled = on;
        Ok(())
    }
}
