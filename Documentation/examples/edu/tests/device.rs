// SPDX-License-Identifier: GPL-2.0
//! The edu device on the host: factorials and copies, and moves in the middle of both.

use edu_model::Edu;
use mdev_model::testing::{bend_each_byte, move_at_each_step, Machine};

const FACTORIAL: u64 = 0x08;
const STATUS: u64 = 0x20;
const INTERRUPT: u64 = 0x24;
const ACKNOWLEDGE: u64 = 0x64;
const SOURCE: u64 = 0x80;
const DESTINATION: u64 = 0x88;
const COUNT: u64 = 0x90;
const COMMAND: u64 = 0x98;
const BUFFER: u64 = 0x40000;

fn compute(machine: &mut Machine<Edu>) {
    machine.write(STATUS, 0x80u32);
    machine.write(FACTORIAL, 20_001u32);
    machine.run(10);
}

fn copy(machine: &mut Machine<Edu>) {
    let pattern: Vec<u8> = (0..=255).cycle().take(4096).collect();
    machine.memory()[0x1000..0x2000].copy_from_slice(&pattern);
    for (source, destination, command) in [(0x1000, BUFFER, 5u32), (BUFFER, 0x2000, 7)] {
        machine.write(SOURCE, source);
        machine.write(DESTINATION, destination);
        machine.write(COUNT, 4096u64);
        machine.write(COMMAND, command);
        machine.run(2);
        assert_eq!(machine.read::<u32>(INTERRUPT), 0x100);
        machine.write(ACKNOWLEDGE, 0x100u32);
    }
    assert_eq!(machine.memory()[0x2000..0x3000], pattern);
}

#[test]
fn a_factorial_is_computed_in_steps_and_ends_with_an_interrupt() {
    let mut machine = Machine::<Edu>::new(0);
    machine.write(FACTORIAL, 7u32);
    assert_eq!(machine.read::<u32>(STATUS), 1);
    machine.run(1);
    assert_eq!(machine.read::<u32>(FACTORIAL), 5040);
    assert_eq!(machine.interrupts(), 0, "nobody asked for one");
    compute(&mut machine);
    assert_eq!(machine.interrupts(), 1);
    assert_eq!(machine.read::<u32>(INTERRUPT), 1);
}

#[test]
fn work_goes_on_after_a_move_at_each_of_its_steps() {
    assert_eq!(move_at_each_step(0, compute), 5);
    assert_eq!(move_at_each_step(0x4000, copy), 2);
}

#[test]
fn a_copy_outside_of_the_buffer_or_of_memory_ends() {
    let mut machine = Machine::<Edu>::new(0x1000);
    for (source, destination, count) in [
        (0u64, BUFFER - 1, 1u64),
        (0, BUFFER + 4095, 2),
        (0, u64::MAX, u64::MAX),
        (0x1000, BUFFER, 1),
        (0, BUFFER, 4097),
    ] {
        machine.write(SOURCE, source);
        machine.write(DESTINATION, destination);
        machine.write(COUNT, count);
        machine.write(COMMAND, 1u32);
        machine.run(2);
        assert_eq!(machine.read::<u32>(COMMAND), 0);
    }
}

#[test]
fn a_running_copy_keeps_its_registers() {
    let mut machine = Machine::<Edu>::new(0);
    machine.write(COMMAND, 1u32);
    machine.write(COUNT, 9u64);
    machine.write(COMMAND, 0u32);
    assert_eq!(machine.read::<u64>(COUNT), 0);
    assert_eq!(machine.read::<u32>(COMMAND), 1);
}

#[test]
fn a_bent_state_is_refused_or_saves_to_the_same_bytes() {
    let mut machine = Machine::<Edu>::new(0x4000);
    machine.write(FACTORIAL, 5u32);
    machine.write(COMMAND, 1u32);
    assert!(bend_each_byte(&machine, 16) > 0);
}
