// SPDX-License-Identifier: GPL-2.0

//! The card: a real `edu`, whose DMA engine several mdevs share.
//!
//! The engine copies between memory and a buffer of 4,096 bytes in the card, which only it reaches.
//! So what belongs to an mdev goes through that buffer: from the guest to the card and on to the
//! host, or the other way. It cannot be stopped, but ends by itself a tenth of a second after its
//! start.

use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, Mutex},
};
use mdev_sdk::{Dma, DmaBuffer, GuestMemory, ParentBar, PciFunction, Pinned};

const INTERRUPT_STATUS: usize = 0x24;
const INTERRUPT_ACKNOWLEDGE: usize = 0x64;
const SOURCE: usize = 0x80;
const DESTINATION: usize = 0x88;
const COUNT: usize = 0x90;
const COMMAND: usize = 0x98;
/// Commands.
const START: u32 = 1;
const FROM_CARD: u32 = 2;
const INTERRUPT: u32 = 4;
/// Where the engine finds the card's buffer.
const BUFFER: u64 = 0x40000;
/// Its size, and that of a copy at most.
pub(crate) const SIZE: usize = 4096;
/// What hardware answers that is gone.
const GONE: u32 = u32::MAX;

/// A card.
#[pin_data]
pub(crate) struct Card {
    registers: ParentBar,
    /// A page of the host that the engine reaches.
    host: DmaBuffer,
    /// Held by the mdev that uses the engine.
    #[pin]
    engine: Mutex<()>,
    /// Signalled when a copy has ended, with `ending` locked.
    #[pin]
    ended: CondVar,
    #[pin]
    ending: Mutex<()>,
}

impl Card {
    /// Prepares a card.
    pub(crate) fn new(function: &PciFunction<'_>) -> Result<Arc<Card>> {
        let card = Arc::pin_init(
            try_pin_init!(Card {
                registers: function.bar(0)?,
                host: function.dma_buffer(SIZE)?,
                engine <- new_mutex!((), "edu_engine"),
                ended <- new_condvar!("edu_ended"),
                ending <- new_mutex!((), "edu_ending"),
            } ? Error),
            GFP_KERNEL,
        )?;
        let interrupted = card.clone();
        function.on_interrupt(move || interrupted.acknowledge().unwrap_or(false))?;
        Ok(card)
    }

    /// Acknowledges an interrupt; returns whether it was the card's.
    fn acknowledge(&self) -> Result<bool> {
        let events = self.registers.read32(INTERRUPT_STATUS)?;
        if events == 0 || events == GONE {
            return Ok(false);
        }
        self.registers.write32(INTERRUPT_ACKNOWLEDGE, events)?;
        // With the lock, so that who waits has seen the end or hears of it.
        let _ending = self.ending.lock();
        self.ended.notify_all();
        Ok(true)
    }

    /// Copies guest memory at `iova` into `data`; by the processor if the engine cannot reach it.
    ///
    /// # Errors
    ///
    /// EBUSY while another mdev uses the card; else those of guest memory, ENODEV for a card that
    /// is gone.
    pub(crate) fn read(
        self: &Arc<Self>,
        memory: &GuestMemory,
        iova: u64,
        data: &mut [u8],
    ) -> Result {
        let _engine = self.engine.try_lock().ok_or(EBUSY)?;
        let card = self.clone();
        let guest = match memory.pin_dma_read(iova, data.len(), move || card.wait()) {
            Err(error) if error == EIO => return memory.read(iova, data),
            pinned => pinned?,
        };
        self.copy_all(&guest, START)?;
        drop(guest);
        self.start(BUFFER, self.host.address(), data.len(), START | FROM_CARD)?;
        self.wait();
        self.host.read(0, data)
    }

    /// Copies `data` into guest memory at `iova`; by the processor if the engine cannot reach it.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub(crate) fn write(self: &Arc<Self>, memory: &GuestMemory, iova: u64, data: &[u8]) -> Result {
        let _engine = self.engine.try_lock().ok_or(EBUSY)?;
        let card = self.clone();
        let guest = match memory.pin_dma(iova, data.len(), move || card.wait()) {
            Err(error) if error == EIO => return memory.write(iova, data),
            pinned => pinned?,
        };
        self.host.write(0, data)?;
        self.start(self.host.address(), BUFFER, data.len(), START)?;
        self.wait();
        self.copy_all(&guest, START | FROM_CARD)
    }

    /// Copies between all of `guest` and the card's buffer.
    fn copy_all(&self, guest: &Pinned<Dma>, command: u32) -> Result {
        // At most SIZE bytes are in two pages.
        let mut segments = [(0, 0); 2];
        let mut free = segments.iter_mut();
        guest.for_each_segment(|address, len| {
            *free.next().ok_or(EINVAL)? = (address, len);
            Ok(())
        })?;
        let mut done = 0;
        for (address, len) in segments.into_iter().filter(|(_, len)| *len > 0) {
            let place = BUFFER + done as u64;
            let (source, destination) = match command & FROM_CARD {
                0 => (address, place),
                _ => (place, address),
            };
            // Not if user space has taken the memory away meanwhile.
            guest.start(|| self.start(source, destination, len, command))??;
            self.wait();
            done += len;
        }
        Ok(())
    }

    /// Starts the engine, which must be idle.
    fn start(&self, source: u64, destination: u64, len: usize, command: u32) -> Result {
        for (register, value) in [
            (SOURCE, source),
            (DESTINATION, destination),
            (COUNT, len as u64),
        ] {
            self.registers.write32(register, u32::try_from(value)?)?;
        }
        self.registers.write32(COMMAND, command | INTERRUPT)
    }

    /// Returns whether the engine copies.
    fn is_copying(&self) -> bool {
        let command = self.registers.read32(COMMAND).unwrap_or(GONE);
        command != GONE && command & START != 0
    }

    /// Waits until the engine is idle, so that it touches no memory.
    fn wait(&self) {
        let mut ending = self.ending.lock();
        while self.is_copying() {
            self.ended.wait(&mut ending);
        }
    }
}
