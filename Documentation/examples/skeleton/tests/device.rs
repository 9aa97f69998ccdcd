// SPDX-License-Identifier: GPL-2.0
//! The device on the host: what a guest sees, moves in the middle of work, and bent states.
//!
//! `cargo test` runs this in a second; the rest needs the lab.

use mdev_model::testing::{bend_each_byte, move_at_each_step, Machine};
use skeleton_model::Skeleton;

const LAST: u64 = 0x04;
const STATUS: u64 = 0x08;
const EVENTS: u64 = 0x0c;
const SUM: u64 = 0x10;

fn add_up(machine: &mut Machine<Skeleton>) {
    machine.write(LAST, 20_000u32);
    machine.run(10);
    assert_eq!(machine.read::<u64>(SUM), 200_010_000);
}

#[test]
fn a_sum_ends_with_an_interrupt_that_the_guest_clears() {
    let mut machine = Machine::<Skeleton>::new(0);
    add_up(&mut machine);
    assert_eq!(machine.read::<u32>(STATUS), 0);
    assert_eq!(machine.interrupts(), 1);
    machine.write(EVENTS, 1u32);
    assert_eq!(machine.read::<u32>(EVENTS), 0);
}

#[test]
fn a_sum_that_is_under_way_is_not_disturbed() {
    let mut machine = Machine::<Skeleton>::new(0);
    machine.write(LAST, 20_000u32);
    machine.step();
    machine.write(LAST, 1u32);
    assert_eq!(machine.read::<u32>(LAST), 20_000);
}

#[test]
fn a_sum_that_would_take_too_long_is_not_started() {
    let mut machine = Machine::<Skeleton>::new(0);
    machine.write(LAST, (1u32 << 21) + 1);
    assert!(!machine.step());
    assert_eq!(machine.read::<u32>(LAST), 0);
}

#[test]
fn the_sum_of_nothing_is_there_at_once() {
    let mut machine = Machine::<Skeleton>::new(0);
    machine.write(LAST, 0u32);
    assert_eq!(machine.read::<u32>(EVENTS), 1);
    assert!(!machine.step());
}

#[test]
fn work_goes_on_after_a_move_at_each_of_its_steps() {
    assert_eq!(move_at_each_step(0, add_up), 5);
}

#[test]
fn a_bent_state_is_refused_or_saves_to_the_same_bytes() {
    let mut machine = Machine::<Skeleton>::new(0);
    machine.write(LAST, 20_000u32);
    machine.step();
    assert!(bend_each_byte(&machine, 16) > 0);
}
