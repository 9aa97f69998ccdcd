// SPDX-License-Identifier: GPL-2.0
//! Exercise files, which authors write.

use mig_common::exercise::place::{Place, Register, BARS};
use mig_common::exercise::step::Step;
use mig_common::exercise::{Exercise, GuestMemory, VECTORS};

/// A file is refused with a sentence, or is an exercise that can be played.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let exercise = match Exercise::parse(text) {
        Ok(exercise) => exercise,
        Err(error) => {
            assert!(!format!("{error:#}").is_empty());
            return;
        }
    };
    assert!(!exercise.works.is_empty());
    for (index, memory) in exercise.memory.iter().enumerate() {
        let end = memory.iova.0.checked_add(memory.size.0 - 1);
        let end = end.expect("memory that ends");
        let apart = |other: &GuestMemory| {
            end < other.iova.0 || other.iova.0 + (other.size.0 - 1) < memory.iova.0
        };
        assert!(exercise.memory[..index].iter().all(apart), "it overlaps");
    }
    for work in &exercise.works {
        assert!(!work.steps.is_empty());
        work.steps.iter().for_each(|step| check(step, &exercise));
    }
    for condition in &exercise.rest {
        check_register(&condition.register);
    }
    for legal in &exercise.legal {
        check_register(&legal.register);
    }
}

fn check(step: &Step, exercise: &Exercise) {
    assert!(!step.to_string().is_empty());
    match step {
        Step::Write(register, _) => check_register(register),
        Step::Read(wanted) | Step::Wait(wanted) => {
            check_register(&wanted.register);
            assert_eq!(wanted.value & !wanted.mask, 0, "a value that never comes");
        }
        Step::Interrupt(vector, cause) => {
            assert!(*vector < VECTORS as usize);
            if let Some(cause) = cause {
                check_register(&cause.register);
            }
        }
        Step::Fill(at, size, _) => check_place(*at, *size, exercise),
        Step::Words(at, words) => check_place(*at, 4 * words.len(), exercise),
        Step::Equal(left, right, size) => {
            check_place(*left, *size, exercise);
            check_place(*right, *size, exercise);
        }
    }
}

fn check_register(register: &Register) {
    assert!(register.bar < BARS && register.offset % register.width as u64 == 0);
    let last = register.offset.checked_add(register.width as u64 - 1);
    assert!(last.is_some(), "a register that ends");
}

/// Memory is as long as its file says; the device says how long a BAR is.
fn check_place(place: Place, size: usize, exercise: &Exercise) {
    match place {
        Place::Bar(bar, offset) => {
            assert!(bar < BARS && offset.checked_add(size as u64).is_some());
        }
        Place::Memory(index, offset) => {
            let end = offset.checked_add(size as u64);
            let most = exercise.memory[index].size.0;
            assert!(end.is_some_and(|end| end <= most), "beyond the memory");
        }
    }
}
