// SPDX-License-Identifier: GPL-2.0

//! The saved state: it contains everything that a guest can see, and all else is refused.

mod common;

use common::*;
use mgpu_model::{registers::Registers, state::State};
use proptest::prelude::*;

/// Offsets of the function's part of the encoding, from its documentation.
const AT_VRAM_SIZE: usize = 0;
const AT_PICTURE: usize = 4;
const AT_DISPLAY: usize = 16;

/// Bytes of the function's part, and of that of a ring.
const FUNCTION_LEN: usize = 17;
const RING_LEN: usize = 127;

/// The ring that works in most tests, and the offsets of its fields.
const BUSY: usize = 2;
const AT_ENABLED: usize = of(BUSY, 0);
const AT_HALTED: usize = of(BUSY, 1);
const AT_JOB: usize = of(BUSY, 2);
const AT_INTERRUPT: usize = of(BUSY, 3);
const AT_INTERRUPT_ENABLE: usize = of(BUSY, 7);
const AT_BASE: usize = of(BUSY, 11);
const AT_SIZE: usize = of(BUSY, 19);
const AT_HEAD: usize = of(BUSY, 23);
const AT_TAIL: usize = of(BUSY, 27);
const AT_ERROR: usize = of(BUSY, 31);
const AT_ERROR_INDEX: usize = of(BUSY, 35);
const AT_FAILED: usize = of(BUSY, 39);
const AT_FAILED_INDEX: usize = of(BUSY, 43);
const AT_FENCE: usize = of(BUSY, 47);
const AT_COMMAND: usize = of(BUSY, 55);
const AT_DONE: usize = of(BUSY, 119);
const AT_CRC: usize = of(BUSY, 123);

/// Returns the offset of a field of a ring's part.
const fn of(ring: usize, at: usize) -> usize {
    FUNCTION_LEN + ring * RING_LEN + at
}

fn decode(bytes: &[u8]) -> Result<State, &'static str> {
    State::decode(bytes, VRAM as u32)
}

fn encoded(card: &Card) -> [u8; State::LEN] {
    card.regs.state().unwrap().encode()
}

/// Returns a card with everything in use: a display, a fence, an error, a failed command, and `cmd`
/// half-way, at index 2 of a ring.
fn busy_with(ring: usize, cmd: Cmd) -> Card {
    let mut card = Card::started_on(ring);
    card.write(DISPLAY_WIDTH, 64);
    card.write(DISPLAY_HEIGHT, 48);
    card.write(DISPLAY_STRIDE, 256);
    card.write(DISPLAY_CONTROL, 1);
    card.scratch.truncate(100);
    let unknown = Cmd { opcode: 9, ..nop() };
    card.submit(&[fence(DATA, 0x0123_4567_89ab_cdef), unknown, cmd, nop()]);
    for _ in 0..5 {
        card.step();
    }
    card
}

fn busy() -> Card {
    busy_with(BUSY, crc32c(SRC_VRAM, DATA, 0, 250))
}

/// Returns the decoder's answer to a busy card's state with one 32-bit field changed.
fn answer(at: usize, value: u32) -> &'static str {
    let mut bytes = encoded(&busy());
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    decode(&bytes).err().unwrap_or("accepted")
}

/// Returns the decoder's answer to a busy card's state with one byte changed.
fn answer_to_byte(at: usize, value: u8) -> &'static str {
    let mut bytes = encoded(&busy());
    bytes[at] = value;
    decode(&bytes).err().unwrap_or("accepted")
}

#[test]
fn the_encoding_is_the_documented_one() {
    let mut expected = Vec::new();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut put = |bytes: Vec<u8>| expected.extend(bytes);
    put(words(&[VRAM as u32, 64, 48, 256]));
    put(vec![1]);
    for ring in 0..RINGS {
        if ring != BUSY {
            put(vec![0; 3]);
            put(words(&[0; 7]));
            put(words(&[0, NO_INDEX, 0, NO_INDEX]));
            put(vec![0; 8 + 64 + 8]);
            continue;
        }
        let base = base(ring);
        put(vec![1, 0, 1]);
        put(words(&[INT_FENCE | INT_ERROR, INT_FENCE | INT_ERROR]));
        put(words(&[base as u32, (base >> 32) as u32, SLOTS, 2, 4]));
        put(words(&[E_OPCODE, 1, E_OPCODE, 1]));
        put(words(&[0x89ab_cdef, 0x0123_4567]));
        put(crc32c(SRC_VRAM, DATA, 0, 250).bytes().to_vec());
        let crc = ::crc32c::crc32c(&busy().vram.bytes[..100]);
        put(words(&[100, crc]));
    }
    assert_eq!(encoded(&busy())[..], expected);
}

#[test]
fn the_state_after_power_on_is_nearly_all_zero() {
    let mut expected = [0; State::LEN];
    expected[..4].copy_from_slice(&(VRAM as u32).to_le_bytes());
    for ring in 0..RINGS {
        for at in [AT_ERROR_INDEX, AT_FAILED_INDEX] {
            expected[of(ring, at - of(BUSY, 0))..][..4].fill(0xff);
        }
    }
    assert_eq!(encoded(&Card::new()), expected);
}

#[test]
fn each_field_out_of_range_is_refused_with_its_own_reason() {
    for (at, value, reason) in [
        (AT_VRAM_SIZE, 0, "VRAM of another size"),
        (AT_VRAM_SIZE, 2 * VRAM as u32, "VRAM of another size"),
        (AT_INTERRUPT, 4, "unknown interrupts"),
        (AT_INTERRUPT_ENABLE, 1 << 31, "unknown interrupts"),
        (AT_BASE, 32, "an enabled ring of bad geometry"),
        (AT_SIZE, 0, "an enabled ring of bad geometry"),
        (AT_SIZE, 8192, "an enabled ring of bad geometry"),
        (AT_SIZE, 4, "an index beyond the ring"),
        (AT_HEAD, SLOTS, "an index beyond the ring"),
        (AT_TAIL, u32::MAX, "an index beyond the ring"),
        (AT_ERROR, 9, "an unknown error"),
        (AT_ERROR, 0, "an error with an index that it cannot have"),
        (
            AT_ERROR,
            E_DISPLAY,
            "an error with an index that it cannot have",
        ),
        (
            AT_ERROR_INDEX,
            4096,
            "an error with an index that it cannot have",
        ),
        (
            AT_ERROR_INDEX,
            NO_INDEX,
            "an error with an index that it cannot have",
        ),
        (AT_FAILED, 15, "an unknown error"),
        (
            AT_FAILED,
            E_RING_READ,
            "a fence status that is no command's",
        ),
        (
            AT_FAILED_INDEX,
            4096,
            "an error with an index that it cannot have",
        ),
        (AT_PICTURE, 0, "an enabled display of bad geometry"),
        (AT_PICTURE + 4, 1025, "an enabled display of bad geometry"),
        (AT_PICTURE + 8, 255, "an enabled display of bad geometry"),
        (AT_COMMAND, 9, "a command in progress that is not valid"),
        (
            AT_COMMAND + 16,
            VRAM as u32,
            "a command in progress that is not valid",
        ),
        (
            AT_COMMAND + 24,
            0,
            "a command in progress that is not valid",
        ),
        (
            AT_COMMAND + 24,
            100,
            "a command that is further than its end",
        ),
        (AT_DONE, 250, "a command that is further than its end"),
        (AT_DONE, u32::MAX, "a command that is further than its end"),
        (AT_DONE, 0, "a checksum of nothing"),
    ] {
        assert_eq!(answer(at, value), reason, "{value:#x} at {at}");
    }
    for at in [AT_ENABLED, AT_HALTED, AT_DISPLAY, AT_JOB] {
        assert_eq!(answer_to_byte(at, 2), "a flag that is neither 0 nor 1");
        assert_eq!(answer_to_byte(at, 0xff), "a flag that is neither 0 nor 1");
    }
    assert_eq!(
        answer_to_byte(AT_ENABLED, 0),
        "progress in a ring that is not enabled"
    );
    assert_eq!(
        answer_to_byte(AT_JOB, 0),
        "traces of a command that does not exist"
    );
}

#[test]
fn each_field_in_range_is_accepted() {
    for (at, value) in [
        (AT_INTERRUPT, 0),
        (AT_INTERRUPT_ENABLE, 0),
        (AT_BASE, 0),
        (AT_BASE + 4, u32::MAX),
        (AT_SIZE, 4096),
        (AT_HEAD, SLOTS - 1),
        (AT_TAIL, 2),
        (AT_ERROR, E_RING_READ),
        (AT_ERROR_INDEX, 4095),
        (AT_FAILED, E_GUEST_WRITE),
        (AT_FAILED_INDEX, 0),
        (AT_FENCE, 0),
        (AT_PICTURE, 1),
        (AT_DONE, 249),
        (AT_CRC, 0),
    ] {
        assert_eq!(answer(at, value), "accepted", "{value:#x} at {at}");
    }
    assert_eq!(answer_to_byte(AT_HALTED, 1), "accepted");
    assert_eq!(answer_to_byte(AT_DISPLAY, 0), "accepted");
}

#[test]
fn a_ring_that_is_not_enabled_has_nothing_in_progress() {
    let at_zero = |mut bytes: [u8; State::LEN]| {
        bytes[AT_ENABLED] = 0;
        bytes[AT_HEAD..AT_ERROR].fill(0);
        bytes
    };
    let bytes = at_zero(encoded(&busy()));
    assert_eq!(decode(&bytes), Err("a command without a ring"));
    let mut card = Card::started_on(BUSY);
    card.submit(&[Cmd { opcode: 9, ..nop() }]);
    card.run();
    let bytes = at_zero(encoded(&card));
    assert_eq!(decode(&bytes), Err("a failed command without a ring"));
    let mut bytes = encoded(&Card::new());
    bytes[AT_HALTED] = 1;
    assert_eq!(
        decode(&bytes),
        Err("progress in a ring that is not enabled")
    );
}

#[test]
fn a_failed_command_is_one_of_the_ring() {
    let card = busy();
    let (state, size) = (encoded(&card), card.read(RING_SIZE));
    let with_index = |index: u32| {
        let mut bytes = state;
        bytes[AT_FAILED_INDEX..][..4].copy_from_slice(&index.to_le_bytes());
        decode(&bytes).map(drop)
    };
    assert_eq!(with_index(size - 1), Ok(()));
    assert_eq!(with_index(size), Err("a failed command beyond the ring"));
}

#[test]
fn a_command_without_a_checksum_has_none() {
    let mut bytes = encoded(&busy_with(BUSY, fill(DST_VRAM, 0, 250, 0)));
    assert!(decode(&bytes).is_ok());
    bytes[AT_CRC] = 1;
    assert_eq!(decode(&bytes), Err("a checksum of nothing"));
}

#[test]
fn a_state_of_another_length_is_refused() {
    let mut bytes = encoded(&busy()).to_vec();
    bytes.push(0);
    for len in (0..=State::LEN + 1).filter(|&len| len != State::LEN) {
        assert_eq!(decode(&bytes[..len]), Err("another length than a device's"));
    }
}

/// Generates a card at any point of some work.
fn used_card() -> impl Strategy<Value = Card> {
    let cmds = prop::collection::vec(any_good(), 1..8);
    let any = (cmds, 0..40usize, 1..3000usize, any_ring());
    any.prop_map(|(cmds, steps, scratch, ring)| {
        let mut card = busy_with(ring, fill(DST_VRAM, 0, 250, 0));
        card.scratch.resize(scratch, 0);
        card.submit(&cmds);
        for _ in 0..steps {
            card.step();
        }
        card
    })
}

/// Checks that a card with any state finishes its work and can be saved again. The memories assert
/// that nothing is accessed out of bounds.
fn survives(card: &mut Card, bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(state) = decode(bytes) else {
        return Ok(());
    };
    prop_assert_eq!(&state.encode()[..], bytes, "a second encoding of one state");
    card.regs = Registers::new(VRAM as u32);
    card.restore(state);
    for ring in 0..RINGS {
        card.ring = ring;
        for _ in 0..200 {
            card.step();
        }
    }
    prop_assert!(decode(&encoded(card)).is_ok());
    card.write_at(CONTROL, RESET);
    prop_assert_eq!(card.regs.state(), Registers::new(VRAM as u32).state());
    Ok(())
}

#[test]
fn every_mutation_of_a_byte_is_refused_or_gives_a_device_that_works() {
    let cmds = [
        crc32c(SRC_VRAM, DATA, 0, 250),
        fill(0, DATA + 5, 250, 0),
        copy(DST_VRAM | SRC_VRAM, 50, 0, 250),
        blit(DST_VRAM, (0, 300), (DATA, 200), (150, 3)),
        fence(DATA, 1),
    ];
    for (ring, cmd) in (0..RINGS).cycle().zip(cmds) {
        let mut card = busy_with(ring, cmd);
        let good = encoded(&card);
        for at in (0..FUNCTION_LEN).chain(of(ring, 0)..of(ring + 1, 0)) {
            for value in 0..=255 {
                let mut bytes = good;
                bytes[at] = value;
                survives(&mut card, &bytes).unwrap();
            }
        }
    }
}

proptest! {
    #[test]
    fn every_state_of_a_card_is_accepted_and_has_one_encoding(card in used_card()) {
        let bytes = encoded(&card);
        prop_assert_eq!(decode(&bytes).unwrap(), card.regs.state().unwrap());
        prop_assert_eq!(decode(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn mutations_of_several_bytes_are_refused_or_give_a_device_that_works(
        mut card in used_card(),
        mutations in prop::collection::vec((0..State::LEN, any::<u8>()), 1..6),
    ) {
        let mut bytes = encoded(&card);
        for (at, value) in mutations {
            bytes[at] = value;
        }
        survives(&mut card, &bytes)?;
    }

    #[test]
    fn random_bytes_behind_a_right_size_are_refused_or_give_a_device_that_works(
        random in prop::collection::vec(any::<u8>(), RING_LEN - 3),
        flags: [bool; 4],
        ring in any_ring(),
    ) {
        let mut bytes = encoded(&Card::new());
        bytes[AT_DISPLAY] = flags[3].into();
        let [enabled, halted, job, _] = flags.map(u8::from);
        bytes[of(ring, 0)..][..3].copy_from_slice(&[enabled, halted, job]);
        bytes[of(ring, 3)..of(ring + 1, 0)].copy_from_slice(&random);
        survives(&mut Card::new(), &bytes)?;
    }
}
