// SPDX-License-Identifier: GPL-2.0

//! An open device: the SDK's part, the driver's part, and the memory behind its BARs.

use super::{Context, Operations};
use crate::memory::DeviceMemory;
use core::array::from_fn;
use kernel::{prelude::*, sync::Arc};
use mdev_model::config;

/// An open device.
#[pin_data]
pub(crate) struct Open<O: Operations> {
    pub(crate) cx: Arc<Context>,
    #[pin]
    pub(crate) driver: O,
    /// The memory behind each BAR, as the driver returned it at the open: the same memory is
    /// attached and, at the close, detached.
    memories: [Option<Arc<DeviceMemory>>; config::BARS],
}

impl<O: Operations> Open<O> {
    /// Opens the driver's part of the device.
    ///
    /// # Errors
    ///
    /// Returns the driver's error, or ENOMEM.
    pub(crate) fn new(cx: Arc<Context>, driver: impl PinInit<O, Error>) -> Result<Arc<Self>> {
        Arc::pin_init(
            try_pin_init!(Self {
                cx,
                driver <- driver,
                memories: from_fn(|bar| driver.memory(bar).cloned()),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns whether the memory behind each BAR has the size of the BAR; logs one that has not.
    pub(crate) fn memories_fit(&self) -> bool {
        let bars = &self.cx.identity().bars;
        self.memories().all(|(bar, memory)| {
            let (is, must_be) = (memory.size() as u64, bars[bar].size());
            if is != must_be {
                self.cx.report_mistake(fmt!(
                    "the memory of BAR {bar} has {is} bytes, the BAR has {must_be}"
                ));
            }
            is == must_be
        })
    }

    /// Returns the memory behind BAR `bar`, if there is any.
    #[inline]
    pub(crate) fn memory(&self, bar: usize) -> Option<&Arc<DeviceMemory>> {
        // A driver without memory must not pay for the lookup.
        if !O::HAS_MEMORY {
            return None;
        }
        self.memories.get(bar)?.as_ref()
    }

    /// Returns the BARs with memory behind them.
    pub(crate) fn memories(&self) -> impl Iterator<Item = (usize, &Arc<DeviceMemory>)> {
        let numbered = self.memories.iter().enumerate();
        numbered.filter_map(|(bar, memory)| Some((bar, memory.as_ref()?)))
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
