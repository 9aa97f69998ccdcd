// SPDX-License-Identifier: GPL-2.0

//! The display: which bytes of VRAM are the picture.

use crate::{
    error::Error,
    uapi::{DISPLAY_MAX, STRIDE_MAX},
};

/// The picture, which begins at offset 0 of VRAM: VFIO's region plane can say no other place.
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
        good.then_some(()).ok_or(Error::Display)
    }
}

/// The display's registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Display {
    /// Implies a good picture.
    pub(crate) enabled: bool,
    pub(crate) picture: Picture,
}

impl Display {
    /// The register that `field` picks is written.
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
