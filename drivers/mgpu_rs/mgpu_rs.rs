// SPDX-License-Identifier: GPL-2.0

//! A toy GPU that migrates while it works: four command rings in guest memory, VRAM that the
//! guest's CPU maps, a display.
//!
//! ```sh
//! modprobe mgpu_rs vram_budget_mib=512
//! cd /sys/class/mdev_bus/mgpu_rs/mdev_supported_types
//! cat mgpu-16/{name,description,available_instances}
//! uuid=$(cat /proc/sys/kernel/random/uuid)
//! echo $uuid > mgpu-16/create
//! # On source and destination (the latter with -incoming), in the same guest slot:
//! qemu-system-x86_64 ... -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/$uuid,enable-migration=on
//! # In the source's monitor: migrate unix:/tmp/migrate
//! echo 1 > /sys/bus/mdev/devices/$uuid/remove
//! ```
//!
//! `uapi/mgpu.h` documents what a guest's driver sees. `migrate.rs`, `work.rs` and this file
//! connect the device to the SDK; all other files here need no kernel.

#![forbid(unsafe_code)]

pub mod display;
pub mod engine;
pub mod error;
pub mod memory;
pub mod pages;
pub mod registers;
pub mod state;
pub mod uapi;

mod command;
mod fields;
mod job;
mod migrate;
mod queue;
mod ring;
mod transfer;
mod work;

use engine::SLICE;
use kernel::{new_mutex, prelude::*, sync::Arc};
use mdev_sdk::{
    model::{
        config::{Bar, Identity, Msix},
        stream::{name, Name},
    },
    Budget, Codec, Context, DeviceMemory, Driver, Engine, NewDevice, Operations, Parts, Plane,
    Share, Type,
};
use registers::{Effects, Registers};
use work::{signal, Commands, Core};

mdev_sdk::module_mdev_driver! {
    driver: Gpu,
    parent: c"mgpu_rs",
    parent_driver: c"mgpu",
    parent_data: Budget::new(mdev_sdk::parameter(&module_parameters::vram_budget_mib))?,
    name: "mgpu_rs",
    authors: ["The mdev SDK authors"],
    description: "Toy GPU that migrates, a sample of the mdev SDK",
    license: "GPL",
    params: {
        vram_budget_mib: u32 {
            default: 1024,
            description: "VRAM of all devices together, in MiB",
        },
    },
}

/// Returns what all devices with so much VRAM have in common.
const fn card(vram_mib: u32, kind: Name) -> Type {
    let mut bars = [Bar::None; 6];
    bars[uapi::BAR_REGISTERS] = Bar::memory32(uapi::REGISTERS_SIZE);
    bars[uapi::BAR_VRAM] = Bar::Memory64 {
        size: (vram_mib as u64) << 20,
        prefetchable: true,
    };
    bars[uapi::BAR_MSIX] = Bar::memory32(uapi::MSIX_SIZE);
    Type {
        sysfs_name: c"",
        name: c"",
        description: c"",
        identity: Identity {
            class: uapi::PCI_CLASS,
            intx: false,
            msi: 0,
            msix: Some(Msix {
                vectors: uapi::MSIX_VECTORS as u16,
                bar: uapi::BAR_MSIX as u8,
                table: uapi::MSIX_TABLE,
                pending: uapi::MSIX_PBA,
            }),
            bars,
            ..Identity::new(uapi::PCI_VENDOR_ID, uapi::PCI_DEVICE_ID)
        },
        kind,
        geometry: [(vram_mib as u64) << 20, 0],
        codec: Codec::Records,
    }
}

/// Returns the bytes of VRAM of a type.
fn vram_size(ty: &Type) -> u32 {
    ty.geometry[0] as u32
}

/// A device from `create` to `remove`.
struct Gpu {
    vram_size: u32,
    _vram_mib: Share,
}

/// An open device.
struct OpenGpu {
    core: Arc<Core>,
    engines: [Engine<Commands>; uapi::RINGS],
    vram_size: u32,
}

impl OpenGpu {
    /// Performs the effects that the registers return. Their lock must be held.
    fn act(&self, cx: &Context, registers: &Registers, effects: &Effects) {
        signal(cx, registers, effects);
        for (engine, effect) in self.engines.iter().zip(effects) {
            if effect.kick {
                engine.kick();
            }
        }
    }

    fn new(vram_size: u32, cx: Arc<Context>) -> Result<Self> {
        let core = pin_init!(Core {
            vram: DeviceMemory::new(vram_size as usize)?,
            registers <- new_mutex!(Registers::new(vram_size), "mgpu_registers"),
        }? Error);
        let core = Arc::pin_init(core, GFP_KERNEL_ACCOUNT)?;
        let engine = |ring| {
            let core = core.clone();
            let scratch = KVVec::from_elem(0, SLICE, GFP_KERNEL_ACCOUNT)?;
            let commands = pin_init!(Commands {
                core,
                ring,
                scratch <- new_mutex!(scratch, "mgpu_scratch"),
            });
            Engine::new(cx.clone(), commands)
        };
        Ok(Self {
            engines: [engine(0)?, engine(1)?, engine(2)?, engine(3)?],
            core,
            vram_size,
        })
    }
}

#[vtable]
impl Driver for Gpu {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"mgpu_rs";
    const TYPES: &'static [Type] = &[
        Type {
            sysfs_name: c"16",
            name: c"Toy GPU, 16 MiB",
            description: c"Toy GPU with 16 MiB of VRAM",
            ..card(16, name("mgpu-16"))
        },
        Type {
            sysfs_name: c"64",
            name: c"Toy GPU, 64 MiB",
            description: c"Toy GPU with 64 MiB of VRAM",
            ..card(64, name("mgpu-64"))
        },
        Type {
            sysfs_name: c"256",
            name: c"Toy GPU, 256 MiB",
            description: c"Toy GPU with 256 MiB of VRAM",
            ..card(256, name("mgpu-256"))
        },
    ];

    type Parent = Budget;
    type Open = OpenGpu;

    fn available(vram_mib: &Budget, type_index: usize) -> u32 {
        vram_mib.available(vram_size(&Self::TYPES[type_index]) >> 20)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        let vram_size = vram_size(&Self::TYPES[new.type_index]);
        let _vram_mib = new.parent.take(vram_size >> 20)?;
        Ok(Self {
            vram_size,
            _vram_mib,
        })
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenGpu, Error> {
        OpenGpu::new(self.vram_size, cx)
    }
}

#[vtable]
impl Operations for OpenGpu {
    fn read(&self, _cx: &Context, bar: usize, offset: u64, data: &mut [u8]) -> Result {
        // Registers have 32 bits; narrower or wider reads, and the MSI-X table, return zero.
        if bar == uapi::BAR_REGISTERS && data.len() == 4 {
            let value = self.core.registers.lock().read(offset);
            data.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    fn write(&self, cx: &Context, bar: usize, offset: u64, data: &[u8]) -> Result {
        if let (uapi::BAR_REGISTERS, Ok(value)) = (bar, <[u8; 4]>::try_from(data)) {
            let mut registers = self.core.registers.lock();
            let effects = registers.write(offset, u32::from_le_bytes(value));
            self.act(cx, &registers, &effects);
        }
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        parts.memory(uapi::BAR_VRAM, 0, &self.core.vram)
    }

    fn plane(&self) -> Option<Plane> {
        let picture = self.core.registers.lock().picture()?;
        Some(Plane {
            bar: uapi::BAR_VRAM as u32,
            width: picture.width,
            height: picture.height,
            stride: picture.stride,
            format: uapi::FORMAT_XRGB8888,
        })
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut registers = self.core.registers.lock();
        registers.reset();
        self.core.vram.clear();
        signal(cx, &registers, &Effects::default());
        Ok(())
    }
}
