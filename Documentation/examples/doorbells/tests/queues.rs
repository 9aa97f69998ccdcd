// SPDX-License-Identifier: GPL-2.0
//! The queues of the card with doorbells, on the host.

use doorbells_model::{Card, QUEUES, REGISTERS, SLOTS};
use mdev_model::record::{Field, Record};
use mdev_model::registers;

fn register(card: &Card, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    registers::read(REGISTERS, card, offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

#[test]
fn a_queue_takes_what_is_before_its_tail_around_the_ring() {
    let mut card = Card::ZERO;
    // The number in each slot is its index.
    let slot = |index: usize| index as u32;
    assert!(card.take(2, 3, slot));
    let first = 2 * SLOTS as u32;
    assert_eq!(register(&card, 0x20), 3 * first + 3);
    assert_eq!(register(&card, 0x28), 3);
    assert_eq!(register(&card, 0x40), 0b100);
    assert!(
        card.take(2, 1, slot),
        "from 3 to the end, and the first one"
    );
    let all: u32 = (0..SLOTS as u32).map(|index| first + index).sum();
    assert_eq!(register(&card, 0x20), all + first);
    assert_eq!(register(&card, 0x28), 1);
}

#[test]
fn a_tail_that_is_no_slot_or_has_not_moved_takes_nothing() {
    let mut card = Card::ZERO;
    for tail in [0, SLOTS as u32, u32::MAX] {
        assert!(!card.take(0, tail, |_| panic!("a slot was read")), "{tail}");
        assert_eq!(card.pending(|_| tail), 0, "{tail}");
    }
    assert_eq!(register(&card, 0x40), 0);
}

#[test]
fn a_queue_is_pending_until_it_has_caught_up() {
    let mut card = Card::ZERO;
    let tails = [1, 0, 5, 0];
    assert_eq!(card.pending(|queue| tails[queue]), 0b101);
    for (queue, tail) in tails.into_iter().enumerate() {
        card.take(queue, tail, |_| 0);
    }
    assert_eq!(card.pending(|queue| tails[queue]), 0);
}

#[test]
fn ones_acknowledge() {
    let mut card = Card::ZERO;
    (0..QUEUES).for_each(|queue| assert!(card.take(queue, 1, |_| 0)));
    registers::write(REGISTERS, &mut card, 0x40, &0b0101u32.to_le_bytes());
    assert_eq!(register(&card, 0x40), 0b1010);
}

#[test]
fn a_state_that_the_card_cannot_have_is_refused() {
    let mut card = Card::ZERO;
    assert_eq!(card.check(), Ok(()));
    (0..QUEUES).for_each(|queue| assert!(card.take(queue, 9, |_| 0)));
    let bytes = card.encode();
    assert!(Card::decode(&bytes).is_ok());
    // The head of queue 1, and the bits of the queues.
    for (at, bad) in [(12 + 9, 1), (4 * 12, 0x10)] {
        let mut bytes = card.encode();
        bytes[at] = bad;
        assert!(Card::decode(&bytes).is_err(), "byte {at}");
    }
}
