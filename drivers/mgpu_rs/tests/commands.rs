// SPDX-License-Identifier: GPL-2.0

//! The effect of each command on memory, compared with a reference that executes it in one step.

mod common;

use common::*;
use proptest::prelude::*;

/// Runs the commands on a card and on the reference, and compares every byte and the number of its
/// writes.
fn agrees(card: &mut Card, cmds: &[Cmd]) -> Result<(), TestCaseError> {
    let mut expected = Reference::of(card);
    card.submit(cmds);
    card.run();
    cmds.iter().for_each(|cmd| expected.run(cmd));
    prop_assert!(card.data() == &expected.data, "guest memory differs");
    prop_assert!(card.vram == expected.vram, "VRAM differs");
    prop_assert_eq!(card.read(HEAD), cmds.len() as u32);
    Ok(())
}

fn one_on(ring: usize, scratch: usize, cmd: Cmd) -> Result<(), TestCaseError> {
    let mut card = Card::started_on(ring);
    card.scratch.truncate(scratch);
    agrees(&mut card, &[cmd])
}

fn one(scratch: usize, cmd: Cmd) -> Result<(), TestCaseError> {
    one_on(0, scratch, cmd)
}

proptest! {
    #[test]
    fn fill_repeats_its_pattern_and_cuts_it_off(
        cmd in any_fill(),
        scratch in 1..9000usize,
        ring in any_ring(),
    ) {
        one_on(ring, scratch, cmd)?;
    }

    #[test]
    fn copy_leaves_what_the_source_held_before(
        cmd in any_copy(),
        scratch in 1..9000usize,
        ring in any_ring(),
    ) {
        one_on(ring, scratch, cmd)?;
    }

    #[test]
    fn blit_moves_rows_and_nothing_between_them(
        cmd in any_blit(),
        scratch in 1..9000usize,
        ring in any_ring(),
    ) {
        one_on(ring, scratch, cmd)?;
    }

    #[test]
    fn crc32c_writes_the_checksum_alone(
        cmd in any_crc32c(),
        scratch in 1..9000usize,
        ring in any_ring(),
    ) {
        one_on(ring, scratch, cmd)?;
    }

    #[test]
    fn commands_take_effect_in_the_order_of_the_ring(
        cmds in prop::collection::vec(any_good(), 1..SLOTS as usize),
        ring in any_ring(),
    ) {
        agrees(&mut Card::started_on(ring), &cmds)?;
    }
}

#[test]
fn crc32c_is_that_of_iscsi() {
    let mut card = Card::started();
    card.guest.at(DATA).memory.put(0x101, b"123456789");
    card.submit(&[crc32c(0, DATA, DATA + 0x101, 9)]);
    card.run();
    assert_eq!(card.data_at(DATA, 4), 0xe306_9283u32.to_le_bytes());
}

#[test]
fn commands_of_several_slices_are_whole_at_every_boundary() {
    // The memories of a test assert that no access has more than 64 KiB.
    let slice = 64 << 10;
    for len in [slice - 1, slice, slice + 1, 2 * slice, 3 * slice + 7] {
        for cmd in [
            fill(0, DATA + 3, len, 0x0403_0201),
            copy(DST_VRAM, 1, DATA + 2, len),
            copy(0, DATA + 4099, DATA + 1, len),
            copy(0, DATA + 1, DATA + 4099, len),
            crc32c(SRC_VRAM, DATA, 5, len),
        ] {
            let mut card = Card::started();
            let mut expected = Reference::of(&card);
            card.submit(&[cmd]);
            // The fetch, then one step for each slice.
            assert_eq!(card.run(), 1 + len.div_ceil(slice) as usize, "{cmd:?}");
            expected.run(&cmd);
            assert!(card.data() == &expected.data, "{cmd:?}");
            assert!(card.vram == expected.vram, "{cmd:?}");
        }
    }
}

#[test]
fn a_nop_does_nothing() {
    one(1, nop()).unwrap();
}

#[test]
fn vram_can_be_used_to_its_last_byte() {
    let end = VRAM as u64;
    for cmd in [
        fill(DST_VRAM, end - 1, 1, 0xaa),
        copy(DST_VRAM | SRC_VRAM, 0, 0, VRAM as u32),
        copy(DST_VRAM, end - 9, DATA, 9),
        blit(DST_VRAM, (end - 1024 - 16, 1024), (DATA, 16), (16, 2)),
    ] {
        one(4096, cmd).unwrap();
    }
}

#[test]
fn guest_memory_can_be_used_to_its_last_address() {
    let mut card = Card::started();
    let last_page = u64::MAX - 4095;
    card.guest.map(last_page, Memory::new(vec![0; 4096]));
    card.submit(&[fill(0, last_page + 1, 4095, 0x5555_5555)]);
    card.run();
    assert_eq!(card.error(), (0, NO_INDEX));
    assert_eq!(card.guest.data(last_page).bytes[0], 0);
    assert!(card.guest.data(last_page).bytes[1..]
        .iter()
        .all(|&b| b == 0x55));
}

/// Runs a command as the third in the ring and returns its error. Memory must be unchanged, and the
/// command after it must have been executed.
fn error_of(cmd: Cmd) -> u32 {
    let mut card = Card::started();
    let before = Reference::of(&card);
    card.submit(&[nop(), nop(), cmd]);
    card.run();
    assert!(
        card.data() == &before.data && card.vram == before.vram,
        "{cmd:?}"
    );
    let (error, index) = card.error();
    assert_eq!(index, if error == 0 { NO_INDEX } else { 2 }, "{cmd:?}");
    assert_eq!(card.read(HEAD), 3, "{cmd:?}");
    assert_eq!(card.read(STATUS), ENABLED, "{cmd:?}");
    card.submit(&[fence(DATA, 77)]);
    card.run();
    assert_eq!(card.fence_at(DATA), (77, error, index), "{cmd:?}");
    error
}

#[test]
fn an_unknown_opcode_fails() {
    for opcode in [6, 7, 0x0100_0000, u32::MAX] {
        assert_eq!(error_of(Cmd { opcode, ..nop() }), E_OPCODE);
    }
}

#[test]
fn a_field_that_the_opcode_does_not_use_has_to_be_zero() {
    // A command to corrupt, and the bytes that it may use besides the opcode.
    let cases: [(Cmd, &[std::ops::Range<usize>]); 6] = [
        (nop(), &[]),
        (fill(0, DATA, 1, 0), &[8..16, 24..28, 40..44]),
        (copy(0, DATA, DATA, 1), &[8..24, 24..28]),
        (
            blit(0, (DATA, 1), (DATA, 1), (1, 1)),
            &[8..24, 24..28, 28..40],
        ),
        (crc32c(0, DATA, DATA, 1), &[8..24, 24..28]),
        (fence(DATA, 0), &[8..16, 40..48]),
    ];
    let flags = [
        0,
        DST_VRAM,
        DST_VRAM | SRC_VRAM,
        DST_VRAM | SRC_VRAM,
        SRC_VRAM,
        0,
    ];
    for ((cmd, used), flags) in cases.into_iter().zip(flags) {
        for at in 4..64 {
            for bit in 0..8 {
                let is_flag = at == 4 && flags & 1 << bit != 0;
                if is_flag || used.iter().any(|range| range.contains(&at)) {
                    continue;
                }
                let mut bytes = cmd.bytes();
                bytes[at] |= 1 << bit;
                let mut card = Card::started();
                card.put(&cmd);
                card.guest.at(RING).memory.bytes[..64].copy_from_slice(&bytes);
                card.doorbell();
                card.run();
                assert_eq!(
                    card.error(),
                    (E_RESERVED, 0),
                    "bit {bit} of byte {at} in {cmd:?}"
                );
            }
        }
    }
}

#[test]
fn lengths_beyond_their_bounds_fail() {
    let both = DST_VRAM | SRC_VRAM;
    for cmd in [
        fill(0, DATA, 0, 0),
        fill(0, DATA, 0x1000_0001, 0),
        copy(0, DATA, DATA, 0),
        copy(0, DATA, DATA, u32::MAX),
        crc32c(0, DATA, DATA, 0),
        crc32c(0, DATA, DATA, 0x1000_0001),
        blit(both, (0, 16), (0, 16), (0, 1)),
        blit(both, (0, 16), (0, 16), (1, 0)),
        blit(both, (0, 15), (0, 16), (16, 1)),
        blit(both, (0, 16), (0, 15), (16, 1)),
        blit(both, (0, 0x10_0001), (0, 16), (16, 1)),
        blit(both, (0, 16), (0, 0x10_0001), (16, 1)),
        blit(both, (0, 0x10_0000), (0, 0x10_0000), (0x1_0001, 1)),
        blit(both, (0, 1), (0, 1), (1, 0x1_0001)),
        blit(0, (DATA, 0x1_0000), (DATA, 0x1_0000), (0x1_0000, 0x1001)),
    ] {
        assert_eq!(error_of(cmd), E_LENGTH, "{cmd:?}");
    }
}

#[test]
fn lengths_at_their_bounds_are_looked_at_further() {
    for cmd in [
        fill(DST_VRAM, 0, 0x1000_0000, 0),
        blit(
            DST_VRAM,
            (0, 0x1_0000),
            (DATA, 0x1_0000),
            (0x1_0000, 0x1000),
        ),
        blit(DST_VRAM, (0, 0x10_0000), (DATA, 1), (1, 0x1_0000)),
    ] {
        assert_eq!(error_of(cmd), E_RANGE, "{cmd:?}");
    }
}

#[test]
fn results_have_to_be_aligned() {
    for at in 1..4 {
        assert_eq!(error_of(crc32c(0, DATA + at, DATA, 1)), E_ALIGNMENT);
    }
    for at in [1, 2, 4, 8, 15] {
        assert_eq!(error_of(fence(DATA + at, 1)), E_ALIGNMENT);
    }
}

#[test]
fn ranges_beyond_vram_or_the_last_guest_address_fail() {
    let end = VRAM as u64;
    for cmd in [
        fill(DST_VRAM, end, 1, 0),
        fill(DST_VRAM, end - 1, 2, 0),
        fill(DST_VRAM, u64::MAX, 1, 0),
        fill(0, u64::MAX, 2, 0),
        copy(SRC_VRAM, DATA, end - 1, 2),
        copy(DST_VRAM, u64::MAX - 1, DATA, 2),
        copy(0, DATA, u64::MAX - 4, 6),
        crc32c(SRC_VRAM, DATA, end - 7, 8),
        crc32c(0, DATA, u64::MAX - 6, 8),
        blit(DST_VRAM, (end - 1024 - 15, 1024), (DATA, 16), (16, 2)),
        blit(0, (DATA, 16), (u64::MAX - 30, 16), (16, 2)),
    ] {
        assert_eq!(error_of(cmd), E_RANGE, "{cmd:?}");
    }
}

#[test]
fn an_overlapping_blit_of_two_strides_fails() {
    let both = DST_VRAM | SRC_VRAM;
    // The last byte of the source is the first of the destination.
    assert_eq!(
        error_of(blit(both, (115, 32), (0, 100), (16, 2))),
        E_OVERLAP
    );
    assert_eq!(
        error_of(blit(0, (DATA, 32), (DATA + 47, 100), (16, 2))),
        E_OVERLAP
    );
    // Adjacent, and the same addresses in two memories.
    one(4096, blit(both, (116, 32), (0, 100), (16, 2))).unwrap();
    let mut card = Card::started();
    card.guest.map(0, Memory::new(vec![7; 4096]));
    card.submit(&[blit(DST_VRAM, (0, 32), (0, 100), (16, 2))]);
    card.run();
    assert_eq!(card.error(), (0, NO_INDEX));
    assert_eq!(card.vram.bytes[32..48], [7; 16]);
}

#[test]
fn of_several_errors_the_one_with_the_lowest_code_is_shown() {
    let mut cmd = crc32c(DST_VRAM | SRC_VRAM, DATA + 1, u64::MAX, 0);
    cmd.opcode = 9;
    assert_eq!(error_of(cmd), E_OPCODE);
    cmd.opcode = 4;
    assert_eq!(error_of(cmd), E_RESERVED);
    cmd.flags = SRC_VRAM;
    assert_eq!(error_of(cmd), E_LENGTH);
    cmd.length = 2;
    assert_eq!(error_of(cmd), E_ALIGNMENT);
    cmd.dst -= 1;
    assert_eq!(error_of(cmd), E_RANGE);
    let far = VRAM as u64 - 8;
    let cmd = blit(DST_VRAM | SRC_VRAM, (far, 16), (far, 8), (8, 2));
    assert_eq!(error_of(cmd), E_RANGE);
}
