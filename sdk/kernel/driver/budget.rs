// SPDX-License-Identifier: GPL-2.0

//! What the mdevs of a parent share in units: ports, MiB of memory, channels.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};

/// The units that a parent has left for its mdevs. A clone is the same budget.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::Budget;
/// /// Returns how many cards of 2 ports there can be beside one of 16, of 24 ports: 4.
/// fn cards() -> Result<u32> {
///     let ports = Budget::new(24)?;
///     let _large = ports.take(16)?;
///     Ok(ports.available(2))
/// }
/// ```
#[derive(Clone)]
pub struct Budget(Arc<Mutex<u32>>);

impl Budget {
    /// Creates a budget of `units`.
    ///
    /// # Errors
    ///
    /// ENOMEM.
    pub fn new(units: u32) -> Result<Self> {
        let left = Arc::pin_init(new_mutex!(units, "mdev_budget"), GFP_KERNEL)?;
        Ok(Budget(left))
    }

    /// Returns how many mdevs that take `units` each could be created now, as
    /// [`Driver::available`](super::Driver::available) wants it.
    pub fn available(&self, units: u32) -> u32 {
        self.0.lock().checked_div(units).unwrap_or(u32::MAX)
    }

    /// Takes `units` until the share is dropped.
    ///
    /// # Errors
    ///
    /// ENOSPC if fewer are left, as [`Driver::create`](super::Driver::create) wants it.
    pub fn take(&self, units: u32) -> Result<Share> {
        let mut left = self.0.lock();
        *left = left.checked_sub(units).ok_or(ENOSPC)?;
        Ok(Share {
            budget: self.clone(),
            units,
        })
    }
}

/// Units that an mdev has taken from a [`Budget`]; dropping it returns them.
///
/// # Examples
///
/// [`Budget`] has one.
#[must_use = "dropping a share returns its units"]
pub struct Share {
    budget: Budget,
    units: u32,
}

impl Drop for Share {
    fn drop(&mut self) {
        // It cannot overflow: the units were subtracted when the share was taken.
        *self.budget.0.lock() += self.units;
    }
}
