// SPDX-License-Identifier: GPL-2.0

//! The register file: identity, interrupts, display, and reset.

mod common;

use common::*;
use mgpu_model::{display::Picture, registers::Registers};

#[test]
fn registers_read_as_documented_after_power_on() {
    let regs = Registers::new(16 << 20);
    for offset in 0..0x1000 {
        let expected = match offset {
            0x00 => u32::from_le_bytes(*b"mgpu"),
            0x04 => 0x0001_0001,
            0x08 => 0b111,
            0x0c => 16 << 20,
            // Of each ring.
            0x24 | 0x124 | 0x224 | 0x324 => NO_INDEX,
            0x48 => 4,
            0x60 => u32::from_le_bytes(*b"XR24"),
            _ => 0,
        };
        assert_eq!(regs.read(offset), expected, "{offset:#x}");
    }
}

#[test]
fn no_write_to_an_offset_without_a_register_has_an_effect() {
    let of_a_ring = [
        CONTROL,
        INTERRUPT,
        INTERRUPT_ENABLE,
        ERROR,
        RING_BASE_LO,
        RING_BASE_HI,
        RING_SIZE,
        TAIL,
    ];
    let mut writable = vec![
        DISPLAY_CONTROL,
        DISPLAY_WIDTH,
        DISPLAY_HEIGHT,
        DISPLAY_STRIDE,
    ];
    for ring in 0..RINGS as u64 {
        writable.extend(of_a_ring.map(|reg| reg + ring * RING_STRIDE));
    }
    let mut card = Card::of_four();
    let before = card.regs.state();
    let far = [0x1_0000_0000, u64::MAX - 3];
    let offsets = (0..0x1000).chain(far);
    for offset in offsets.filter(|offset| !writable.contains(offset)) {
        card.write_at(offset, u32::MAX);
        assert_eq!(card.regs.state(), before, "{offset:#x}");
    }
    assert_eq!(card.sent, [0; RINGS]);
}

#[test]
fn a_message_is_sent_exactly_when_the_first_unmasked_cause_comes_up() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1)]);
    card.run();
    assert_eq!(card.messages(), 1);
    card.submit(&[fence(DATA, 2), Cmd { opcode: 9, ..nop() }]);
    card.run();
    assert_eq!(card.messages(), 1, "one was pending already");
    assert_eq!(card.read(INTERRUPT), INT_FENCE | INT_ERROR);
    card.write(INTERRUPT, INT_FENCE | INT_ERROR);
    assert_eq!(card.messages(), 1);
    assert!(!card.regs.interrupt_level(card.ring));
    card.submit(&[fence(DATA, 3)]);
    card.run();
    assert_eq!(card.messages(), 2);
}

#[test]
fn acknowledging_one_of_two_causes_sends_a_message_for_the_other() {
    let mut card = Card::started();
    card.submit(&[fence(DATA, 1), Cmd { opcode: 9, ..nop() }]);
    card.run();
    card.write(INTERRUPT, INT_FENCE);
    assert_eq!(card.messages(), 2);
    assert!(card.regs.interrupt_level(card.ring));
    card.write(INTERRUPT, INT_ERROR);
    assert_eq!(card.messages(), 2);
}

#[test]
fn a_masked_cause_is_shown_and_sends_its_message_when_it_is_unmasked() {
    let mut card = Card::started();
    card.write(INTERRUPT_ENABLE, INT_ERROR);
    card.submit(&[fence(DATA, 1)]);
    card.run();
    assert_eq!(card.read(INTERRUPT), INT_FENCE);
    assert!(!card.regs.interrupt_level(card.ring));
    card.write(INTERRUPT_ENABLE, INT_ERROR);
    assert_eq!(card.messages(), 0);
    card.write(INTERRUPT_ENABLE, u32::MAX);
    assert_eq!(card.read(INTERRUPT_ENABLE), INT_FENCE | INT_ERROR);
    assert_eq!(card.messages(), 1);
}

#[test]
fn fences_are_signalled_in_order_and_after_their_memory_is_written() {
    let mut card = Card::started();
    let values = [7, u64::MAX, 1 << 32, 3];
    card.submit(&values.map(|value| fence(DATA, value)));
    let mut seen = vec![0];
    loop {
        let before = card.fence();
        let Some(work) = card.take() else { break };
        let outcome = card.execute(work);
        assert_eq!(card.fence(), before, "signalled before it was published");
        card.publish(outcome);
        if card.fence() != before {
            assert_eq!(card.fence_at(DATA).0, card.fence());
            seen.push(card.fence());
        }
    }
    assert_eq!(seen[1..], values);
}

fn picture_error(width: u32, height: u32, stride: u32) -> u32 {
    let mut card = Card::new();
    card.write(DISPLAY_WIDTH, width);
    card.write(DISPLAY_HEIGHT, height);
    card.write(DISPLAY_STRIDE, stride);
    assert_eq!(card.regs.picture(), None);
    card.write(DISPLAY_CONTROL, 1);
    let (error, index) = card.error();
    assert_eq!(index, NO_INDEX);
    assert_eq!(card.read(DISPLAY_CONTROL), u32::from(error == 0));
    let picture = Picture {
        width,
        height,
        stride,
    };
    assert_eq!(card.regs.picture(), (error == 0).then_some(picture));
    error
}

#[test]
fn the_display_is_enabled_only_with_a_picture_inside_of_vram() {
    // The card has 256 KiB.
    for (width, height, stride) in [
        (1, 1, 4),
        (256, 256, 1024),
        (200, 256, 1024),
        (16384, 1, 65536),
        (1, 16384, 16),
    ] {
        assert_eq!(
            picture_error(width, height, stride),
            0,
            "{width}x{height}/{stride}"
        );
    }
    for (width, height, stride) in [
        (0, 1, 4),
        (1, 0, 4),
        (1, 1, 0),
        (1, 1, 5),
        (2, 1, 4),
        (256, 257, 1024),
        (16385, 1, 65540),
        (1, 16385, 4),
        (1, 1, 0x10_0004),
        (0x4000_0001, 1, 4),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert_eq!(
            picture_error(width, height, stride),
            E_DISPLAY,
            "{width}x{height}/{stride}"
        );
    }
}

#[test]
fn the_picture_cannot_be_changed_while_it_is_shown() {
    let mut card = Card::new();
    for (reg, value) in [
        (DISPLAY_WIDTH, 4),
        (DISPLAY_HEIGHT, 4),
        (DISPLAY_STRIDE, 16),
    ] {
        card.write(reg, value);
    }
    card.write(DISPLAY_CONTROL, 1);
    for reg in [DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_STRIDE] {
        let before = card.read(reg);
        card.write(reg, 99);
        assert_eq!(card.read(reg), before);
    }
    card.write(DISPLAY_CONTROL, 0);
    assert_eq!(card.regs.picture(), None);
    card.write(DISPLAY_WIDTH, 99);
    assert_eq!(card.read(DISPLAY_WIDTH), 99);
}

#[test]
fn stopping_the_ring_abandons_the_command_and_says_when_its_last_access_is_over() {
    let mut card = Card::started();
    card.scratch.truncate(16);
    card.submit(&[fill(DST_VRAM, 0, 64, 0), fence(DATA, 1)]);
    card.step();
    card.step();
    let work = card.take().unwrap();
    card.write(CONTROL, 0);
    assert_eq!(card.read(STATUS), BUSY);
    let outcome = card.execute(work);
    card.publish(outcome);
    assert_eq!(card.read(STATUS), 0);
    assert_eq!(card.run(), 0);
    assert_eq!(card.vram.writes[..64], [[1; 32], [0; 32]].concat());
    assert_eq!(card.read(INTERRUPT), 0);
}

#[test]
fn what_a_step_comes_to_is_dropped_if_the_ring_was_started_anew_meanwhile() {
    for cmd in [
        fence(DATA, 5),
        Cmd { opcode: 9, ..nop() },
        fill(0, 0, 8, 0),
        nop(),
    ] {
        for steps_before in [0, 1] {
            let mut card = Card::started();
            card.submit(&[cmd]);
            for _ in 0..steps_before {
                card.step();
            }
            let Some(work) = card.take() else { continue };
            let outcome = card.execute(work);
            card.write(CONTROL, 0);
            card.start(RING, SLOTS);
            card.submit(&[nop(), nop()]);
            assert!(card.take().is_none(), "the step before is still out");
            card.publish(outcome);
            assert_eq!(card.read(HEAD), 0);
            assert_eq!((card.fence(), card.read(INTERRUPT)), (0, 0));
            card.run();
            assert_eq!(card.read(HEAD), 2);
        }
    }
}
