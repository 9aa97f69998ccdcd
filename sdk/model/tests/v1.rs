// SPDX-License-Identifier: GPL-2.0

//! The registers of protocol v1: the meaning of each access, in each state.

use crate::common::v1::*;
use mdev_model::{
    state::State,
    v1::{bits, target, Access, Register, DATA_OFFSET, SIZE, WINDOW},
};
use proptest::prelude::*;
use Register::{DataOffset, DataSize, DeviceState, PendingBytes, Reserved};

#[test]
fn each_register_has_one_place_and_one_width() {
    for offset in 0..DATA_OFFSET + 2 {
        for len in 0..20 {
            let register = REGISTERS
                .iter()
                .find(|(at, register)| (*at, register.width()) == (offset, len));
            let expected = register.map(|(_, register)| Access::Register(*register));
            if offset < DATA_OFFSET {
                assert_eq!(Access::of(offset, len), expected, "{len} at {offset:#x}");
            }
        }
    }
}

#[test]
fn the_window_ends_with_the_region() {
    let window = |offset, len| Some(Access::Window { offset, len });
    let last = WINDOW as usize - 1;
    assert_eq!(Access::of(DATA_OFFSET, 8), window(0, 8));
    assert_eq!(Access::of(DATA_OFFSET + 3, 1), window(3, 1));
    assert_eq!(Access::of(SIZE - 1, 1), window(last, 1));
    assert_eq!(Access::of(SIZE - 1, 8), window(last, 1));
    assert_eq!(Access::of(SIZE, 1), None);
    assert_eq!(Access::of(u64::MAX, 1), None);
}

#[test]
fn a_window_can_be_mapped_with_pages_of_any_size() {
    for page in [4096, 16384, 65536] {
        assert_eq!((DATA_OFFSET % page, WINDOW % page), (0, 0));
    }
}

#[test]
fn the_state_is_shown_in_bits_whoever_set_it() {
    let table = [
        (State::Stop, STOP),
        (State::Running, RUNNING),
        (State::RunningP2p, RUNNING),
        (State::StopCopy, STOP_COPY),
        (State::PreCopy, PRE_COPY),
        (State::PreCopyP2p, PRE_COPY),
        (State::Resuming, RESUMING),
        (State::Error, 6),
    ];
    for (state, shown) in table {
        assert_eq!(u64::from(bits(state)), shown, "{state:?}");
    }
}

#[test]
fn only_five_values_can_be_written_as_a_state() {
    for value in (0..16).chain([1 << 3, 1 << 31, u32::MAX]) {
        let wanted = VALID.contains(&value.into()).then_some(value);
        assert_eq!(target(value).map(bits), wanted, "{value:#x}");
    }
    let mut device = Device::new(&[1], 0);
    for value in [5, 6, 7, 8, 9, 1 << 31, 1 << 32, u64::MAX] {
        assert_eq!(DeviceState.write(value, &mut device), Err(Error::Invalid));
        assert_eq!(device.read(DeviceState), RUNNING, "after {value:#x}");
    }
}

#[test]
fn only_the_state_and_the_size_can_be_written() {
    for state in VALID {
        let mut device = Device::new(&[10, 20], 1);
        device.set(state);
        assert_eq!(Reserved.write(u64::MAX, &mut device), Ok(()));
        assert_eq!(device.read(Reserved), 0);
        for register in [PendingBytes, DataOffset] {
            assert_eq!(register.write(0, &mut device), Err(Error::Invalid));
        }
        let loads = state == RESUMING;
        assert_eq!(DataSize.write(0, &mut device).is_ok(), loads, "{state}");
        let too_long = DataSize.write(WINDOW + 1, &mut device);
        assert_eq!(too_long, Err(Error::Invalid));
    }
}

#[test]
fn nothing_is_pending_where_nothing_is_saved() {
    for state in [STOP, RUNNING, RESUMING] {
        let mut device = Device::new(&[10], 1);
        device.set(state);
        assert_eq!(device.read(PendingBytes), 0);
        // Never 0: it is an offset in the region.
        assert_eq!(device.read(DataOffset), DATA_OFFSET);
        assert_eq!(device.read(DataSize), 0);
    }
}

/// An action that user space may take at any time.
#[derive(Clone, Debug)]
enum Act {
    State(u64),
    Read(Register),
    Write(Register, u64),
    Take,
}

fn act() -> impl Strategy<Value = Act> {
    let register = || prop::sample::select(REGISTERS.map(|(_, register)| register).to_vec());
    prop_oneof![
        (0..10u64).prop_map(Act::State),
        register().prop_map(Act::Read),
        (register(), 0..100u64).prop_map(|(register, value)| Act::Write(register, value)),
        Just(Act::Take),
    ]
}

proptest! {
    #[test]
    fn whatever_is_done_the_state_is_a_legal_one_and_changes_by_a_state_write_only(
        acts in prop::collection::vec(act(), 0..100),
    ) {
        let mut device = Device::new(&[10, 20, 30], 2);
        for act in acts {
            let before = device.read(DeviceState);
            let written = match act {
                Act::State(value) => DeviceState.write(value, &mut device).ok().map(|()| value),
                Act::Write(DeviceState, value) => {
                    DeviceState.write(value, &mut device).ok().map(|()| value)
                }
                Act::Write(register, value) => {
                    let _ = register.write(value, &mut device);
                    None
                }
                Act::Read(register) => {
                    let _ = register.read(&mut device);
                    None
                }
                Act::Take => {
                    let size = device.read(DataSize);
                    let saves = matches!(before, PRE_COPY | STOP_COPY);
                    prop_assert!(saves || size == 0);
                    None
                }
            };
            let state = device.read(DeviceState);
            prop_assert_eq!(state, written.unwrap_or(before));
            prop_assert!(VALID.contains(&state));
        }
    }
}
