// SPDX-License-Identifier: GPL-2.0

//! The same device as `edu.rs`, whose copies a real card makes: a PCI function of the host, an
//! `edu` too, which its mdevs share.
//!
//! ```sh
//! modprobe edu_parent
//! cd /sys/class/mdev_bus/0000:00:04.0/mdev_supported_types   # the card's address
//! cat /proc/sys/kernel/random/uuid > edu_parent-1/create
//! ```
//!
//! State, registers and factorials are those of `device.rs`, so a guest can move from one card to
//! another, and from a card to `edu.rs` and back. A copy is a step of the mdev's engine, which the
//! SDK waits for before it stops the device: what migrates is never half of one.

#![forbid(unsafe_code)]

mod card;
mod device;

use card::{Card, SIZE};
use device::Edu;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
    time::Delta,
};
use mdev_sdk::{
    model::{
        device::{DeviceModel, Fault, Work},
        record::Field,
        registers,
        stream::Format,
    },
    Budget, Codec, Context, Driver, Engine, FixedState, NewDevice, Operations, PciDriver,
    PciFunction, PciId, Share, Step, Task, Type,
};

mdev_sdk::module_mdev_pci_driver! {
    driver: EduParent,
    parent_driver: c"edu_parent",
    name: "edu_parent",
    authors: ["The mdev SDK authors"],
    description: "QEMU's edu card, shared by mdevs that migrate",
    license: "GPL",
}

/// How long to leave a card to another mdev before looking again.
const LOOK: Delta = Delta::from_millis(10);

/// What the mdevs of a card share.
struct Parent {
    card: Arc<Card>,
    mdevs: Budget,
}

impl PciDriver for EduParent {
    const IDS: &'static [PciId] = &[PciId {
        vendor: 0x1234,
        device: 0x11e8,
    }];
    // QEMU's default for the card, which cuts off what is above.
    const DMA_BITS: u32 = 28;

    fn probe(function: &PciFunction<'_>) -> Result<Parent> {
        Ok(Parent {
            card: Card::new(function)?,
            mdevs: Budget::new(16)?,
        })
    }
}

/// An mdev from `create` to `remove`.
struct EduParent {
    card: Arc<Card>,
    _share: Share,
}

#[vtable]
impl Driver for EduParent {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"edu_parent";
    const TYPES: &'static [Type] = &[Type {
        sysfs_name: c"1",
        name: c"Educational device",
        description: c"An edu that copies by the engine of its card",
        identity: Edu::IDENTITY,
        kind: Edu::FORMAT.name,
        geometry: [0; 2],
        codec: Codec::Records,
    }];
    type Parent = Parent;
    type Open = OpenEdu;

    fn available(parent: &Parent, _type_index: usize) -> u32 {
        parent.mdevs.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(EduParent {
            _share: new.parent.mdevs.take(1)?,
            card: new.parent.card.clone(),
        })
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenEdu, Error> {
        OpenEdu::new(cx, self.card.clone())
    }
}

/// An mdev while it is open.
struct OpenEdu(Engine<Core>);

impl OpenEdu {
    fn new(cx: Arc<Context>, card: Arc<Card>) -> Result<Self> {
        let core = try_pin_init!(Core {
            card,
            edu <- new_mutex!(Edu::ZERO, "edu"),
            data <- new_mutex!(KVec::from_elem(0, SIZE, GFP_KERNEL_ACCOUNT)?, "edu_data"),
        } ? Error);
        Engine::new(cx, core).map(OpenEdu)
    }
}

#[pin_data]
struct Core {
    card: Arc<Card>,
    #[pin]
    edu: Mutex<Edu>,
    /// What a copy copies. Only the engine uses it.
    #[pin]
    data: Mutex<KVec<u8>>,
}

#[vtable]
impl Operations for OpenEdu {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        registers::read(Edu::REGISTERS, &*self.0.edu.lock(), offset, data);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut edu = self.0.edu.lock();
        registers::write(Edu::REGISTERS, &mut *edu, offset, data);
        cx.set_interrupt(edu.interrupt());
        drop(edu);
        self.0.kick();
        Ok(())
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut edu = self.0.edu.lock();
        *edu = Edu::ZERO;
        cx.set_interrupt(edu.interrupt());
        Ok(())
    }
}

#[vtable]
impl FixedState for OpenEdu {
    const FORMAT: Format = Edu::FORMAT;
    type State = Edu;

    fn state(&self) -> &Mutex<Edu> {
        &self.0.edu
    }

    fn restored(&self, cx: &Context, edu: &Edu) {
        cx.set_interrupt(edu.interrupt());
    }
}

impl Task for Core {
    fn step(&self, cx: &Context) -> Step {
        let mut data = self.data.lock();
        let mut edu = self.edu.lock();
        let (iova, len, to_guest) = match edu.step() {
            Work::Read(iova, len) => (iova, len, false),
            Work::Write(iova, bytes) => {
                data[..bytes.len()].copy_from_slice(bytes);
                (iova, bytes.len(), true)
            }
            Work::Idle => return Step::Idle,
            Work::More | Work::After(_) => {
                cx.set_interrupt(edu.interrupt());
                return Step::More;
            }
        };
        // Without the lock: a copy takes its time.
        drop(edu);
        let data = &mut data[..len];
        let copied = match to_guest {
            true => self.card.write(cx.memory(), iova, data),
            false => self.card.read(cx.memory(), iova, data),
        };
        if matches!(copied, Err(error) if error == EBUSY) {
            return Step::After(LOOK);
        }
        let mut edu = self.edu.lock();
        edu.transferred(copied.map(|()| &*data).map_err(|_| Fault));
        cx.set_interrupt(edu.interrupt());
        Step::More
    }
}
