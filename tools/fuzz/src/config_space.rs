// SPDX-License-Identifier: GPL-2.0
//! Configuration space, of any identity that is allowed, under any reads and writes.

use arbitrary::Arbitrary;
use mdev_model::config::{Bar, Capability, Identity, Msix, Part, BARS};

use crate::fixtures::config::{config, Config, FULL};
use crate::fixtures::stream::kernel_crc32c;
use crate::input;

/// Lists of capabilities, some of which no identity can have.
const LISTS: [&[Capability]; 8] = [
    &[],
    &[Capability::PowerManagement],
    &[
        Capability::Express { flr: true },
        Capability::PowerManagement,
        Capability::SerialNumber(0x0123_4567_89ab_cdef),
    ],
    &[
        Capability::VendorSpecific {
            bytes: &[1, 2, 3, 4, 5],
            writable: &[0, 0xff, 0x0f],
        },
        Capability::PowerManagement,
        Capability::VendorSpecific {
            bytes: &[],
            writable: &[],
        },
    ],
    &[
        Capability::Express { flr: false },
        Capability::ExtendedVendorSpecific {
            id: 7,
            revision: 3,
            bytes: &[0xa5; 40],
            writable: &[0x55; 40],
        },
        Capability::Extended {
            id: 0x2a,
            version: 1,
            bytes: &[9; 12],
            writable: &[0xff; 3],
        },
    ],
    // Not without PCI Express, not twice, not with a mask that is too long.
    &[Capability::SerialNumber(1)],
    &[Capability::PowerManagement, Capability::PowerManagement],
    &[Capability::VendorSpecific {
        bytes: &[],
        writable: &[1],
    }],
];

#[derive(Arbitrary, Debug)]
struct Input {
    class: u32,
    intx: bool,
    msi: u8,
    msix: Option<(u16, u8, u32, u32)>,
    bars: [AnyBar; BARS],
    list: u8,
    config_size: Option<u16>,
    part: (u8, u64, u64),
    ops: Vec<Op>,
}

/// A BAR, by the logarithm of its size if it is one; else by its size.
#[derive(Arbitrary, Debug)]
enum AnyBar {
    None,
    Io(Size),
    Memory32(Size, bool),
    Memory64(Size, bool),
}

#[derive(Arbitrary, Debug)]
enum Size {
    Power(u8),
    Any(u64),
}

#[derive(Arbitrary, Debug)]
enum Op {
    Read(u64, u8, bool),
    Write(u16, Vec<u8>),
    /// At any offset.
    WriteAnywhere(u64, Vec<u8>),
    Reset,
    /// Another device, on which some of the writable bits are others, loads the space.
    Migrate(u8),
}

impl Size {
    fn bytes(&self) -> u64 {
        match *self {
            Size::Power(log) => 1 << (log % 64),
            Size::Any(size) => size,
        }
    }
}

impl AnyBar {
    fn bar(&self) -> Bar {
        match self {
            AnyBar::None => Bar::None,
            AnyBar::Io(size) => Bar::Io {
                size: size.bytes() as u32,
            },
            AnyBar::Memory32(size, prefetchable) => Bar::Memory32 {
                size: size.bytes() as u32,
                prefetchable: *prefetchable,
            },
            AnyBar::Memory64(size, prefetchable) => Bar::Memory64 {
                size: size.bytes(),
                prefetchable: *prefetchable,
            },
        }
    }
}

impl Input {
    fn identity(&self) -> Identity {
        let capabilities = LISTS[usize::from(self.list) % LISTS.len()];
        let identity = Identity {
            class: self.class,
            intx: self.intx,
            msi: self.msi,
            msix: self.msix.map(|(vectors, bar, table, pending)| Msix {
                vectors,
                bar,
                table,
                pending,
            }),
            bars: std::array::from_fn(|i| self.bars[i].bar()),
            capabilities,
            ..FULL
        };
        let config_size = self.config_size.unwrap_or(identity.space_size() as u16);
        Identity {
            config_size,
            ..identity
        }
    }
}

/// The read-only bits of a space, and the mask of the writable ones, found by writing.
struct Facts {
    fixed: Vec<u8>,
    writable: Vec<u8>,
    checksum: u32,
}

impl Facts {
    fn of(identity: &Identity) -> Facts {
        let written = |byte| {
            let mut config = config(identity);
            assert!(config.write(0, &vec![byte; identity.space_size()]));
            config.bytes().to_vec()
        };
        let (zeros, ones) = (written(0), written(0xff));
        let pairs = zeros.iter().zip(&ones);
        Facts {
            writable: pairs.map(|(zero, one)| zero ^ one).collect(),
            fixed: zeros,
            checksum: config(identity).identity_checksum(kernel_crc32c),
        }
    }

    fn check(&self, config: &Config) {
        let bytes = config.bytes().iter().zip(&self.fixed).zip(&self.writable);
        for (at, ((byte, fixed), writable)) in bytes.enumerate() {
            assert_eq!(byte & !writable, *fixed, "byte {at:#x}");
        }
        assert_eq!(config.identity_checksum(kernel_crc32c), self.checksum);
        let command = u16::from_le_bytes([config.bytes()[4], config.bytes()[5]]);
        assert_eq!(config.disables_intx(), command & 0x400 != 0);
        assert!(!config.is_bus_master() || command & 4 != 0);
    }
}

/// Only writable bits change, and a space is restored whatever the destination held.
pub fn run(data: &[u8]) {
    let Some(input) = input::of::<Input>(data) else {
        return;
    };
    let identity = input.identity();
    let (bar, start, len) = input.part;
    let part = Part {
        bar: bar.into(),
        bytes: start..start.saturating_add(len),
    };
    if part.check(&identity.bars, 4096, []).is_ok() {
        assert!(part.bytes.end <= identity.bars[part.bar].size());
        assert_eq!(part.offset_of(part.bar, start), Some(0));
        assert_eq!(part.offset_of(part.bar, part.bytes.end), None);
    }
    if identity.check().is_err() {
        return;
    }
    for bar in identity.bars {
        let (size, widest) = (bar.size(), bar.widest_access() as u64);
        assert!(size == 0 || size.is_power_of_two() && size >= widest);
    }
    assert!(identity.vectors() >= usize::from(identity.intx));
    let facts = Facts::of(&identity);
    let mut own = config(&identity);
    for op in input.ops {
        op.run(&mut own, &identity);
        facts.check(&own);
    }
}

impl Op {
    fn run(self, own: &mut Config, identity: &Identity) {
        let size = identity.space_size() as u64;
        match self {
            Op::Read(offset, len, asserted) => {
                let mut data = vec![0; len.into()];
                let read = own.read(offset, &mut data, asserted);
                let end = offset.checked_add(len.into());
                assert_eq!(read, end.is_some_and(|end| end <= size));
            }
            Op::Write(offset, data) => {
                let offset = u64::from(offset) % size;
                write(own, offset, &data, size);
            }
            Op::WriteAnywhere(offset, data) => write(own, offset, &data, size),
            Op::Reset => {
                own.reset(identity);
                assert_eq!(own.bytes(), config(identity).bytes(), "after a reset");
            }
            Op::Migrate(byte) => {
                let mut destination = config(identity);
                assert!(destination.write(0, &vec![byte; size as usize]));
                assert_eq!(destination.check(own.bytes()), Ok(()));
                destination.restore(own.bytes());
                assert_eq!(destination.bytes(), own.bytes(), "what was restored");
                *own = destination;
            }
        }
    }
}

fn write(own: &mut Config, offset: u64, data: &[u8], size: u64) {
    let resets = own.initiates_reset(offset, data);
    let before = own.bytes().to_vec();
    let end = offset.checked_add(data.len() as u64);
    let fits = end.is_some_and(|end| end <= size);
    assert_eq!(own.write(offset, data), fits);
    assert!(fits || own.bytes() == before, "a write that is refused");
    assert!(
        !resets || own.bytes().len() == 4096,
        "a reset without its bit"
    );
}
