// SPDX-License-Identifier: GPL-2.0

//! Base address registers: types, sizing, and which are valid.

use crate::common::config::*;
use mdev_model::config::{Bar, BARS};

#[test]
fn each_bar_tells_its_type_and_its_size() {
    // (resource, value after a reset, value after all ones were written)
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
        let mut config = config(&with_bar(bar));
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
            if with_bar(bar).check().is_err() {
                continue;
            }
            let mut config = config(&with_bar(bar));
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
    let mut config = config(&FULL);
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
        // The file offsets of a region end here.
        (with_bar(memory64(1 << 40, false)), false),
        (with_bar(memory64(u64::MAX, false)), false),
        // The upper half of a 64-bit BAR needs a register, in which there is no other BAR.
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
        assert_eq!(identity.check().is_ok(), valid, "{:?}", identity.bars);
    }
}

#[test]
fn an_invalid_bar_is_named_with_the_rule() {
    let named = |bars| with_bars(bars).check().unwrap_err();
    let (rule, bar) = named([NONE, memory32(3000, false), NONE, NONE, NONE, NONE]);
    assert!(rule.contains("power of two of at least 16"), "{rule}");
    assert_eq!(bar, Some(1));
    let (rule, bar) = named([NONE, NONE, io(512), NONE, NONE, NONE]);
    assert!(rule.contains("4 to 256"), "{rule}");
    assert_eq!(bar, Some(2));
    let (rule, bar) = named([memory64(16, false), io(4), NONE, NONE, NONE, NONE]);
    assert!(rule.contains("64 bits"), "{rule}");
    assert_eq!(bar, Some(0));
}
