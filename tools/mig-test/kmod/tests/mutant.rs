// SPDX-License-Identifier: GPL-2.0
//! Tests the workbench of `mutant_rs.rs` without a kernel: its registers, its job, and the
//! encoding of its state.

use mutant_model::defect::Defect;
use mutant_model::device::{round, Failed, Step, Workbench};
use mutant_model::register::*;
use mutant_model::state::State;

const IOVA: u64 = 0x1_0000_0000;

/// The registers with their widths, and a value that each can hold.
const WRITABLE: [(u64, usize, u64); 9] = [
    (BYTE, 1, 0x5a),
    (HALF, 2, 0x5aa5),
    (WORD, 4, 0x1234_5678),
    (LONG, 8, 0x1122_3344_5566_7788),
    (INDEX, 1, 15),
    (TABLE, 4, 0x8765_4321),
    (SEED, 4, 0xcafe_f00d),
    (ADDRESS, 8, IOVA),
    (PAGES, 4, 16),
];

fn sound() -> Workbench {
    Workbench::new(Defect::Sound)
}

fn read(bench: &Workbench, offset: u64, width: usize) -> u64 {
    let mut bytes = [0; 8];
    bench.read(offset, &mut bytes[..width]);
    u64::from_le_bytes(bytes)
}

fn write(bench: &mut Workbench, offset: u64, width: usize, value: u64) -> bool {
    bench.write(offset, &value.to_le_bytes()[..width])
}

fn word(bench: &Workbench, offset: u64) -> u32 {
    read(bench, offset, 4) as u32
}

/// Does a step, and returns what it was.
fn step(bench: &mut Workbench) -> Option<Step> {
    let step = bench.begin()?;
    bench.end(Ok(()));
    Some(step)
}

/// Does all steps that are left.
fn finish(bench: &mut Workbench) -> Vec<Step> {
    std::iter::from_fn(|| step(bench)).collect()
}

/// Saves a device and loads its state into another one.
fn moved(bench: &Workbench, defect: Defect) -> Workbench {
    let bytes = bench.saved().encode();
    let mut destination = Workbench::new(defect);
    destination.restore(State::decode(&bytes, defect).unwrap());
    destination
}

/// A device with a value in each register, DONE, and a job of `pages` pages that has begun.
fn busy(defect: Defect, pages: u64) -> Workbench {
    let mut bench = Workbench::new(defect);
    for entry in 0..ENTRIES as u64 {
        write(&mut bench, INDEX, 1, entry);
        write(&mut bench, TABLE, 4, 0x100 + entry);
    }
    for (offset, width, value) in WRITABLE {
        write(&mut bench, offset, width, value);
    }
    write(&mut bench, ROUNDS, 4, 0);
    write(&mut bench, PAGES, 4, pages);
    assert!(write(&mut bench, COPY, 4, TO_DEVICE.into()));
    step(&mut bench);
    bench
}

#[test]
fn a_register_is_read_as_it_was_written_with_its_width() {
    for (offset, width, value) in WRITABLE {
        let mut bench = sound();
        write(&mut bench, offset, width, value);
        assert_eq!(read(&bench, offset, width), value, "{offset:#x}");
    }
    assert_eq!(word(&sound(), ID), IDENTITY);
}

#[test]
fn an_access_of_another_width_reads_0_and_changes_nothing() {
    let registers = WRITABLE.map(|(offset, width, _)| (offset, width));
    let others = [ID, ROUNDS, STATUS, CLEAR, COPY, PROGRESS, JOBS].map(|offset| (offset, 4));
    for (offset, width) in registers.into_iter().chain(others) {
        for other in [1, 2, 4, 8] {
            if other == width || (offset, other) == (LONG, 4) {
                continue;
            }
            let mut bench = busy(Defect::Sound, 2);
            let before = bench.saved();
            assert_eq!(read(&bench, offset, other), 0, "{offset:#x} by {other}");
            write(&mut bench, offset, other, u64::MAX);
            assert_eq!(bench.saved(), before, "{offset:#x} by {other}");
        }
    }
}

#[test]
fn long_is_accessed_by_halves_too() {
    let mut bench = sound();
    write(&mut bench, LONG, 8, 0x1122_3344_5566_7788);
    assert_eq!(word(&bench, LONG), 0x5566_7788);
    assert_eq!(word(&bench, LONG_UPPER), 0x1122_3344);
    write(&mut bench, LONG, 4, 0xaaaa_aaaa);
    assert_eq!(read(&bench, LONG, 8), 0x1122_3344_aaaa_aaaa);
    write(&mut bench, LONG_UPPER, 4, 0xbbbb_bbbb);
    assert_eq!(read(&bench, LONG, 8), 0xbbbb_bbbb_aaaa_aaaa);
}

#[test]
fn values_that_a_register_does_not_take_are_ignored() {
    let refused = [
        (INDEX, 1, 16),
        (PAGES, 4, 0),
        (PAGES, 4, 17),
        (ADDRESS, 8, IOVA + 1),
        (COPY, 4, 0),
        (COPY, 4, 3),
        (ID, 4, 1),
        (STATUS, 4, 7),
        (PROGRESS, 4, 1),
        (JOBS, 4, 1),
        (0xff8, 8, 1),
    ];
    for (offset, width, value) in refused {
        let mut bench = sound();
        assert!(!write(&mut bench, offset, width, value));
        assert_eq!(bench.saved(), State::new(), "{offset:#x}");
    }
    let mut bench = sound();
    write(&mut bench, SEED, 4, 0);
    assert_eq!(word(&bench, SEED), 1);
}

#[test]
fn a_busy_device_ignores_its_seed_its_address_and_another_job() {
    let mut bench = busy(Defect::Sound, 2);
    let before = bench.saved();
    let ignored = [
        (SEED, 4, 5),
        (ADDRESS, 8, 0x1000),
        (ROUNDS, 4, 5),
        (COPY, 4, 2),
    ];
    for (offset, width, value) in ignored {
        assert!(!write(&mut bench, offset, width, value));
    }
    assert_eq!(bench.saved(), before);
}

#[test]
fn rounds_advance_the_generator_and_set_done() {
    let mut bench = sound();
    assert!(write(&mut bench, ROUNDS, 4, 130));
    assert_eq!(word(&bench, STATUS), BUSY);
    assert_eq!(finish(&mut bench).len(), 3);
    assert_eq!(word(&bench, SEED), (0..130).fold(1, |seed, _| round(seed)));
    assert_eq!(word(&bench, PROGRESS), 130);
    assert_eq!((word(&bench, STATUS), word(&bench, JOBS)), (DONE, 1));
    assert!(bench.interrupt());
    write(&mut bench, CLEAR, 4, 0);
    assert_eq!(word(&bench, STATUS), 0);
    assert!(!bench.interrupt());
}

#[test]
fn a_copy_goes_through_its_pages_in_order() {
    let mut bench = busy(Defect::Sound, 3);
    let page = |number: u64| Step::ToDevice {
        iova: IOVA + number * PAGE as u64,
        at: number as usize * PAGE,
    };
    assert!(REGISTERS_SIZE as u64 > JOBS && MEMORY_SIZE == 16 * PAGE);
    assert_eq!(finish(&mut bench), [page(1), page(2)]);
    write(&mut bench, COPY, 4, TO_GUEST.into());
    let last = finish(&mut bench).pop();
    let (iova, at) = (IOVA + 2 * PAGE as u64, 2 * PAGE);
    assert_eq!(last, Some(Step::ToGuest { iova, at }));
}

#[test]
fn a_copy_that_fails_ends_with_error() {
    let mut bench = busy(Defect::Sound, 3);
    write(&mut bench, CLEAR, 4, 0);
    assert!(bench.begin().is_some());
    bench.end(Err(Failed));
    assert_eq!((word(&bench, STATUS), word(&bench, PROGRESS)), (ERROR, 1));
    assert!(bench.interrupt() && bench.begin().is_none());
}

#[test]
fn a_job_that_is_stopped_and_moved_after_every_step_ends_as_an_undisturbed_one() {
    let start = |bench: &mut Workbench| {
        write(bench, SEED, 4, 77);
        write(bench, ROUNDS, 4, 1000);
    };
    let mut undisturbed = sound();
    start(&mut undisturbed);
    finish(&mut undisturbed);

    let mut bench = sound();
    start(&mut bench);
    while step(&mut bench).is_some() {
        bench.stop();
        assert!(bench.begin().is_none());
        bench = moved(&bench, Defect::Sound);
    }
    assert_eq!(bench.saved(), undisturbed.saved());
}

#[test]
fn the_device_whose_quiescing_clears_done_keeps_error() {
    let mut bench = sound();
    bench.restore(State {
        status: DONE | ERROR,
        ..State::new()
    });
    bench.lose_done();
    assert_eq!(word(&bench, STATUS), ERROR);
}

#[test]
fn a_copy_that_is_moved_after_every_step_copies_each_page_once() {
    let mut bench = busy(Defect::Sound, 16);
    let mut steps = Vec::new();
    while let Some(next) = step(&mut bench) {
        steps.push(next);
        bench = moved(&bench, Defect::Sound);
    }
    assert_eq!(steps, finish(&mut busy(Defect::Sound, 16)));
}

#[test]
fn a_device_that_is_stopped_during_a_step_does_that_one_and_no_other() {
    let mut bench = busy(Defect::Sound, 3);
    assert!(bench.begin().is_some());
    bench.stop();
    assert!(bench.is_stepping());
    bench.end(Ok(()));
    assert!(!bench.is_stepping() && bench.begin().is_none());
    assert_eq!(word(&bench, PROGRESS), 2);
}

#[test]
fn a_stopped_device_keeps_a_new_job_until_it_goes_on() {
    let mut bench = sound();
    bench.stop();
    assert!(write(&mut bench, ROUNDS, 4, 1));
    assert!(bench.begin().is_none() && bench.is_busy());
    bench.go_on();
    assert_eq!(finish(&mut bench).len(), 1);
}

#[test]
fn a_reset_ends_the_job_and_a_stop() {
    let mut bench = busy(Defect::Sound, 3);
    bench.stop();
    bench.reset(true);
    assert_eq!(bench.saved(), State::new());
    assert!(!bench.is_stopped());
}

#[test]
fn every_changed_byte_of_a_state_is_refused_or_is_saved_as_it_is() {
    let state = busy(Defect::Sound, 3).saved();
    let bytes = state.encode();
    assert_eq!(State::decode(&bytes, Defect::Sound), Ok(state));
    let mut refused = 0;
    for at in 0..State::LEN {
        for value in 0..=255 {
            let mut changed = bytes;
            changed[at] = value;
            match State::decode(&changed, Defect::Sound) {
                Ok(state) => assert_eq!(state.encode(), changed, "byte {at} is {value}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_state_that_no_device_has_is_taken_only_by_the_device_whose_defect_it_is() {
    let whole = busy(Defect::Sound, 3).saved();
    let with = |change: fn(&mut State)| {
        let mut state = whole;
        change(&mut state);
        state.encode().to_vec()
    };
    let beyond = |state: &mut State| state.progress = 4;
    let cases = [
        (with(|s| s.index = 16), Some(Defect::IndexUnchecked)),
        (with(|s| s.pages = 0), Some(Defect::PagesUnchecked)),
        (with(|s| s.pages = 17), Some(Defect::PagesUnchecked)),
        (with(|s| s.status = 8), Some(Defect::StatusUnchecked)),
        (with(|s| s.status = BUSY), Some(Defect::StatusUnchecked)),
        (with(beyond), None),
        (with(|s| s.seed = 0), None),
        (with(|s| s.address += 1), None),
        (
            whole.encode()[..80].to_vec(),
            Some(Defect::ShortRecordTaken),
        ),
    ];
    for (bytes, taker) in cases {
        for (defect, name, _) in Defect::ALL {
            let taken = State::decode(&bytes, *defect).is_ok();
            let has = taker.is_some_and(|taker| match taker {
                // It takes them too, without the bits.
                Defect::StatusUnchecked if *defect == Defect::StatusMasked => true,
                taker => defect.includes(taker),
            });
            assert_eq!(taken, has, "{name:?}");
        }
    }
}

#[test]
fn a_defect_of_saving_or_of_loading_changes_what_arrives() {
    use Defect::*;
    let of_saving = [
        ByteLost,
        HalfLost,
        WordSwapped,
        LongLost,
        IndexLost,
        TableLost,
        TableEntry15Lost,
        SeedLost,
        AddressLost,
        CountLost,
        StatusLost,
        JobsLost,
        JobDropped,
        JobRestarted,
    ];
    let of_loading = [JobRepeated, JobSkipped, JobsCountedTwice];
    let arrived = |source, destination| moved(&busy(source, 3), destination).saved();
    let sound = arrived(Sound, Sound);
    for defect in of_saving {
        assert_ne!(arrived(defect, Sound), sound, "{defect:?}");
    }
    for defect in of_loading {
        assert_ne!(arrived(Sound, defect), sound, "{defect:?}");
    }
}

#[test]
fn names_of_types_are_different_and_the_sound_one_is_first() {
    assert_eq!(Defect::ALL[0].0, Defect::Sound);
    for (index, (defect, name, _)) in Defect::ALL.iter().enumerate() {
        assert_eq!(*defect as usize, index);
        assert!(Defect::ALL[..index]
            .iter()
            .all(|(_, other, _)| other != name));
    }
}

#[test]
fn a_second_job_that_is_not_counted_and_an_interrupt_that_is_missing() {
    let mut bench = Workbench::new(Defect::JobUncounted);
    for count in [1, 1] {
        assert!(write(&mut bench, ROUNDS, 4, 1));
        finish(&mut bench);
        assert_eq!(word(&bench, JOBS), count);
        assert!(bench.interrupt());
    }
    let mut bench = Workbench::new(Defect::InterruptMissing);
    assert!(write(&mut bench, ROUNDS, 4, 1));
    finish(&mut bench);
    assert_eq!((word(&bench, STATUS), bench.interrupt()), (DONE, false));
}

#[test]
fn unknown_bits_of_status_are_refused_or_cleared() {
    let mut state = State::new();
    state.status = DONE | 0x80;
    assert!(State::decode(&state.encode(), Defect::Sound).is_err());
    let masked = State::decode(&state.encode(), Defect::StatusMasked).unwrap();
    assert_eq!(masked.status, DONE);
}
