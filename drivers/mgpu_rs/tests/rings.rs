// SPDX-License-Identifier: GPL-2.0

//! Four rings at once: each does what it does alone, whatever the others do, and wherever the
//! device is meanwhile.

mod common;

use common::*;
use mgpu_model::{engine::Outcome, registers::Registers};
use proptest::prelude::*;

/// What happens next to a card whose rings work.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// A ring's engine takes a step, or gives back the one that it has.
    Step(usize),
    /// The device moves, once no step is out.
    Move,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        9 => any_ring().prop_map(Turn::Step),
        1 => Just(Turn::Move),
    ]
}

/// Generates some work for each ring, in the ring's area.
fn four_works() -> impl Strategy<Value = [Vec<Cmd>; RINGS]> {
    prop::array::uniform4(any_work(10)).prop_map(|works| {
        let mut ring = 0..;
        works.map(|work| {
            let ring = ring.next().unwrap();
            work.into_iter().map(|cmd| cmd.in_area(ring)).collect()
        })
    })
}

/// Creates a card that has the work of each ring before it.
fn card_with(works: &[Vec<Cmd>; RINGS], scratch: usize) -> Card {
    let mut card = Card::of_four();
    card.scratch.truncate(scratch);
    for (ring, work) in works.iter().enumerate() {
        card.ring = ring;
        card.submit(work);
    }
    card
}

/// The steps that are out, by ring.
#[derive(Default)]
struct Out([Option<Outcome>; RINGS]);

impl Out {
    /// Takes and executes a step of the ring, or publishes the one that is out. Returns `false` if
    /// there is none.
    fn turn(&mut self, card: &mut Card, ring: usize) -> bool {
        card.ring = ring;
        if let Some(outcome) = self.0[ring].take() {
            card.publish(outcome);
            // The guest's handler, so that each cause sends a message.
            card.write(INTERRUPT, INT_FENCE | INT_ERROR);
            return true;
        }
        self.0[ring] = card.take().map(|work| card.execute(work));
        self.0[ring].is_some()
    }

    /// Publishes all that is out, as the SDK waits for it.
    fn settle(&mut self, card: &mut Card) {
        for ring in 0..RINGS {
            if self.0[ring].is_some() {
                self.turn(card, ring);
            }
        }
    }
}

/// Runs all rings to their ends, by the turns as long as there is work.
fn run(card: &mut Card, turns: &[Turn]) {
    let mut out = Out::default();
    // A ring that `turns` never names would not come to its end.
    let rest: Vec<_> = (0..RINGS).map(Turn::Step).collect();
    let mut done = [false; RINGS];
    for turn in turns.iter().chain(&rest).cycle() {
        match *turn {
            Turn::Step(ring) => done[ring] = !out.turn(card, ring),
            Turn::Move => {
                out.settle(card);
                card.migrate();
            }
        }
        if done == [true; RINGS] {
            return;
        }
    }
}

/// Runs one ring after the other to its end.
fn run_in_turn(card: &mut Card) {
    let mut out = Out::default();
    for ring in 0..RINGS {
        while out.turn(card, ring) {}
    }
}

/// Returns what a guest can see of a ring's registers.
fn visible_of(card: &Card, ring: usize) -> Vec<u32> {
    let first = ring as u64 * RING_STRIDE;
    let offsets = (first..first + RING_STRIDE).step_by(4);
    offsets.map(|offset| card.regs.read(offset)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn rings_that_work_at_once_while_the_device_moves_lose_nothing_and_do_nothing_twice(
        works in four_works(),
        scratch in 200..9000usize,
        turns in prop::collection::vec(any_turn(), 1..60),
    ) {
        let mut alone = card_with(&works, scratch);
        run_in_turn(&mut alone);
        let mut at_once = card_with(&works, scratch);
        run(&mut at_once, &turns);
        prop_assert_eq!(at_once.visible(), alone.visible());
        prop_assert_eq!(at_once.sent, alone.sent);
        prop_assert!(at_once.guest == alone.guest, "guest memory or its writes differ");
        prop_assert!(at_once.vram == alone.vram, "VRAM or its writes differ");
    }
}

proptest! {
    #[test]
    fn a_reset_of_one_ring_at_any_step_is_not_seen_by_the_others(
        works in four_works(),
        ring in 1..RINGS,
        before in prop::collection::vec(any_ring(), 0..60),
        stops: bool,
    ) {
        let mut expected = card_with(&works, 500);
        run_in_turn(&mut expected);

        let mut card = card_with(&works, 500);
        let mut out = Out::default();
        for ring in before {
            out.turn(&mut card, ring);
        }
        card.ring = ring;
        card.write(CONTROL, if stops { 0 } else { RESET });
        let is_out = out.0[ring].is_some();
        prop_assert_eq!(card.read(STATUS), if is_out { BUSY } else { 0 });
        prop_assert_eq!(card.regs.is_idle(ring), !is_out);
        out.settle(&mut card);
        run(&mut card, &[]);
        if !stops {
            let new = Card::new();
            prop_assert_eq!(visible_of(&card, ring), visible_of(&new, ring));
        }
        for other in (0..RINGS).filter(|&other| other != ring) {
            prop_assert_eq!(visible_of(&card, other), visible_of(&expected, other));
            prop_assert_eq!(card.sent[other], expected.sent[other]);
            let area = DATA + other as u64 * DATA_STRIDE;
            prop_assert!(card.guest.data(area) == expected.guest.data(area), "guest memory");
            let area = other * VRAM..(other + 1) * VRAM;
            prop_assert!(card.vram.writes[area.clone()] == expected.vram.writes[area.clone()]);
            prop_assert!(card.vram.bytes[area.clone()] == expected.vram.bytes[area]);
        }
        card.ring = ring;
        card.write(CONTROL, 0);
        card.start(base(ring), SLOTS);
        card.submit(&[fence(DATA, 42)]);
        card.run();
        prop_assert_eq!(card.fence_at(DATA), (42, 0, NO_INDEX));
    }

    #[test]
    fn a_reset_of_the_function_while_all_rings_work_leaves_nothing(
        works in four_works(),
        before in prop::collection::vec(any_ring(), 0..60),
        by_the_guest: bool,
    ) {
        let mut card = card_with(&works, 500);
        let mut out = Out::default();
        for ring in before {
            out.turn(&mut card, ring);
        }
        if by_the_guest {
            card.write_at(CONTROL, RESET);
        } else {
            card.reset();
        }
        prop_assert_eq!(card.levels, [false; RINGS]);
        let sent = card.sent;
        out.settle(&mut card);
        prop_assert_eq!(card.regs.state(), Registers::new((RINGS * VRAM) as u32).state());
        prop_assert_eq!(card.sent, sent);
    }

    #[test]
    fn a_write_to_one_ring_changes_and_kicks_no_other(
        works in four_works(),
        before in prop::collection::vec(any_ring(), 0..60),
        ring in any_ring(),
        reg in 0..0x40u64,
        value in prop_oneof![0..70u32, any::<u32>()],
    ) {
        // That of the function.
        prop_assume!(4 * reg + ring as u64 * RING_STRIDE != CONTROL);
        let mut card = card_with(&works, 500);
        let mut out = Out::default();
        for ring in before {
            out.turn(&mut card, ring);
        }
        let seen = |card: &Card| {
            let others = (0..RINGS).filter(|&other| other != ring);
            let others = others.map(|other| (card.sent[other], visible_of(card, other)));
            others.collect::<Vec<_>>()
        };
        let expected = seen(&card);
        card.kicked = [false; RINGS];
        card.write_at(4 * reg + ring as u64 * RING_STRIDE, value);
        prop_assert_eq!(seen(&card), expected);
        let kicked_others = (0..RINGS).any(|other| other != ring && card.kicked[other]);
        prop_assert!(!kicked_others);
    }
}

#[test]
fn each_ring_has_a_step_out_while_the_others_have() {
    let mut card = Card::of_four();
    for ring in 0..RINGS {
        card.ring = ring;
        card.submit(&[fence(DATA + 16 * ring as u64, 1 + ring as u64)]);
        card.step();
    }
    let outcomes = [0, 1, 2, 3].map(|ring| {
        card.ring = ring;
        let work = card.take().unwrap();
        assert!(card.take().is_none(), "two steps of one ring at once");
        card.execute(work)
    });
    assert_eq!(card.sent, [0; RINGS]);
    for (ring, outcome) in outcomes.into_iter().enumerate().rev() {
        card.ring = ring;
        card.publish(outcome);
        assert_eq!(card.fence(), 1 + ring as u64);
        for other in 0..RINGS {
            assert_eq!(
                card.sent[other],
                usize::from(other >= ring),
                "vector {other}"
            );
        }
    }
}

#[test]
fn a_ring_that_halts_or_fails_shows_it_alone() {
    for ring in 0..RINGS {
        let mut card = Card::of_four();
        card.ring = ring;
        card.submit(&[Cmd { opcode: 9, ..nop() }]);
        card.run();
        card.write(TAIL, SLOTS);
        for other in 0..RINGS {
            card.ring = other;
            let (status, error) = if other == ring {
                (ENABLED | HALTED, (E_OPCODE, 0))
            } else {
                (ENABLED, (0, NO_INDEX))
            };
            assert_eq!((card.read(STATUS), card.error()), (status, error));
            assert_eq!(card.messages(), usize::from(other == ring));
        }
        for other in (0..RINGS).filter(|&other| other != ring) {
            card.ring = other;
            card.submit(&[fence(DATA, 7)]);
            card.run();
            // The failure of the other ring is not reported.
            assert_eq!(card.fence_at(DATA), (7, 0, NO_INDEX));
        }
    }
}

#[test]
fn an_error_of_the_display_is_shown_by_ring_0() {
    let mut card = Card::of_four();
    card.write_at(DISPLAY_CONTROL, ENABLE);
    card.ring = 0;
    assert_eq!(card.error(), (E_DISPLAY, NO_INDEX));
    assert_eq!(card.sent, [1, 0, 0, 0]);
    card.ring = 1;
    assert_eq!(card.error(), (0, NO_INDEX));
}
