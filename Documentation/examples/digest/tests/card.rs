// SPDX-License-Identifier: GPL-2.0
//! The digest card's registers and ring, on the host.

use digest_model::{Card, Next, Request, OLDER, REGISTERS};
use mdev_model::record::{Field, Record};
use mdev_model::{field, registers};

const ENTRIES: u64 = 0x08;
const HEAD: u64 = 0x0c;
const TAIL: u64 = 0x10;
const PENDING: u64 = 0x14;
const STATUS: u64 = 0x18;
const DROPPED: u64 = 0x1c;

fn read(card: &Card, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    registers::read(REGISTERS, card, offset, &mut bytes);
    u32::from_le_bytes(bytes)
}

fn write(card: &mut Card, offset: u64, value: u32) {
    registers::write(REGISTERS, card, offset, &value.to_le_bytes());
}

/// A card with a ring of four entries.
fn card() -> Card {
    let mut card = Card::ZERO;
    registers::write(REGISTERS, &mut card, 0, &0x1_0000_0010u64.to_le_bytes());
    write(&mut card, ENTRIES, 4);
    card
}

#[test]
fn a_request_is_as_in_c() {
    let offsets = [
        field!(Request, len).offset(),
        field!(Request, status).offset(),
        field!(Request, sum).offset(),
    ];
    assert_eq!((offsets, Request::LEN), ([8, 12, 16], 24));
}

#[test]
fn requests_are_served_in_order_around_the_ring() {
    let mut card = card();
    assert_eq!(card.next(), None);
    for (tail, indices) in [(3, &[0usize, 1, 2][..]), (1, &[3, 0])] {
        write(&mut card, TAIL, tail);
        assert_eq!(read(&card, PENDING), indices.len() as u32);
        for index in indices {
            assert!(!card.interrupt());
            let next = Next {
                ring: 0x1_0000_0010,
                entries: 4,
                index: *index,
            };
            assert_eq!(card.next(), Some(next));
            card.finish(true);
        }
        assert_eq!((card.next(), read(&card, HEAD)), (None, tail));
        assert_eq!(read(&card, STATUS), 1);
        write(&mut card, STATUS, 1);
    }
}

#[test]
fn a_tail_that_the_ring_has_not_is_ignored() {
    let mut card = card();
    write(&mut card, TAIL, 4);
    assert_eq!(card.next(), None);
    let mut off = Card::ZERO;
    write(&mut off, TAIL, 0);
    assert_eq!(off, Card::ZERO);
}

#[test]
fn a_ring_with_requests_stays_where_it_is() {
    let mut card = card();
    write(&mut card, TAIL, 1);
    let before = card;
    registers::write(REGISTERS, &mut card, 0, &[0; 12]);
    assert_eq!(card, before);
    card.finish(true);
    write(&mut card, ENTRIES, 1025);
    assert_eq!(read(&card, ENTRIES), 4);
    write(&mut card, ENTRIES, 1024);
    assert_eq!((read(&card, HEAD), read(&card, TAIL)), (0, 0));
}

#[test]
fn a_ring_that_is_lost_has_no_more_requests() {
    let mut card = card();
    write(&mut card, TAIL, 3);
    card.finish(false);
    assert_eq!((card.next(), read(&card, STATUS)), (None, 3));
    assert_eq!(read(&card, DROPPED), 3);
    assert!(card.interrupt());
}

#[test]
fn a_state_of_version_1_is_one_of_today() {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&0x1_0000_0010u64.to_le_bytes());
    (bytes[8], bytes[12], bytes[16], bytes[20]) = (4, 1, 3, 1);
    let card = OLDER[0].load(&bytes).unwrap();
    let found = [ENTRIES, HEAD, TAIL, STATUS, DROPPED].map(|at| read(&card, at));
    assert_eq!(found, [4, 1, 3, 1, 0]);
    // What is no state of today is refused, and so is another length.
    bytes[16] = 4;
    assert!(OLDER[0].load(&bytes).is_err());
    assert!(OLDER[0].load(&card.encode()).is_err());
}

#[test]
fn a_state_that_the_card_cannot_have_is_refused() {
    let mut card = card();
    write(&mut card, TAIL, 3);
    let bytes = card.encode();
    assert_eq!(Card::decode(&bytes), Ok(card));
    // Entries, head, tail, status.
    for (at, bad) in [(9, 5), (12, 4), (16, 4), (20, 4), (8, 3)] {
        let mut bytes = bytes;
        bytes[at] = bad;
        assert!(Card::decode(&bytes).is_err(), "byte {at}");
    }
}
