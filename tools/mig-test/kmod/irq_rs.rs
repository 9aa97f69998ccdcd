// SPDX-License-Identifier: GPL-2.0

//! A card whose registers send interrupts of its parent and count them. The parent is an Intel
//! 82574 (`e1000e`), whose register ICS raises causes, each for the vector that IVAR says.
//!
//! | offset | register of the card | |
//! |---|---|---|
//! | 0x00 | SEND | write: a bit for each vector to send, of the first three |
//! | 0x10 | COUNT | 32 bits for each vector: the interrupts that its handler has seen, read-only |

#![forbid(unsafe_code)]

#[macro_use]
mod no_migration;

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::sync::Arc;
use mdev_sdk::model::config::{Bar, Identity};
use mdev_sdk::model::stream::name;
use mdev_sdk::{
    Codec, Context, Driver, NewDevice, Operations, ParentBar, PciDriver, PciFunction, PciId, Type,
};

mdev_sdk::module_mdev_pci_driver! {
    driver: IrqRs,
    parent_driver: c"irq_rs",
    name: "irq_rs",
    authors: ["The mdev SDK authors"],
    description: "Sends interrupts of a PCI function and counts them, for tests",
    license: "GPL",
}

const VECTORS: usize = 3;
/// Registers of the parent: sets causes; the mask of causes; causes that are cleared when their
/// message is sent; the vector of each cause.
const ICS: usize = 0xc8;
const IMS: usize = 0xd0;
const EIAC: usize = 0xdc;
const IVAR: usize = 0xe4;
/// The causes of both receive queues and of a transmit queue.
const CAUSES: u32 = 7 << 20;
/// Vectors 0 to 2 for these, each valid.
const VECTOR_OF_CAUSE: u32 = 0xa98;

/// What the mdevs of a parent share.
struct Parent {
    bar: ParentBar,
    counts: [Atomic<u32>; VECTORS],
}

impl PciDriver for IrqRs {
    const IDS: &'static [PciId] = &[PciId {
        vendor: 0x8086,
        device: 0x10d3,
    }];
    const DMA_BITS: u32 = 32;

    fn probe(function: &PciFunction<'_>) -> Result<Arc<Parent>> {
        let parent = Parent {
            bar: function.bar(0)?,
            counts: [const { Atomic::new(0) }; VECTORS],
        };
        let parent = Arc::new(parent, GFP_KERNEL)?;
        let counted = parent.clone();
        if function.on_interrupts(0, |_| true) != Err(EINVAL) {
            return Err(ENXIO);
        }
        function.on_interrupts(VECTORS as u32, move |vector| {
            counted.counts[vector].fetch_add(1, Relaxed);
            // A cause is masked when its message is sent.
            let _ = counted.bar.write32(IMS, CAUSES);
            true
        })?;
        if function.on_interrupt(|| true) != Err(EBUSY) {
            return Err(ENXIO);
        }
        for (register, value) in [(IVAR, VECTOR_OF_CAUSE), (EIAC, CAUSES), (IMS, CAUSES)] {
            parent.bar.write32(register, value)?;
        }
        Ok(parent)
    }
}

/// A card from `create` to `remove`.
struct IrqRs(Arc<Parent>);

#[vtable]
impl Driver for IrqRs {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"irq_rs";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Sends its parent's interrupts",
        description: c"Card of a test",
        identity: Identity {
            intx: false,
            msi: 0,
            bars: Bar::memory32(4096).alone(),
            ..Identity::new(0x4d45, 0x4951)
        },
        kind: name("irq_rs-1"),
        geometry: [0; 2],
        codec: Codec::Records,
    }];
    type Parent = Arc<Parent>;
    type Open = OpenCard;

    fn available(_parent: &Arc<Parent>, _type_index: usize) -> u32 {
        1
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(IrqRs(new.parent.clone()))
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenCard, Error> {
        Ok(OpenCard(self.0.clone()))
    }
}

struct OpenCard(Arc<Parent>);

#[vtable]
impl Operations for OpenCard {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let vector = (offset / 4).wrapping_sub(4) as usize;
        let count = self.0.counts.get(vector);
        let value = count.map_or(0, |count| count.load(Relaxed)).to_le_bytes();
        let some = data.len().min(value.len());
        data[..some].copy_from_slice(&value[..some]);
        Ok(())
    }

    fn write(&self, _cx: &Context, _bar: usize, _offset: u64, data: &[u8]) -> Result {
        self.0.bar.write32(ICS, u32::from(data[0]) << 20 & CAUSES)
    }

    fn reset(&self, _cx: &Context) -> Result {
        Ok(())
    }
}

does_not_migrate!(OpenCard, "irq_rs");
