// SPDX-License-Identifier: GPL-2.0

//! A serial card of one or two 16550s that migrates: mainline's `mtty.c` sample, in Rust.
//!
//! ```sh
//! modprobe mtty_rs
//! cd /sys/class/mdev_bus/mtty_rs/mdev_supported_types
//! cat mtty-1/{name,description,available_instances}
//! uuid=$(cat /proc/sys/kernel/random/uuid)
//! echo $uuid > mtty-1/create
//! # On source and destination (the latter with -incoming), in the same guest slot:
//! qemu-system-x86_64 ... -device vfio-pci,sysfsdev=/sys/bus/mdev/devices/$uuid,enable-migration=on
//! # In the source's monitor: migrate unix:/tmp/migrate
//! # A destination with KVM also needs x-no-kvm-intx=on: see Documentation/qemu.md.
//! echo 1 > /sys/bus/mdev/devices/$uuid/remove
//! ```
//!
//! `uart.rs` implements a port, `state.rs` the state that migrates, and `mainline.rs` mainline's
//! stream format. None of them needs a kernel; this file connects them to the SDK.

#![forbid(unsafe_code)]

pub mod mainline;
pub mod state;
pub mod uart;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};
use mdev_sdk::{
    model::{
        config::{Bar, Identity},
        record::{Field, Record},
        stream::{name, Format, LoadError, Tag, HEADER_LEN},
    },
    Budget, Codec, Context, Driver, Migrate, NewDevice, Operations, Pending, Phase, Progress,
    RecordWriter, Share, Type,
};
use state::State;
use uart::Uart;

mdev_sdk::module_mdev_driver! {
    driver: Mtty,
    parent: c"mtty_rs",
    parent_driver: c"mtty",
    parent_data: Budget::new(MAX_PORTS)?,
    name: "mtty_rs",
    authors: ["The mdev SDK authors"],
    description: "Serial card of 16550s that migrates, a sample of the mdev SDK",
    license: "GPL",
}

/// The limit of ports of all cards together, as in mainline.
const MAX_PORTS: u32 = 24;
const PORTS_OF_A_CARD: usize = 2;
const PORT_SIZE: u32 = 8;

/// One port's state; the payload is the port's number and [`State::encode`].
const PORT: Tag = Tag(Tag::FIRST_DRIVER.0);

/// Returns what all cards with so many ports and this stream have in common.
const fn card(ports: usize, codec: Codec) -> Type {
    let mut bars = [Bar::None; 6];
    let mut bar = 0;
    while bar < ports {
        bars[bar] = Bar::Io { size: PORT_SIZE };
        bar += 1;
    }
    // Mainline's card has no capabilities and a byte less of configuration space. QEMU compares the
    // former, and treats a device whose size is not 256 as PCI Express.
    let is_mainline = matches!(codec, Codec::Own);
    Type {
        sysfs_name: c"",
        name: c"",
        description: c"",
        identity: Identity {
            // Communication controller, serial, 16550-compatible.
            class: 0x07_00_02,
            revision: 0x10,
            msi: if is_mainline { 0 } else { 1 },
            bars,
            config_size: if is_mainline { 255 } else { 256 },
            ..Identity::new(0x4348, 0x3253)
        },
        kind: name(if ports == 1 { "mtty-1" } else { "mtty-2" }),
        geometry: [ports as u64, 0],
        codec,
    }
}

/// A card from `create` to `remove`.
struct Mtty {
    ty: &'static Type,
    _ports: Share,
}

type Ports = [Uart; PORTS_OF_A_CARD];

/// An open card. A card with one port does not use the second.
#[pin_data]
struct OpenMtty {
    number_of_ports: usize,
    codec: Codec,
    #[pin]
    ports: Mutex<Ports>,
}

impl OpenMtty {
    /// Sets the interrupt's level from the ports, whose lock must be held.
    #[inline]
    fn update_interrupt(cx: &Context, ports: &Ports) {
        cx.set_interrupt(ports.iter().any(Uart::irq_level));
    }
}

#[vtable]
impl Driver for Mtty {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"mtty_rs";
    const TYPES: &'static [Type] = &[
        Type {
            sysfs_name: c"1",
            name: c"Single port serial",
            description: c"PCI serial card with one 16550 port",
            ..card(1, Codec::Records)
        },
        Type {
            sysfs_name: c"2",
            name: c"Dual port serial",
            description: c"PCI serial card with two 16550 ports",
            ..card(2, Codec::Records)
        },
        Type {
            sysfs_name: c"1-compat",
            name: c"Single port serial, mainline's stream",
            description: c"As type 1, but migrates to and from the kernel's C sample mtty",
            ..card(1, Codec::Own)
        },
        Type {
            sysfs_name: c"2-compat",
            name: c"Dual port serial, mainline's stream",
            description: c"As type 2, but migrates to and from the kernel's C sample mtty",
            ..card(2, Codec::Own)
        },
    ];

    type Parent = Budget;
    type Open = OpenMtty;

    fn available(ports: &Budget, type_index: usize) -> u32 {
        ports.available(Self::TYPES[type_index].geometry[0] as u32)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        let ty = &Self::TYPES[new.type_index];
        let _ports = new.parent.take(ty.geometry[0] as u32)?;
        Ok(Self { ty, _ports })
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenMtty, Error> {
        try_pin_init!(OpenMtty {
            number_of_ports: self.ty.geometry[0] as usize,
            codec: self.ty.codec,
            ports <- new_mutex!([Uart::new(), Uart::new()], "mtty_card"),
        })
    }
}

#[vtable]
impl Operations for OpenMtty {
    #[inline]
    fn read(&self, cx: &Context, bar: usize, offset: u64, data: &mut [u8]) -> Result {
        let mut ports = self.ports.lock();
        // The ports are a byte wide: a wider access is one access for each byte.
        let port = &mut ports[bar];
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = port.read((offset as usize + i) as u8);
        }
        Self::update_interrupt(cx, &ports);
        Ok(())
    }

    #[inline]
    fn write(&self, cx: &Context, bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut ports = self.ports.lock();
        let port = &mut ports[bar];
        for (i, byte) in data.iter().enumerate() {
            port.write((offset as usize + i) as u8, *byte);
        }
        Self::update_interrupt(cx, &ports);
        Ok(())
    }

    fn reset(&self, cx: &Context) -> Result {
        let mut ports = self.ports.lock();
        ports.iter_mut().for_each(Uart::reset);
        Self::update_interrupt(cx, &ports);
        Ok(())
    }
}

/// The staged state of a card.
struct Arrived {
    ports: [Option<State>; PORTS_OF_A_CARD],
    /// The parser of mainline's stream.
    reader: mainline::Reader,
}

#[vtable]
impl Migrate for OpenMtty {
    const FORMAT: Format = Format {
        name: name("mtty_rs"),
        version: 1,
        oldest: 1,
        readable_by: 1,
    };
    const RECORDS: &'static [(Tag, usize)] = &[(PORT, 1 + State::LEN)];

    /// The number of items that were saved: mainline's header, then ports.
    type Saving = usize;
    type Loading = Arrived;

    // A card changes only when it is accessed, so there is nothing to stop.
    fn quiesce(&self, _cx: &Context) -> Result {
        Ok(())
    }

    fn resume(&self, _cx: &Context) {}

    fn start_saving(&self) -> Result<usize> {
        Ok(0)
    }

    fn pending(&self, saved: Option<&usize>) -> Pending {
        let (header, port) = match self.codec {
            Codec::Records => (0, HEADER_LEN + 1 + State::LEN),
            Codec::Own => (mainline::HEADER_LEN, mainline::PORT_LEN),
        };
        let initial = match saved {
            None | Some(0) => header,
            Some(_) => 0,
        };
        Pending {
            initial: initial as u64,
            dirty: 0,
            stop_copy: (initial + self.number_of_ports * port) as u64,
        }
    }

    fn save(
        &self,
        saved: &mut usize,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress> {
        if self.codec == Codec::Own && *saved == 0 {
            *saved = 1;
            out.raw(&mainline::encode_header(self.number_of_ports as u32))?;
            return Ok(Progress::More);
        }
        if phase == Phase::StopCopy {
            let ports = self.ports.lock();
            for (i, port) in ports[..self.number_of_ports].iter().enumerate() {
                match self.codec {
                    Codec::Own => out.raw(&mainline::encode_port(&port.state()))?,
                    Codec::Records => {
                        let mut payload = [i as u8; 1 + State::LEN];
                        payload[1..].copy_from_slice(&port.state().encode());
                        out.record(PORT, &payload)?;
                    }
                }
            }
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Arrived> {
        Ok(Arrived {
            ports: [None; PORTS_OF_A_CARD],
            reader: mainline::Reader::default(),
        })
    }

    fn load(&self, arrived: &mut Arrived, _tag: Tag, payload: &[u8]) -> Result<(), LoadError> {
        let (port, state) = payload.split_first().ok_or("an empty record")?;
        let slot = arrived.ports[..self.number_of_ports]
            .get_mut(usize::from(*port))
            .ok_or("a port that the card has not")?;
        *slot = Some(State::decode(state)?);
        Ok(())
    }

    fn load_raw(&self, arrived: &mut Arrived, _offset: u64, bytes: &[u8]) -> Result<(), LoadError> {
        let ports = &mut arrived.ports[..self.number_of_ports];
        for byte in bytes {
            match arrived.reader.push(*byte, self.number_of_ports as u32)? {
                None => {}
                Some(mainline::Piece::Header) => ports.fill(None),
                Some(mainline::Piece::Port(state)) => {
                    let slot = ports.iter_mut().find(|slot| slot.is_none());
                    *slot.ok_or("more ports than the card has")? = Some(state);
                }
            }
        }
        Ok(())
    }

    fn complete(&self, arrived: &Arrived) -> Result<(), LoadError> {
        let ports = &arrived.ports[..self.number_of_ports];
        if !arrived.reader.is_whole() || ports.iter().any(Option::is_none) {
            return Err("a port is missing".into());
        }
        Ok(())
    }

    fn commit(&self, cx: &Context, arrived: Arrived) {
        let mut ports = self.ports.lock();
        for (port, state) in ports.iter_mut().zip(arrived.ports) {
            if let Some(state) = state {
                *port = Uart::restore(state);
            }
        }
        Self::update_interrupt(cx, &ports);
    }
}
