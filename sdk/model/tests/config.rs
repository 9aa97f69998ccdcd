// SPDX-License-Identifier: GPL-2.0

//! PCI configuration space, with offsets written down a second time from the specification.

use mdev_model::config::{Bar, ConfigSpace, Identity, OtherDevice, BARS, SIZE};
use proptest::prelude::*;

const COMMAND: u64 = 0x04;
const STATUS: u64 = 0x06;
const BAR0: u64 = 0x10;
const CAPABILITY_POINTER: u64 = 0x34;
const INTERRUPT_LINE: u64 = 0x3c;

const NONE: Bar = Bar::None;
const fn io(size: u32) -> Bar {
    Bar::Io { size }
}
const fn memory32(size: u32, prefetchable: bool) -> Bar {
    Bar::Memory32 { size, prefetchable }
}
const fn memory64(size: u64, prefetchable: bool) -> Bar {
    Bar::Memory64 { size, prefetchable }
}

const FULL: Identity = Identity {
    vendor: 0x1122,
    device: 0x3344,
    subsystem_vendor: 0x5566,
    subsystem: 0x7788,
    class: 0x99_aabb,
    revision: 0xcc,
    intx: true,
    msi: true,
    bars: [
        io(8),
        memory32(0x1000, false),
        memory64(1 << 33, true),
        NONE,
        NONE,
        memory32(16, true),
    ],
};

fn with_bars(bars: [Bar; BARS]) -> Identity {
    Identity { bars, ..FULL }
}

fn with_bar(bar: Bar) -> Identity {
    with_bars([bar, NONE, NONE, NONE, NONE, NONE])
}

fn read<const N: usize>(config: &ConfigSpace, offset: u64) -> [u8; N] {
    let mut out = [0; N];
    assert!(config.read(offset, &mut out));
    out
}

fn read16(config: &ConfigSpace, offset: u64) -> u16 {
    u16::from_le_bytes(read(config, offset))
}

fn read32(config: &ConfigSpace, offset: u64) -> u32 {
    u32::from_le_bytes(read(config, offset))
}

fn write(config: &mut ConfigSpace, offset: u64, data: &[u8]) {
    assert!(config.write(offset, data));
}

/// The bits at `offset` that a write can change.
fn writable<const N: usize>(identity: &Identity, offset: u64) -> [u8; N] {
    let mut config = ConfigSpace::new(identity);
    write(&mut config, offset, &[0; N]);
    let zeros: [u8; N] = read(&config, offset);
    write(&mut config, offset, &[0xff; N]);
    let ones: [u8; N] = read(&config, offset);
    std::array::from_fn(|i| ones[i] ^ zeros[i])
}

#[test]
fn the_header_is_that_of_a_type_0_function() {
    let config = ConfigSpace::new(&FULL);
    let header: [u8; 16] = read(&config, 0);
    #[rustfmt::skip]
    assert_eq!(header, [
        0x22, 0x11, 0x44, 0x33, // vendor, device
        0x00, 0x00, 0x10, 0x02, // command off; status: capability list, medium DEVSEL
        0xcc, 0xbb, 0xaa, 0x99, // revision, class
        0x00, 0x00, 0x00, 0x00, // cache line, latency, header type 0, no BIST
    ]);
    assert_eq!(read32(&config, 0x2c), 0x7788_5566);
    assert_eq!(read32(&config, 0x30), 0, "no expansion ROM");
    assert_eq!(read32(&config, INTERRUPT_LINE), 0x0100, "INTA#");
}

#[test]
fn a_function_without_interrupts_has_neither_pin_nor_capability() {
    let plain = Identity {
        intx: false,
        msi: false,
        ..FULL
    };
    let config = ConfigSpace::new(&plain);
    assert_eq!(read16(&config, STATUS), 0x0200);
    assert_eq!(read32(&config, CAPABILITY_POINTER), 0);
    assert_eq!(read32(&config, INTERRUPT_LINE), 0);
    assert_eq!(config.bytes()[0x40..], [0; SIZE - 0x40]);
}

#[test]
fn each_bar_tells_its_type_and_its_size() {
    // (what it decodes, what it reads after a reset, what it reads after all ones were written)
    let table = [
        (NONE, 0, 0),
        (io(4), 0x1, 0xffff_fffd),
        (io(8), 0x1, 0xffff_fff9),
        (io(256), 0x1, 0xffff_ff01),
        (memory32(16, false), 0x0, 0xffff_fff0),
        (memory32(0x1000, true), 0x8, 0xffff_f008),
        (memory32(1 << 31, false), 0x0, 0x8000_0000),
        (memory64(16, false), 0x4, 0xffff_ffff_ffff_fff4),
        (memory64(1 << 20, true), 0xc, 0xffff_ffff_fff0_000c),
        (memory64(1 << 33, true), 0xc, 0xffff_fffe_0000_000c),
        (memory64(1 << 39, false), 0x4, 0xffff_ff80_0000_0004),
    ];
    for (bar, after_reset, sized) in table {
        let mut config = ConfigSpace::new(&with_bar(bar));
        let pair = |config: &_| u64::from_le_bytes(read(config, BAR0));
        assert_eq!(pair(&config), after_reset, "{bar:?}");
        write(&mut config, BAR0, &[0xff; 8]);
        assert_eq!(pair(&config), sized, "{bar:?}");
        write(&mut config, BAR0, &[0; 8]);
        assert_eq!(pair(&config), after_reset, "{bar:?}");
    }
}

#[test]
fn the_size_that_software_computes_is_that_of_the_bar() {
    for shift in 2..40 {
        let size = 1u64 << shift;
        let size32 = u32::try_from(size).unwrap_or(0);
        for bar in [io(size32), memory32(size32, true), memory64(size, false)] {
            if !with_bar(bar).is_valid() {
                continue;
            }
            let mut config = ConfigSpace::new(&with_bar(bar));
            write(&mut config, BAR0, &[0xff; 8]);
            let ones = u64::from_le_bytes(read(&config, BAR0));
            let computed = match bar {
                Bar::Io { .. } => u64::from(!(ones as u32 & !0x3)) + 1,
                Bar::Memory32 { .. } => u64::from(!(ones as u32 & !0xf)) + 1,
                _ => !(ones & !0xf) + 1,
            };
            assert_eq!((computed, bar.size()), (size, size), "{bar:?}");
        }
    }
}

#[test]
fn each_bar_has_its_own_register() {
    let mut config = ConfigSpace::new(&FULL);
    write(&mut config, BAR0, &[0xff; 24]);
    let registers: [u32; BARS] = std::array::from_fn(|i| read32(&config, BAR0 + 4 * i as u64));
    let expected = [
        0xffff_fff9,
        0xffff_f000,
        0x0000_000c,
        0xffff_fffe,
        0,
        0xffff_fff8,
    ];
    assert_eq!(registers, expected);
}

#[test]
fn an_access_to_memory_is_as_wide_as_its_bus() {
    let widths = [io(8), memory32(16, false), memory64(16, false)].map(Bar::widest_access);
    assert_eq!(widths, [4, 8, 8]);
}

#[test]
fn the_identity_must_be_possible() {
    let table = [
        (with_bars([NONE; BARS]), true),
        (FULL, true),
        (with_bar(io(0)), false),
        (with_bar(io(2)), false),
        (with_bar(io(4)), true),
        (with_bar(io(12)), false),
        (with_bar(io(256)), true),
        (with_bar(io(512)), false),
        (with_bar(memory32(0, false)), false),
        (with_bar(memory32(8, false)), false),
        (with_bar(memory32(16, false)), true),
        (with_bar(memory32(0x3000, false)), false),
        (with_bar(memory32(1 << 31, false)), true),
        (with_bar(memory64(8, false)), false),
        (with_bar(memory64(1 << 39, false)), true),
        // A region's part of a file offset ends here.
        (with_bar(memory64(1 << 40, false)), false),
        (with_bar(memory64(u64::MAX, false)), false),
        // The upper half of a 64-bit BAR is no BAR of its own, and needs a register.
        (
            with_bars([memory64(16, false), io(4), NONE, NONE, NONE, NONE]),
            false,
        ),
        (
            with_bars([NONE, NONE, NONE, NONE, memory64(16, false), NONE]),
            true,
        ),
        (
            with_bars([NONE, NONE, NONE, NONE, NONE, memory64(16, false)]),
            false,
        ),
    ];
    for (identity, valid) in table {
        assert_eq!(identity.is_valid(), valid, "{:?}", identity.bars);
    }
}

#[test]
fn the_capability_list_ends_and_holds_msi() {
    let config = ConfigSpace::new(&FULL);
    let mut found = Vec::new();
    let mut at = read::<1>(&config, CAPABILITY_POINTER)[0];
    while at != 0 {
        assert!(at >= 0x40 && at % 4 == 0, "a capability at {at:#x}");
        assert!(found.len() < (SIZE - 0x40) / 4, "the list does not end");
        let [id, next] = read(&config, at.into());
        found.push((id, at));
        at = next;
    }
    assert_eq!(found, [(0x05, 0x40)]);
    assert_eq!(
        read16(&config, 0x42),
        0x0080,
        "one vector, 64-bit, no mask bits, off"
    );
}

#[test]
fn the_bits_that_can_be_written_are_those_of_the_specification() {
    let mask16 = |offset| u16::from_le_bytes(writable(&FULL, offset));
    let mask32 = |offset| u32::from_le_bytes(writable(&FULL, offset));
    // I/O, memory, bus master, parity error response, SERR#, INTx disable.
    assert_eq!(mask16(COMMAND), 0x0547);
    assert_eq!(mask16(STATUS), 0);
    assert_eq!(mask32(INTERRUPT_LINE), 0x0000_00ff);
    // MSI: enable alone of message control; address, dword aligned; upper address; data.
    assert_eq!(mask32(0x40), 0x0001_0000);
    assert_eq!(mask32(0x44), 0xffff_fffc);
    assert_eq!(mask32(0x48), 0xffff_ffff);
    assert_eq!(mask32(0x4c), 0x0000_ffff);

    let all: [u8; SIZE] = writable(&FULL, 0);
    let fields = [0x04..0x06, 0x10..0x28, 0x3c..0x3d, 0x42..0x43, 0x44..0x4e];
    for at in (0..SIZE).filter(|at| !fields.iter().any(|field| field.contains(at))) {
        assert_eq!(all[at], 0, "byte {at:#x}");
    }
}

#[test]
fn an_access_beyond_the_space_does_nothing() {
    let config = ConfigSpace::new(&FULL);
    for (offset, len) in [
        (256, 1),
        (255, 2),
        (0, 257),
        (257, 0),
        (1 << 40, 1),
        (u64::MAX, 1),
    ] {
        let mut data = vec![0xa5; len];
        assert!(!config.read(offset, &mut data), "{len} bytes at {offset}");
        assert_eq!(data, vec![0xa5; len]);

        let mut written = config.clone();
        assert!(
            !written.write(offset, &vec![0xff; len]),
            "{len} bytes at {offset}"
        );
        assert_eq!(written.bytes(), config.bytes());
    }
    assert!(config.read(255, &mut [0]));
    assert!(config.read(0, &mut [0; SIZE]));
}

fn writes() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let data = prop::collection::vec(any::<u8>(), 0..9);
    prop::collection::vec((0..260u64, data), 0..60)
}

/// A configuration space after some writes.
fn used(writes: &[(u64, Vec<u8>)]) -> ConfigSpace {
    let mut config = ConfigSpace::new(&FULL);
    for (offset, data) in writes {
        let _ = config.write(*offset, data);
    }
    config
}

proptest! {
    #[test]
    fn writes_change_no_bit_that_is_read_only(writes in writes()) {
        let mask: [u8; SIZE] = writable(&FULL, 0);
        let (before, after) = (ConfigSpace::new(&FULL), used(&writes));
        for (at, mask) in mask.iter().enumerate() {
            let changed = before.bytes()[at] ^ after.bytes()[at];
            prop_assert_eq!(changed & !mask, 0, "byte {:#x}", at);
        }
    }

    #[test]
    fn a_saved_space_is_restored_whatever_the_destination_held(here in writes(), there in writes()) {
        let (source, mut destination) = (used(&here), used(&there));
        prop_assert_eq!(destination.check(source.bytes()), Ok(()));
        destination.restore(source.bytes());
        prop_assert_eq!(destination.bytes(), source.bytes());
    }

    #[test]
    fn a_saved_space_with_another_read_only_bit_is_another_devices(
        writes in writes(),
        at in 0..SIZE,
        bit in 0..8,
    ) {
        let mask: [u8; SIZE] = writable(&FULL, 0);
        let destination = used(&writes);
        let mut saved = *destination.bytes();
        saved[at] ^= 1 << bit;
        let is_writable = mask[at] & 1 << bit != 0;
        let expected = if is_writable { Ok(()) } else { Err(OtherDevice) };
        prop_assert_eq!(destination.check(&saved), expected);
    }
}
