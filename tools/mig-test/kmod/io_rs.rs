// SPDX-License-Identifier: GPL-2.0

//! A card whose BAR 0 has a page of its parent's BAR 0, which is QEMU's `pci-testdev`: registers,
//! the parent's page, and a page of device memory. The second type has the page of the parent that
//! was bound first, whatever its own is, which the SDK must refuse.

#![forbid(unsafe_code)]

#[macro_use]
mod no_migration;

use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::{Arc, SetOnce};
use mdev_sdk::model::config::{Bar, Identity};
use mdev_sdk::model::stream::name;
use mdev_sdk::{
    Codec, Context, DeviceMemory, Driver, IoMemory, NewDevice, Operations, ParentBar, Parts,
    PciDriver, PciFunction, PciId, Type,
};

mdev_sdk::module_mdev_pci_driver! {
    driver: IoRs,
    parent_driver: c"io_rs",
    name: "io_rs",
    authors: ["The mdev SDK authors"],
    description: "Shows a page of a PCI function's BAR, for tests",
    license: "GPL",
}

/// The page of the function that was bound first. The module stays loaded, so nothing frees it.
static FIRST: SetOnce<Arc<IoMemory>> = SetOnce::new();

/// The parts of BAR 0: a page of registers, of which each reads as its offset; the parent's page; a
/// page of device memory.
const IO_AT: u64 = PAGE_SIZE as u64;
const MEMORY_AT: u64 = 2 * PAGE_SIZE as u64;
const BAR_SIZE: u32 = 4 * PAGE_SIZE as u32;

impl PciDriver for IoRs {
    const IDS: &'static [PciId] = &[PciId {
        vendor: 0x1b36,
        device: 0x0005,
    }];
    const DMA_BITS: u32 = 32;

    fn probe(function: &PciFunction<'_>) -> Result<Arc<IoMemory>> {
        let bar: ParentBar = function.bar(0)?;
        for bytes in [
            0..0,
            0..PAGE_SIZE - 1,
            1..PAGE_SIZE,
            PAGE_SIZE..2 * PAGE_SIZE,
        ] {
            if bar.io_memory(bytes).err() != Some(EINVAL) {
                dev_err!(function.device(), "io_rs: pages that the BAR has not\n");
                return Err(ENXIO);
            }
        }
        let page = bar.io_memory(0..PAGE_SIZE)?;
        FIRST.populate(page.clone());
        Ok(page)
    }
}

/// A card from `create` to `remove`.
struct IoRs(Arc<IoMemory>);

const fn card(sysfs_name: &'static CStr, kind: &'static str) -> Type {
    Type {
        sysfs_name,
        name: c"Shows a page of its parent",
        description: c"Card of a test",
        identity: Identity {
            intx: false,
            msi: 0,
            bars: Bar::memory32(BAR_SIZE).alone(),
            ..Identity::new(0x4d45, 0x494f)
        },
        kind: name(kind),
        geometry: [0; 2],
        codec: Codec::Records,
    }
}

#[vtable]
impl Driver for IoRs {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"io_rs";
    const TYPES: &'static [Type] = &[card(c"1", "io_rs-1"), card(c"2", "io_rs-2")];
    type Parent = Arc<IoMemory>;
    type Open = OpenCard;

    fn available(_parent: &Arc<IoMemory>, _type_index: usize) -> u32 {
        16
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(IoRs(match new.type_index {
            0 => new.parent.clone(),
            _ => FIRST.as_ref().ok_or(ENXIO)?.clone(),
        }))
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenCard, Error> {
        OpenCard::new(self.0.clone())
    }
}

struct OpenCard {
    io: Arc<IoMemory>,
    memory: Arc<DeviceMemory>,
}

impl OpenCard {
    fn new(io: Arc<IoMemory>) -> Result<Self> {
        let memory = DeviceMemory::new(PAGE_SIZE)?;
        Ok(OpenCard { io, memory })
    }
}

#[vtable]
impl Operations for OpenCard {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let value = offset.to_le_bytes();
        data.copy_from_slice(&value[..data.len()]);
        Ok(())
    }

    fn write(&self, _cx: &Context, _bar: usize, _offset: u64, _data: &[u8]) -> Result {
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        parts.io_memory(0, IO_AT, &self.io)?;
        parts.memory(0, MEMORY_AT, &self.memory)
    }

    fn reset(&self, _cx: &Context) -> Result {
        Ok(())
    }
}

does_not_migrate!(OpenCard, "io_rs");
