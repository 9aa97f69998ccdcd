// SPDX-License-Identifier: GPL-2.0

//! Capabilities that a driver lists, against offsets and bits taken from the specifications a
//! second time.

use crate::common::config::*;
use crate::common::stream::kernel_crc32c;
use mdev_model::config::{Capability, Identity, OtherDevice, EXPRESS_SIZE, SIZE};

const CAPABILITIES: &[Capability] = &[
    Capability::PowerManagement,
    EXPRESS,
    Capability::VendorSpecific {
        bytes: &[0x11, 0x22],
        writable: &[0x0f],
    },
    Capability::SerialNumber(0x0123_4567_89ab_cdef),
    Capability::ExtendedVendorSpecific {
        id: 0x1234,
        revision: 0x5,
        bytes: &[1, 2, 3, 4, 5],
        writable: &[0, 0xff],
    },
    Capability::Extended {
        id: 0x18,
        version: 2,
        bytes: &[6; 4],
        writable: &[],
    },
];

const CARD: Identity = with(CAPABILITIES);

/// Returns where the capabilities of [`CARD`] are.
fn places() -> [u64; 6] {
    std::array::from_fn(|index| CARD.capability_at(index).unwrap() as u64)
}

#[test]
fn the_lists_link_the_capabilities_in_their_order() {
    assert_eq!(CARD.check(), Ok(()));
    let config = config(&CARD);
    assert_eq!(config.bytes().len(), 4096);
    assert_eq!(read16(&config, 0x06), 0x0010, "a list, and no DEVSEL#");
    assert_eq!(read::<1>(&config, 0x34), [0x40]);
    assert_eq!(read(&config, 0x40), [0x01, 0x48]);
    assert_eq!(read(&config, 0x48), [0x10, 0x84]);
    assert_eq!(read(&config, 0x84), [0x09, 0x00]);
    // Id, version, and offset of the next.
    assert_eq!(read32(&config, 0x100), 0x10c1_0003);
    assert_eq!(read32(&config, 0x10c), 0x11c1_000b);
    assert_eq!(read32(&config, 0x11c), 0x0002_0018);
    assert_eq!(places(), [0x40, 0x48, 0x84, 0x100, 0x10c, 0x11c]);
}

#[test]
fn conventional_capabilities_are_behind_msi_and_msix() {
    for (msi, msix, first) in [
        (0, None, 0x40),
        (1, None, 0x50),
        (0, FULL.msix, 0x5c),
        (1, FULL.msix, 0x5c),
    ] {
        let card = Identity {
            msi,
            msix,
            ..with(&[Capability::PowerManagement, EXPRESS])
        };
        assert_eq!(card.check(), Ok(()));
        assert_eq!(card.capability_at(0), Some(first));
        let config = config(&card);
        let mut at = 0x34;
        let mut found = Vec::new();
        while read::<1>(&config, at)[0] != 0 {
            at = u64::from(read::<1>(&config, at)[0]);
            found.push(read::<1>(&config, at)[0]);
            assert!(found.len() < 48, "the list does not end");
            at += 1;
        }
        let interrupts = [(msi != 0, 0x05), (msix.is_some(), 0x11)];
        let interrupts = interrupts.into_iter().filter(|(has, _)| *has);
        let expected: Vec<u8> = interrupts.map(|(_, id)| id).chain([0x01, 0x10]).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn an_express_device_without_extended_capabilities_has_an_empty_list_of_them() {
    let card = with(&[EXPRESS]);
    assert_eq!(card.check(), Ok(()));
    assert_eq!(config(&card).bytes()[0x100..], [0; 0xf00]);
}

#[test]
fn a_conventional_device_can_have_capabilities_too() {
    let card = Identity {
        config_size: 256,
        ..with(&[Capability::PowerManagement])
    };
    assert_eq!(card.check(), Ok(()));
    let config = config(&card);
    assert_eq!(config.bytes().len(), SIZE);
    assert_eq!(read16(&config, 0x06), 0x0210);
    assert_eq!(read32(&config, 0x40), 0x0003_0001);
}

#[test]
fn the_registers_have_the_values_and_the_writable_bits_of_the_specifications() {
    let [power, express, vendor, serial, vsec, extended] = places();
    let card = config(&CARD);
    for (at, value, mask) in [
        // Version 3; D0, No_Soft_Reset.
        (power, 0x0003_4801, 0),
        (power + 4, 0x0000_0008, 0x0000_0003),
        // Version 2, an endpoint.
        (express, 0x0002_8410, 0),
        // Role-based error reporting, function-level reset.
        (express + 0x04, 0x1000_8000, 0),
        // Relaxed ordering, no snoop, reads of 512 bytes; four error reports. No FLR bit.
        (express + 0x08, 0x0000_2810, 0x0000_781f),
        // One lane, 2.5 GT/s, ASPM optionality compliance.
        (express + 0x0c, 0x0040_0011, 0),
        // ASPM control, read completion boundary, common clock, extended synch.
        (express + 0x10, 0x0011_0000, 0x0000_00cb),
        (express + 0x14, 0, 0),
        (express + 0x18, 0, 0),
        (express + 0x1c, 0, 0),
        (express + 0x20, 0, 0),
        // Completion timeout disable.
        (express + 0x24, 0x0000_0010, 0),
        (express + 0x28, 0, 0x0000_0010),
        (express + 0x2c, 0x0000_0002, 0),
        (express + 0x30, 0, 0),
        (express + 0x34, 0, 0),
        (express + 0x38, 0, 0),
        (vendor, 0x1105_0009, 0x0f00_0000),
        (vendor + 4, 0x0000_0022, 0),
        (serial + 4, 0x89ab_cdef, 0),
        (serial + 8, 0x0123_4567, 0),
        // Length 13, revision 5.
        (vsec + 4, 0x00d5_1234, 0),
        (vsec + 8, 0x0403_0201, 0x0000_ff00),
        (vsec + 12, 0x0000_0005, 0),
        (extended + 4, 0x0606_0606, 0),
    ] {
        assert_eq!(read32(&card, at), value, "the value at {at:#x}");
        // Its two bits change together: D1 and D2 are not there.
        let written = u32::from_le_bytes(writable(&CARD, at));
        assert_eq!(written, mask, "the writable bits at {at:#x}");
    }
    assert!(card.bytes()[extended as usize + 8..]
        .iter()
        .all(|byte| *byte == 0));
}

#[test]
fn the_power_state_is_d0_or_d3hot() {
    let at = places()[0] + 4;
    for before in [0, 3] {
        for (written, after) in [(0, 0), (1, before), (2, before), (3, 3)] {
            let mut card = config(&CARD);
            write(&mut card, at, &[before]);
            write(&mut card, at, &[written]);
            assert_eq!(read(&card, at), [0x08 | after]);
        }
    }
}

#[test]
fn a_function_is_bus_master_if_the_command_says_so_and_it_is_awake() {
    let at = places()[0] + 4;
    for (command, state, is_master) in [
        (0x0004u16, 0, true),
        (0x0000, 0, false),
        (0x0543, 0, false),
        (0x0004, 3, false),
    ] {
        let mut card = config(&CARD);
        write(&mut card, 0x04, &command.to_le_bytes());
        write(&mut card, at, &[state]);
        assert_eq!(card.is_bus_master(), is_master, "{command:#x} in D{state}");
    }
    let mut plain = config(&FULL);
    write(&mut plain, 0x04, &[0x04]);
    assert!(plain.is_bus_master());
}

#[test]
fn a_write_of_the_bit_initiates_a_reset_and_the_bit_reads_as_zero() {
    let control = places()[1] + 0x08;
    for (offset, data, resets) in [
        (control, &[0x10, 0xa8][..], true),
        (control, &[0x10, 0x28], false),
        (control, &[0xff, 0x7f, 0xff, 0xff], false),
        (control, &[0, 0x80, 0, 0], true),
        (control + 1, &[0x80], true),
        (control - 1, &[0, 0, 0x80], true),
        (control - 1, &[0x80], false),
        (control, &[0x80], false),
        (control + 2, &[0x80, 0x80], false),
        (u64::MAX, &[0x80, 0x80], false),
    ] {
        let mut card = config(&CARD);
        assert_eq!(card.initiates_reset(offset, data), resets, "{data:x?}");
        let _ = card.write(offset, data);
        assert_eq!(read::<1>(&card, control + 1)[0] & 0x80, 0);
    }
}

#[test]
fn a_function_without_the_capability_to_reset_does_not_reset() {
    let card = with(&[Capability::Express { flr: false }]);
    let config = config(&card);
    assert_eq!(read32(&config, 0x44), 0x0000_8000);
    assert!(!config.initiates_reset(0x48, &[0xff; 4]));
}

#[test]
fn a_reset_restores_the_values_and_masks_of_a_new_space() {
    let mut used = config(&CARD);
    assert!(used.write(0, &[0xff; EXPRESS_SIZE]));
    used.reset(&CARD);
    assert_eq!(used.bytes(), config(&CARD).bytes());
    assert!(used.write(0, &[0xff; EXPRESS_SIZE]));
    let mut new = config(&CARD);
    assert!(new.write(0, &[0xff; EXPRESS_SIZE]));
    assert_eq!(used.bytes(), new.bytes());
}

#[test]
fn another_capability_makes_another_device() {
    let card = config(&CARD);
    for capabilities in [
        &[][..],
        &CAPABILITIES[..5],
        &[Capability::Express { flr: false }],
        &[EXPRESS],
        &[EXPRESS, Capability::SerialNumber(1)],
        &[EXPRESS, Capability::SerialNumber(2)],
    ] {
        // Of the same size, also where `check` refuses it.
        let other = with(Vec::leak(
            [capabilities, &[EXPRESS][capabilities.len().min(1)..]].concat(),
        ));
        let other = config(&other);
        assert_eq!(card.check(other.bytes()), Err(OtherDevice));
        assert_eq!(other.check(card.bytes()), Err(OtherDevice));
        let sums = [&card, &other].map(|config| config.identity_checksum(kernel_crc32c));
        assert_ne!(sums[0], sums[1]);
    }
    let longer = [card.bytes(), &[0]].concat();
    for other_size in [&longer, &card.bytes()[..SIZE], &[]] {
        assert_eq!(card.check(other_size), Err(OtherDevice));
    }
    let conventional = config(&FULL);
    assert_eq!(card.check(conventional.bytes()), Err(OtherDevice));
    assert_eq!(conventional.check(card.bytes()), Err(OtherDevice));
}

#[test]
fn the_checksum_is_that_of_the_read_only_bits() {
    for identity in [FULL, CARD] {
        let mut card = config(&identity);
        let before = card.identity_checksum(kernel_crc32c);
        assert!(card.write(0, &vec![0; identity.space_size()]));
        // All that could be written is zero now.
        assert_eq!(before, !kernel_crc32c(!0, card.bytes()));
        assert!(card.write(0, &vec![0xff; identity.space_size()]));
        assert_eq!(before, card.identity_checksum(kernel_crc32c));
    }
}
