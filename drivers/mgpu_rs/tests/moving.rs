// SPDX-License-Identifier: GPL-2.0

//! The device is migrated and reset between any two steps.

mod common;

use common::*;
use mgpu_model::registers::Registers;
use proptest::prelude::*;

fn work() -> impl Strategy<Value = Vec<Cmd>> {
    let bad = prop_oneof![
        Just(Cmd { opcode: 9, ..nop() }),
        Just(fill(0, 0, 100, 0)),
        Just(copy(DST_VRAM, 0, 0x1000, 100)),
    ];
    let any = prop_oneof![9 => any_good(), 1 => bad];
    prop::collection::vec(any, 1..12)
}

/// Returns everything that a guest can see of the registers.
fn visible(card: &Card) -> Vec<u32> {
    (0..0x1000).step_by(4).map(|reg| card.read(reg)).collect()
}

proptest! {
    #[test]
    fn a_device_that_moves_between_steps_does_the_same_and_nothing_twice(
        cmds in work(),
        scratch in 1..6000usize,
        moves in prop::collection::vec(any::<bool>(), 1..50),
    ) {
        let mut stays = Card::started();
        stays.scratch.truncate(scratch);
        stays.submit(&cmds);
        let mut moved = Card::started();
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
        prop_assert_eq!(visible(&moved), visible(&stays));
        prop_assert!(moved.guest == stays.guest, "guest memory or its writes differ");
        prop_assert!(moved.vram == stays.vram, "VRAM or its writes differ");
    }

    #[test]
    fn a_reset_at_any_step_leaves_a_device_as_after_power_on(
        cmds in work(),
        steps in 0..40usize,
        amid_a_step: bool,
        by_the_guest: bool,
    ) {
        let mut card = Card::started();
        card.scratch.truncate(500);
        card.submit(&cmds);
        for _ in 0..steps {
            card.step();
        }
        let out = if amid_a_step { card.take() } else { None };
        let out = out.map(|work| card.execute(work));
        if by_the_guest {
            card.write(CONTROL, RESET | ENABLE);
        } else {
            card.regs.reset();
        }
        prop_assert_eq!(card.read(STATUS), if out.is_some() { BUSY } else { 0 });
        let (guest, vram) = (card.guest.clone(), card.vram.clone());
        let messages = card.messages;
        if let Some(outcome) = out {
            prop_assert!(!card.regs.is_idle());
            card.publish(outcome);
        }
        prop_assert_eq!(card.run(), 0);
        prop_assert_eq!(card.regs.state(), Registers::new(VRAM as u32).state());
        prop_assert_eq!(card.messages, messages);
        prop_assert!(card.guest == guest && card.vram == vram);

        card.start(RING, SLOTS);
        card.submit(&[fence(DATA, 42)]);
        card.run();
        prop_assert_eq!(card.fence(), 42);
        prop_assert_eq!(card.fence_at(DATA), (42, 0, NO_INDEX));
    }
}

#[test]
fn there_is_no_state_to_save_while_a_step_is_out() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1)]);
    let work = card.take().unwrap();
    assert!(!card.regs.is_idle());
    assert_eq!(card.regs.state(), None);
    let outcome = card.execute(work);
    card.publish(outcome);
    assert!(card.regs.is_idle());
    assert!(card.regs.state().is_some());
}

#[test]
fn an_interrupt_that_is_pending_at_the_source_is_pending_at_the_destination() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1)]);
    card.run();
    card.migrate();
    assert!(card.regs.interrupt_level());
    card.write(INTERRUPT, INT_FENCE);
    card.migrate();
    assert!(!card.regs.interrupt_level());
}

#[test]
fn what_a_step_comes_to_is_dropped_by_registers_that_were_restored_meanwhile() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1)]);
    card.step();
    let state = Card::started().regs.state().unwrap();
    let work = card.take().unwrap();
    let outcome = card.execute(work);
    let effects = card.regs.restore(state);
    assert!(!effects.kick && !effects.message);
    card.publish(outcome);
    assert_eq!(card.regs.state(), Some(state));
}
