// SPDX-License-Identifier: GPL-2.0
//! Tables of registers: accesses of every width against plain bytes, and what a row says.

use mdev_model::registers::{self, is_valid, Register};
use proptest::prelude::*;

/// A device that keeps everything: 32 bytes in registers of each width, without a gap.
#[derive(Clone, Default)]
struct Kept {
    a: u64,
    b: u32,
    c: u16,
    d: [u8; 2],
    e: u64,
    f: u16,
    g: u16,
    h: u32,
}

const KEPT: &[Register<Kept>] = mdev_model::registers! { Kept {
    0x00: u64, keep a;
    0x08: u32, keep b;
    0x0c: u16, keep c;
    0x0e: u8, read |kept| kept.d[0], write |kept, value| kept.d[0] = value;
    0x0f: u8, read |kept| kept.d[1], write |kept, value| kept.d[1] = value;
    0x10: u64, keep e;
    0x18: u16, keep f;
    0x1a: u16, keep g;
    0x1c: u32, keep h;
} };

/// An access as the SDK passes it on: 1, 2, 4 or 8 bytes, aligned.
fn access() -> impl Strategy<Value = (usize, usize, [u8; 8])> {
    (0..4u32, 0..32usize, any::<[u8; 8]>()).prop_map(|(width, offset, data)| {
        let width = 1 << width;
        (offset & !(width - 1), width, data)
    })
}

proptest! {
    #[test]
    fn registers_that_keep_what_is_written_are_memory(
        accesses in prop::collection::vec(access(), 1..40)
    ) {
        let mut device = Kept::default();
        let mut memory = [0; 32];
        for (offset, width, data) in accesses {
            registers::write(KEPT, &mut device, offset as u64, &data[..width]);
            memory[offset..offset + width].copy_from_slice(&data[..width]);
            let mut all = [0; 32];
            for (i, byte) in all.iter_mut().enumerate() {
                registers::read(KEPT, &device, i as u64, std::slice::from_mut(byte));
            }
            prop_assert_eq!(all, memory);
            let mut some = [0; 8];
            registers::read(KEPT, &device, offset as u64, &mut some[..width]);
            prop_assert_eq!(&some[..width], &memory[offset..offset + width]);
        }
    }
}

#[derive(Default)]
struct Odd {
    written: Vec<u64>,
    locked: bool,
}

const ODD: &[Register<Odd>] = mdev_model::registers! { Odd {
    0x04: u32, read |_| 0x8877_6655;
    0x08: u32, write |odd, value: u32| odd.written.push(value.into());
    0x10: u8, write |odd, value: u8| odd.written.push(value.into()), if |odd| !odd.locked;
    0x18: u16, read |_| 0x0201, write |odd, value: u16| odd.written.push(value.into());
} };

fn written(odd: &mut Odd, offset: u64, data: &[u8]) -> Vec<u64> {
    registers::write(ODD, odd, offset, data);
    std::mem::take(&mut odd.written)
}

#[test]
fn what_is_no_register_reads_as_zero_and_ignores_writes() {
    let mut data = [0xee; 8];
    registers::read(ODD, &Odd::default(), 0, &mut data);
    assert_eq!(data, [0, 0, 0, 0, 0x55, 0x66, 0x77, 0x88]);
    let mut beyond = [0xee; 4];
    registers::read(ODD, &Odd::default(), 0x100, &mut beyond);
    assert_eq!(beyond, [0; 4]);
    let odd = &mut Odd::default();
    assert!(written(odd, 0, &[1; 8]).is_empty(), "one is read-only");
    assert!(written(odd, 0x100, &[1; 4]).is_empty());
}

#[test]
fn a_write_to_a_part_of_a_register_completes_it_with_what_it_reads_as() {
    let odd = &mut Odd::default();
    assert_eq!(written(odd, 0x19, &[7]), [0x0701]);
    assert_eq!(written(odd, 0x0a, &[7]), [0x0007_0000], "it reads as 0");
    assert_eq!(
        written(odd, 0x18, &[8, 9, 1, 1]),
        [0x0908],
        "and no other byte"
    );
}

#[test]
fn a_register_that_must_not_be_written_is_not() {
    let odd = &mut Odd::default();
    assert_eq!(written(odd, 0x10, &[5]), [5]);
    odd.locked = true;
    assert!(written(odd, 0x10, &[5]).is_empty());
}

#[test]
fn a_table_is_in_order_aligned_and_without_overlap() {
    let register = |offset, width| Register::<()> {
        offset,
        width,
        read: None,
        write: None,
    };
    assert!(is_valid(&[register(0, 4), register(4, 1), register(8, 8)]));
    assert!(is_valid::<()>(&[]));
    for bad in [
        [register(4, 4), register(0, 4)],
        [register(0, 4), register(2, 2)],
        [register(0, 1), register(2, 4)],
        [register(0, 4), register(4, 3)],
    ] {
        assert!(!is_valid(&bad));
    }
}
