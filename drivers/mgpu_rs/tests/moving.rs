// SPDX-License-Identifier: GPL-2.0

//! The device is migrated and reset between any two steps of a ring. `rings.rs` does so while all
//! of them work.

mod common;

use common::*;
use mgpu_model::registers::Registers;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_device_that_moves_between_steps_does_the_same_and_nothing_twice(
        cmds in any_work(12),
        scratch in 1..6000usize,
        moves in prop::collection::vec(any::<bool>(), 1..50),
        ring in any_ring(),
    ) {
        let mut stays = Card::started_on(ring);
        stays.scratch.truncate(scratch);
        stays.submit(&cmds);
        let mut moved = Card::started_on(ring);
        moved.scratch.truncate(scratch);
        moved.submit(&cmds);

        for moves in moves.iter().cycle() {
            if *moves {
                moved.migrate();
            }
            prop_assert_eq!(moved.step(), stays.read(STATUS) & BUSY != 0);
            if !stays.step() {
                break;
            }
            prop_assert_eq!(moved.regs.state(), stays.regs.state());
        }
        prop_assert_eq!(moved.visible(), stays.visible());
        prop_assert!(moved.guest == stays.guest, "guest memory or its writes differ");
        prop_assert!(moved.vram == stays.vram, "VRAM or its writes differ");
    }

    #[test]
    fn a_reset_at_any_step_leaves_a_device_as_after_power_on(
        cmds in any_work(12),
        steps in 0..40usize,
        amid_a_step: bool,
        by_the_guest: bool,
        ring in any_ring(),
    ) {
        let mut card = Card::started_on(ring);
        card.scratch.truncate(500);
        card.submit(&cmds);
        for _ in 0..steps {
            card.step();
        }
        let out = if amid_a_step { card.take() } else { None };
        let out = out.map(|work| card.execute(work));
        if by_the_guest {
            // The function's.
            card.write_at(CONTROL, RESET | ENABLE);
        } else {
            card.reset();
        }
        prop_assert_eq!(card.read(STATUS), if out.is_some() { BUSY } else { 0 });
        let (guest, vram) = (card.guest.clone(), card.vram.clone());
        let messages = card.messages();
        if let Some(outcome) = out {
            prop_assert!(!card.regs.is_idle(ring));
            card.publish(outcome);
        }
        prop_assert_eq!(card.run(), 0);
        prop_assert_eq!(card.regs.state(), Registers::new(VRAM as u32).state());
        prop_assert_eq!(card.messages(), messages);
        prop_assert!(card.guest == guest && card.vram == vram);

        card.start(base(ring), SLOTS);
        card.submit(&[fence(DATA, 42)]);
        card.run();
        prop_assert_eq!(card.fence(), 42);
        prop_assert_eq!(card.fence_at(DATA), (42, 0, NO_INDEX));
    }
}

#[test]
fn there_is_no_state_to_save_while_a_step_of_any_ring_is_out() {
    for ring in 0..RINGS {
        let mut card = Card::started_on(ring);
        card.submit(&[fence(DATA, 1)]);
        let work = card.take().unwrap();
        for other in 0..RINGS {
            assert_eq!(card.regs.is_idle(other), other != ring);
        }
        assert_eq!(card.regs.state(), None);
        let outcome = card.execute(work);
        card.publish(outcome);
        assert!(card.regs.is_idle(ring));
        assert!(card.regs.state().is_some());
    }
}

#[test]
fn an_interrupt_that_is_pending_at_the_source_is_pending_at_the_destination() {
    for ring in 0..RINGS {
        let mut card = Card::started_on(ring);
        card.submit(&[fence(DATA, 1)]);
        card.run();
        card.migrate();
        for other in 0..RINGS {
            assert_eq!(card.regs.interrupt_level(other), other == ring);
        }
        card.write(INTERRUPT, INT_FENCE);
        card.migrate();
        assert!(!card.regs.interrupt_level(ring));
    }
}

#[test]
fn what_a_step_comes_to_is_dropped_by_registers_that_were_restored_meanwhile() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1)]);
    card.step();
    let state = Card::started().regs.state().unwrap();
    let work = card.take().unwrap();
    let outcome = card.execute(work);
    card.kicked = [false; RINGS];
    card.restore(state);
    assert_eq!(card.kicked, [false; RINGS]);
    card.publish(outcome);
    assert_eq!(card.regs.state(), Some(state));
}
