// SPDX-License-Identifier: GPL-2.0

//! A ring: geometry, doorbell, wrap, and the errors that halt it.

mod common;

use common::*;
use mgpu_model::registers::Registers;
use proptest::prelude::*;

fn geometry_error(base: u64, size: u32) -> u32 {
    let mut regs = Registers::new(VRAM as u32);
    let _ = regs.write(RING_BASE_LO, base as u32);
    let _ = regs.write(RING_BASE_HI, (base >> 32) as u32);
    let _ = regs.write(RING_SIZE, size);
    let _ = regs.write(CONTROL, ENABLE);
    let error = regs.read(ERROR);
    let good = error == 0;
    assert_eq!(regs.read(ERROR_INDEX), NO_INDEX);
    assert_eq!(regs.read(STATUS), if good { ENABLED } else { 0 });
    assert_eq!(regs.read(CONTROL), if good { ENABLE } else { 0 });
    assert_eq!(regs.read(INTERRUPT), if good { 0 } else { INT_ERROR });
    error
}

#[test]
fn the_size_is_a_power_of_two_from_2_to_4096() {
    for size in 0..=5000 {
        let good = [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096].contains(&size);
        let expected = if good { 0 } else { E_RING_GEOMETRY };
        assert_eq!(geometry_error(RING, size), expected, "{size}");
    }
    assert_eq!(geometry_error(RING, 0x8000_0000), E_RING_GEOMETRY);
    assert_eq!(geometry_error(RING, u32::MAX), E_RING_GEOMETRY);
}

#[test]
fn the_base_is_aligned_to_a_command_and_the_ring_does_not_wrap_the_address_space() {
    assert_eq!(geometry_error(0, 2), 0);
    assert_eq!(geometry_error(RING + 64, 2), 0);
    for bit in 0..6 {
        assert_eq!(geometry_error(RING + (1 << bit), 2), E_RING_GEOMETRY);
    }
    assert_eq!(geometry_error(0u64.wrapping_sub(128), 2), 0);
    assert_eq!(geometry_error(0u64.wrapping_sub(64), 2), E_RING_GEOMETRY);
}

#[test]
fn geometry_cannot_be_written_while_the_ring_is_enabled() {
    let mut card = Card::started();
    for reg in [RING_BASE_LO, RING_BASE_HI, RING_SIZE] {
        let before = card.read(reg);
        card.write(reg, 0x1234);
        assert_eq!(card.read(reg), before);
    }
    card.write(CONTROL, 0);
    for reg in [RING_BASE_LO, RING_BASE_HI, RING_SIZE] {
        card.write(reg, 0x1234);
        assert_eq!(card.read(reg), 0x1234);
    }
}

#[test]
fn nothing_is_fetched_before_the_doorbell() {
    let mut card = Card::started();
    card.put(&fence(DATA, 1));
    assert_eq!(card.run(), 0);
    assert!(!card.kicked[0]);
    card.doorbell();
    assert!(card.kicked[0]);
    assert_eq!(card.read(STATUS), ENABLED | BUSY);
    card.run();
    assert_eq!(card.read(STATUS), ENABLED);
    assert_eq!(card.fence(), 1);
}

#[test]
fn the_doorbell_of_a_ring_that_is_not_enabled_does_nothing() {
    let mut card = Card::new();
    card.write(TAIL, 1);
    card.write(TAIL, u32::MAX);
    assert_eq!(card.read(TAIL), 0);
    assert_eq!(card.read(INTERRUPT), 0);
    assert!(!card.kicked[0] && !card.step());
}

#[test]
fn starting_again_begins_at_zero() {
    let mut card = Card::started();
    card.submit(&[nop(), nop(), nop()]);
    card.run();
    assert_eq!((card.read(HEAD), card.read(TAIL)), (3, 3));
    card.write(CONTROL, ENABLE);
    assert_eq!((card.read(HEAD), card.read(TAIL)), (3, 3));
    card.write(CONTROL, 0);
    assert_eq!((card.read(HEAD), card.read(TAIL)), (0, 0));
    card.start(RING, SLOTS);
    card.submit(&[fence(DATA, 9)]);
    card.run();
    assert_eq!(card.fence(), 9);
}

#[test]
fn a_tail_beyond_the_ring_halts_it_after_the_command_that_is_being_executed() {
    for tail in [SLOTS, SLOTS + 1, u32::MAX] {
        let mut card = Card::started();
        card.scratch.truncate(16);
        card.submit(&[fill(DST_VRAM, 0, 64, 0), fence(DATA, 1)]);
        card.step();
        card.step();
        card.write(TAIL, tail);
        assert_eq!(card.error(), (E_RING_TAIL, NO_INDEX));
        assert_eq!(card.read(STATUS), ENABLED | HALTED | BUSY);
        card.run();
        assert_eq!(card.read(STATUS), ENABLED | HALTED);
        assert_eq!((card.read(HEAD), card.read(TAIL)), (1, 2));
        assert_eq!(card.vram.bytes[..64], [0; 64]);
        assert_eq!(card.fence(), 0);
    }
}

#[test]
fn a_halted_ring_hears_no_doorbell_and_runs_again_when_started_again() {
    let mut card = Card::started();
    card.write(TAIL, SLOTS);
    card.write(ERROR, 0);
    card.write(TAIL, 1);
    card.write(TAIL, SLOTS);
    card.write(CONTROL, ENABLE);
    assert_eq!(card.read(STATUS), ENABLED | HALTED);
    assert_eq!(card.read(TAIL), 0);
    assert_eq!(card.error(), (0, NO_INDEX));
    assert!(!card.step());
    card.write(CONTROL, 0);
    card.start(RING, SLOTS);
    card.submit(&[fence(DATA, 4)]);
    card.run();
    assert_eq!(card.fence(), 4);
}

#[test]
fn a_command_that_cannot_be_read_halts_the_ring_at_it() {
    let mut card = Card::new();
    // The ring's second half is not mapped.
    card.guest.unmap(RING);
    card.guest.map(RING, Memory::new(vec![0; 4096]));
    card.start(RING, 128);
    card.write(TAIL, 70);
    card.run();
    assert_eq!(card.read(STATUS), ENABLED | HALTED);
    assert_eq!(card.read(HEAD), 64);
    assert_eq!(card.error(), (E_RING_READ, 64));
    assert_eq!(card.read(INTERRUPT), INT_ERROR);
}

#[test]
fn a_tail_behind_the_last_one_makes_the_ring_go_round() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1), fence(DATA, 2), fence(DATA, 3)]);
    card.run();
    card.write(TAIL, 1);
    card.run();
    assert_eq!(card.read(HEAD), 1);
    assert_eq!(card.fence(), 1);
    assert_eq!(card.data().writes[0], 4);
}

#[test]
fn a_doorbell_storm_executes_every_command_once() {
    let mut card = Card::started();
    for i in 0..SLOTS - 1 {
        card.put(&fence(DATA + 16 * u64::from(i), u64::from(i)));
    }
    for tail in 1..SLOTS {
        for _ in 0..100 {
            card.write(TAIL, tail);
        }
        let work = card.take();
        card.write(TAIL, tail);
        assert!(card.take().is_none(), "two steps at once");
        if let Some(work) = work {
            let outcome = card.execute(work);
            card.write(TAIL, tail);
            card.publish(outcome);
        }
    }
    card.run();
    let count = 16 * (SLOTS as usize - 1);
    assert!(card.data().writes[..count].iter().all(|&count| count == 1));
    assert!(card.data().writes[count..].iter().all(|&count| count == 0));
}

#[test]
fn a_doorbell_during_a_step_is_not_lost() {
    let mut card = Card::started();
    card.submit(&[nop()]);
    card.step();
    let work = card.take().unwrap();
    card.submit(&[fence(DATA, 1)]);
    let outcome = card.execute(work);
    card.kicked[0] = false;
    card.publish(outcome);
    assert!(card.kicked[0]);
    card.run();
    assert_eq!(card.fence(), 1);
}

proptest! {
    #[test]
    fn commands_are_executed_once_and_in_order_however_the_ring_wraps(
        size in (1..7u32).prop_map(|bit| 1 << bit),
        batches in prop::collection::vec(1..64u32, 1..30),
        ring in any_ring(),
    ) {
        let mut card = Card::started_on(ring);
        card.write(CONTROL, 0);
        card.start(base(ring), size);
        let mut value = 0;
        for batch in batches {
            let cmds: Vec<_> = (0..batch.min(size - 1))
                .map(|_| {
                    value += 1;
                    fence(DATA + 16 * (value % 8), value)
                })
                .collect();
            card.submit(&cmds);
            while card.step() {
                prop_assert!(card.fence() <= value);
            }
            prop_assert_eq!(card.fence(), value);
            prop_assert_eq!(u64::from(card.read(HEAD)), value % u64::from(size));
            prop_assert_eq!(card.read(TAIL), card.read(HEAD));
        }
        let mut expected = [0; 8];
        (1..=value).for_each(|value| expected[value as usize % 8] += 1);
        for (i, expected) in expected.into_iter().enumerate() {
            let counts = &card.data().writes[16 * i..16 * (i + 1)];
            prop_assert!(counts.iter().all(|&count| u32::from(count) == expected % 256));
        }
    }
}
