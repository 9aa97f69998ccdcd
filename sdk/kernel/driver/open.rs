// SPDX-License-Identifier: GPL-2.0

//! An open device: the SDK's part, the driver's part, and the memory in its BARs.

use super::{Context, Operations, Parts};
use crate::memory::Part;
use kernel::{prelude::*, sync::Arc};

/// An open device.
#[pin_data]
pub(crate) struct Open<O: Operations> {
    pub(crate) cx: Arc<Context>,
    #[pin]
    pub(crate) driver: O,
    /// What of the BARs is memory, as the driver said at the open.
    parts: KVec<Part>,
}

impl<O: Operations> Open<O> {
    /// Opens the driver's part of the device.
    ///
    /// # Errors
    ///
    /// Returns the driver's error; EINVAL if a part of its BARs breaks a rule; ENOMEM.
    pub(crate) fn new(cx: Arc<Context>, driver: impl PinInit<O, Error>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                cx,
                driver <- driver,
                parts: {
                    let mut parts = Parts::new(cx);
                    driver.parts(&mut parts)?;
                    parts.into_inner()
                },
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the part that byte `offset` of BAR `bar` is in, and its offset there; `None` if it
    /// is a register.
    #[inline]
    pub(crate) fn part(&self, bar: usize, offset: u64) -> Option<(&Part, u64)> {
        // A driver without memory must not pay for the lookup.
        if !O::HAS_PARTS {
            return None;
        }
        let mut parts = self.parts.iter();
        parts.find_map(|part| Some((part, part.place.offset_of(bar, offset)?)))
    }

    /// Returns what of the BARs is memory.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Stops the engines and the driver's part, then ends its accesses to guest memory.
    ///
    /// # Errors
    ///
    /// Returns the driver's error, or EINTR if this thread is killed before all is over; the device
    /// runs then.
    pub(crate) fn quiesce(&self) -> Result {
        self.cx.engines.stop()?;
        let stopped = self.driver.quiesce(&self.cx);
        stopped.inspect_err(|_| self.cx.engines.start())?;
        let quiesced = self.cx.memory().quiesce();
        quiesced.inspect_err(|_| self.resume())
    }

    /// Lets the driver's part run again.
    pub(crate) fn resume(&self) {
        self.cx.memory().resume();
        self.driver.resume(&self.cx);
        self.cx.engines.start();
    }

    /// Stops the engines for a [`reset`](Self::reset).
    ///
    /// # Errors
    ///
    /// EINTR if this thread is killed before their steps are over; they run then.
    pub(crate) fn stop_engines(&self) -> Result {
        self.cx.engines.stop()
    }

    /// Resets the SDK's part, then the driver's, so that the level the driver sets is that of the
    /// new state. The engines must be stopped, and run afterwards.
    ///
    /// # Errors
    ///
    /// Returns the driver's error.
    pub(crate) fn reset(&self) -> Result {
        self.cx.reset();
        let reset = self.driver.reset(&self.cx);
        self.cx.engines.start();
        reset
    }
}
