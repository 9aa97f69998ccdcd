// SPDX-License-Identifier: GPL-2.0

//! PCI configuration space, against offsets taken from the specification a second time.

use crate::common::config::*;
use mdev_model::config::{Identity, Msix, OtherDevice, SIZE};
use proptest::prelude::*;

const COMMAND: u64 = 0x04;
const STATUS: u64 = 0x06;
const CAPABILITY_POINTER: u64 = 0x34;
const INTERRUPT_LINE: u64 = 0x3c;

#[test]
fn the_header_is_that_of_a_type_0_function() {
    let config = config(&FULL);
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
        msi: 0,
        msix: None,
        ..FULL
    };
    let config = config(&plain);
    assert_eq!(read16(&config, STATUS), 0x0200);
    assert_eq!(read32(&config, CAPABILITY_POINTER), 0);
    assert_eq!(read32(&config, INTERRUPT_LINE), 0);
    assert_eq!(config.bytes()[0x40..], [0; SIZE - 0x40]);
}

#[test]
fn the_capability_list_ends_and_holds_msi_and_msix() {
    let config = config(&FULL);
    let mut found = Vec::new();
    let mut at = read::<1>(&config, CAPABILITY_POINTER)[0];
    while at != 0 {
        assert!(at >= 0x40 && at % 4 == 0, "a capability at {at:#x}");
        assert!(found.len() < (SIZE - 0x40) / 4, "the list does not end");
        let [id, next] = read(&config, at.into());
        found.push((id, at));
        at = next;
    }
    assert_eq!(found, [(0x05, 0x40), (0x11, 0x50)]);
    assert_eq!(
        read16(&config, 0x42),
        0x0080,
        "one vector, 64-bit, no mask bits, off"
    );
    assert_eq!(read16(&config, 0x52), 0, "a table of one, off");
    assert_eq!(read32(&config, 0x54), 0x0001, "the table at 0 of BAR1");
    assert_eq!(read32(&config, 0x58), 0x0801, "pending bits at 0x800 of it");
}

#[test]
fn the_bits_that_can_be_written_are_those_of_the_specification() {
    let mask16 = |offset| u16::from_le_bytes(writable(&FULL, offset));
    let mask32 = |offset| u32::from_le_bytes(writable(&FULL, offset));
    // I/O, memory, bus master, parity error response, SERR#, INTx disable.
    assert_eq!(mask16(COMMAND), 0x0547);
    assert_eq!(mask16(STATUS), 0);
    assert_eq!(mask32(INTERRUPT_LINE), 0x0000_00ff);
    // MSI: of message control only the enable bit; address, dword aligned; upper address; data.
    assert_eq!(mask32(0x40), 0x0001_0000);
    assert_eq!(mask32(0x44), 0xffff_fffc);
    assert_eq!(mask32(0x48), 0xffff_ffff);
    assert_eq!(mask32(0x4c), 0x0000_ffff);
    // MSI-X: of message control the enable and function mask bits; no offset.
    assert_eq!(mask32(0x50), 0xc000_0000);
    assert_eq!(mask32(0x54), 0);
    assert_eq!(mask32(0x58), 0);

    let all: [u8; SIZE] = writable(&FULL, 0);
    let fields = [
        0x04..0x06,
        0x10..0x28,
        0x3c..0x3d,
        0x42..0x43,
        0x44..0x4e,
        0x53..0x54,
    ];
    for at in (0..SIZE).filter(|at| !fields.iter().any(|field| field.contains(at))) {
        assert_eq!(all[at], 0, "byte {at:#x}");
    }
}

#[test]
fn an_access_beyond_the_space_does_nothing() {
    let config = config(&FULL);
    for (offset, len) in [
        (256, 1),
        (255, 2),
        (0, 257),
        (257, 0),
        (1 << 40, 1),
        (u64::MAX, 1),
    ] {
        let mut data = vec![0xa5; len];
        assert!(
            !config.read(offset, &mut data, false),
            "{len} bytes at {offset}"
        );
        assert_eq!(data, vec![0xa5; len]);

        let mut written = config.clone();
        assert!(
            !written.write(offset, &vec![0xff; len]),
            "{len} bytes at {offset}"
        );
        assert_eq!(written.bytes(), config.bytes());
    }
    assert!(config.read(255, &mut [0], false));
    assert!(config.read(0, &mut [0; SIZE], false));
}

fn writes() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let data = prop::collection::vec(any::<u8>(), 0..9);
    prop::collection::vec((0..260u64, data), 0..60)
}

/// A configuration space after some writes.
fn used(writes: &[(u64, Vec<u8>)]) -> Config {
    let mut config = config(&FULL);
    for (offset, data) in writes {
        let _ = config.write(*offset, data);
    }
    config
}

proptest! {
    #[test]
    fn writes_change_no_bit_that_is_read_only(writes in writes()) {
        let mask: [u8; SIZE] = writable(&FULL, 0);
        let (before, after) = (config(&FULL), used(&writes));
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
        bit in 0..8u32,
    ) {
        let mask: [u8; SIZE] = writable(&FULL, 0);
        let destination = used(&writes);
        let mut saved = destination.bytes().to_vec();
        saved[at] ^= 1u8 << bit;
        let is_writable = mask[at] & 1u8 << bit != 0;
        let expected = if is_writable { Ok(()) } else { Err(OtherDevice) };
        prop_assert_eq!(destination.check(&saved), expected);
    }
}

#[test]
fn an_msix_table_has_to_be_aligned_inside_of_a_bar_and_apart_from_its_pending_bits() {
    let with = |vectors, bar, table, pending| Identity {
        msix: Some(Msix {
            vectors,
            bar,
            table,
            pending,
        }),
        ..FULL
    };
    for (identity, valid) in [
        (with(1, 1, 0, 0x800), true),
        (with(1, 1, 0xff0, 0), true),
        (with(1, 1, 0, 16), true),
        (with(1, 1, 4, 0x800), false),
        (with(1, 1, 0, 0x801), false),
        (with(1, 1, 0xff8, 0), false),
        (with(1, 1, 0, 0x1000), false),
        (with(1, 1, 0, 8), false),
        (with(1, 1, 0, 0), false),
        (with(1, 3, 0, 0x800), false),
        (with(1, 6, 0, 0x800), false),
        // 16 bytes for each vector, and 8 for each 64 of them.
        (with(128, 1, 0, 0x800), true),
        (with(129, 1, 0, 0x800), false),
        (with(64, 1, 8, 0), true),
        (with(65, 1, 8, 0), false),
        (with(64, 1, 0, 0xff8), true),
        (with(65, 1, 0, 0xff8), false),
        (with(0, 1, 0, 0x800), false),
        (with(2049, 1, 0, 0x800), false),
    ] {
        assert_eq!(identity.check().is_ok(), valid, "{:?}", identity.msix);
    }
}

#[test]
fn msi_has_a_power_of_two_of_vectors_and_says_how_many() {
    for vectors in 0..=64 {
        let identity = Identity {
            msi: vectors,
            ..FULL
        };
        let valid = vectors == 0 || vectors <= 32 && vectors.is_power_of_two();
        assert_eq!(identity.check().is_ok(), valid, "{vectors} vectors");
        if valid && vectors != 0 {
            let mut config = config(&identity);
            assert!(config.write(0x42, &[0xff; 2]));
            let mut flags = [0; 2];
            assert!(config.read(0x42, &mut flags, false));
            // Enable, capable, enabled vectors (all of their bits are writable), 64 bits.
            let several = if vectors == 1 { 0 } else { 0x70 };
            let expected = 0x81 | (vectors.ilog2() as u16) << 1 | several;
            assert_eq!(u16::from_le_bytes(flags), expected, "{vectors} vectors");
        }
    }
}

#[test]
fn msix_says_the_last_index_of_its_table() {
    for vectors in [1, 2, 64, 2048] {
        let identity = Identity {
            bars: memory32(0x10000, false).alone(),
            msix: Some(Msix {
                vectors,
                bar: 0,
                table: 0,
                pending: 0x8000,
            }),
            ..FULL
        };
        assert_eq!(identity.check(), Ok(()));
        assert_eq!(identity.vectors(), usize::from(vectors).max(1));
        let mut config = config(&identity);
        assert!(config.write(0x52, &[0xff; 2]));
        let mut flags = [0; 2];
        assert!(config.read(0x52, &mut flags, false));
        assert_eq!(u16::from_le_bytes(flags), 0xc000 | (vectors - 1));
    }
}

#[test]
fn interrupt_status_is_the_level_of_the_line_whatever_else_is_set() {
    let mut config = config(&FULL);
    for command in [0x0003u16, 0x0403] {
        assert!(config.write(0x04, &command.to_le_bytes()));
        assert_eq!(config.disables_intx(), command & 0x0400 != 0);
        for asserted in [false, true] {
            let mut both = [0; 4];
            assert!(config.read(0x04, &mut both, asserted));
            let both = u32::from_le_bytes(both);
            assert_eq!(both >> 16 & 8 != 0, asserted);
            assert_eq!(both as u16, command);
        }
    }
    // The bit is in its place wherever the access begins and ends, and nowhere else.
    for (offset, len) in [(0x06, 1), (0x06, 2), (0x00, 256), (0x05, 2)] {
        let (mut low, mut high) = (vec![0; len], vec![0; len]);
        assert!(config.read(offset, &mut low, false) && config.read(offset, &mut high, true));
        low[0x06 - offset as usize] |= 8;
        assert_eq!(low, high);
    }
    // It is not saved, so two hosts need not have it in common.
    assert_eq!(config.bytes()[0x06] & 8, 0);
}

#[test]
fn a_function_without_a_line_has_no_interrupt_status() {
    let identity = Identity {
        intx: false,
        ..FULL
    };
    let mut status = [0];
    assert!(config(&identity).read(0x06, &mut status, true));
    assert_eq!(status[0] & 8, 0);
}
