// SPDX-License-Identifier: GPL-2.0

//! Guest memory that is not mapped, or read-only: only the command fails, and the ring continues.

mod common;

use common::*;

/// An address that is not mapped.
const HOLE: u64 = DATA + DATA_LEN as u64;

fn card_with_read_only_memory(at: u64) -> Card {
    let mut card = Card::started();
    card.guest.map(at, Memory::patterned(4096, 9));
    card.guest.at(at).writable = false;
    card
}

/// Runs a command between two fences and returns the error that the second must report.
fn error_of(card: &mut Card, cmd: Cmd) -> u32 {
    card.submit(&[
        fence(DATA, 1),
        cmd,
        fence(DATA + 16, 2),
        fence(DATA + 32, 3),
    ]);
    card.run();
    assert_eq!(card.read(STATUS), ENABLED, "the ring goes on after {cmd:?}");
    assert_eq!(card.read(HEAD), 4);
    assert_eq!(card.fence(), 3);
    assert_eq!(card.fence_at(DATA), (1, 0, NO_INDEX));
    assert_eq!(card.fence_at(DATA + 32), (3, 0, NO_INDEX));
    let (value, status, index) = card.fence_at(DATA + 16);
    assert_eq!((value, index), (2, 1), "{cmd:?}");
    assert_eq!(card.error(), (status, 1), "{cmd:?}");
    status
}

#[test]
fn a_hole_is_a_fault_of_the_side_that_it_is_on() {
    for (cmd, error) in [
        (fill(0, HOLE, 1, 0), E_GUEST_WRITE),
        (fill(0, HOLE - 1, 2, 0), E_GUEST_WRITE),
        (copy(DST_VRAM, 0, HOLE, 1), E_GUEST_READ),
        (copy(SRC_VRAM, HOLE, 0, 1), E_GUEST_WRITE),
        (copy(0, HOLE, HOLE + 8, 1), E_GUEST_READ),
        (
            blit(DST_VRAM, (0, 64), (HOLE - 64, 64), (64, 2)),
            E_GUEST_READ,
        ),
        (
            blit(SRC_VRAM, (HOLE - 64, 64), (0, 64), (64, 2)),
            E_GUEST_WRITE,
        ),
        (crc32c(0, DATA + 64, HOLE - 1, 2), E_GUEST_READ),
        (crc32c(SRC_VRAM, HOLE, 0, 9), E_GUEST_WRITE),
    ] {
        assert_eq!(error_of(&mut Card::started(), cmd), error, "{cmd:?}");
    }
}

#[test]
fn read_only_memory_can_be_read_and_is_never_written() {
    let before = card_with_read_only_memory(HOLE);
    for cmd in [
        fill(0, HOLE, 4096, 0),
        copy(0, HOLE, DATA, 8),
        copy(SRC_VRAM, HOLE + 8, 0, 8),
        blit(SRC_VRAM, (HOLE, 8), (0, 8), (8, 8)),
        crc32c(SRC_VRAM, HOLE, 0, 9),
    ] {
        let mut card = card_with_read_only_memory(HOLE);
        assert_eq!(error_of(&mut card, cmd), E_GUEST_WRITE, "{cmd:?}");
        assert_eq!(card.guest.data(HOLE), before.guest.data(HOLE));
    }
    let mut card = card_with_read_only_memory(HOLE);
    card.submit(&[copy(DST_VRAM, 0, HOLE, 4096)]);
    card.run();
    assert_eq!(card.error(), (0, NO_INDEX));
    assert_eq!(card.vram.bytes[..4096], before.guest.data(HOLE).bytes);
}

#[test]
fn what_was_written_before_a_fault_stays_and_nothing_is_written_after_it() {
    let mut card = Card::started();
    card.scratch.truncate(1000);
    card.submit(&[fill(0, HOLE - 2500, 4000, 0x1111_1111)]);
    card.run();
    assert_eq!(card.error(), (E_GUEST_WRITE, 0));
    assert!(card.data_at(HOLE - 2500, 2000).iter().all(|&b| b == 0x11));
    assert!(card.data().writes.iter().all(|&count| count <= 1));
}

#[test]
fn a_fence_that_cannot_be_written_is_not_signalled_but_reported_by_the_next() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 5), fence(HOLE, 6)]);
    card.run();
    assert_eq!(card.fence(), 5);
    assert_eq!(card.read(INTERRUPT), INT_FENCE | INT_ERROR);
    assert_eq!(card.error(), (E_GUEST_WRITE, 1));
    card.submit(&[fence(DATA, 7)]);
    card.run();
    assert_eq!(card.fence(), 7);
    assert_eq!(card.fence_at(DATA), (7, E_GUEST_WRITE, 1));
}

#[test]
fn a_fence_reports_the_first_of_several_failures_and_the_next_fence_none_of_them() {
    let mut card = Card::started();
    let unknown = Cmd { opcode: 9, ..nop() };
    card.submit(&[
        nop(),
        unknown,
        fill(0, HOLE, 1, 0),
        fence(DATA, 1),
        fence(DATA + 16, 2),
    ]);
    card.run();
    assert_eq!(card.fence_at(DATA), (1, E_OPCODE, 1));
    assert_eq!(card.fence_at(DATA + 16), (2, 0, NO_INDEX));
}

#[test]
fn the_first_error_sticks_until_it_is_written() {
    let mut card = Card::started();
    card.submit(&[fill(0, HOLE, 1, 0), copy(DST_VRAM, 0, HOLE, 1)]);
    card.run();
    assert_eq!(card.error(), (E_GUEST_WRITE, 0));
    card.write(ERROR_INDEX, 0);
    assert_eq!(card.error(), (E_GUEST_WRITE, 0));
    card.write(ERROR, 0xffff);
    assert_eq!(card.error(), (0, NO_INDEX));
    card.submit(&[copy(DST_VRAM, 0, HOLE, 1)]);
    card.run();
    assert_eq!(card.error(), (E_GUEST_READ, 2));
}

#[test]
fn memory_that_goes_while_a_command_runs_fails_it_alone() {
    let mut card = Card::started();
    card.guest.map(HOLE, Memory::new(vec![3; 65536]));
    card.scratch.truncate(4096);
    card.submit(&[copy(DST_VRAM, 0, HOLE, 65536), fence(DATA, 1)]);
    for _ in 0..5 {
        assert!(card.step());
    }
    card.guest.unmap(HOLE).unwrap();
    card.run();
    assert_eq!(card.error(), (E_GUEST_READ, 0));
    assert_eq!(card.fence_at(DATA), (1, E_GUEST_READ, 0));
    assert_eq!(
        card.vram.writes.iter().filter(|&&count| count == 1).count(),
        4 * 4096
    );
}
