// SPDX-License-Identifier: GPL-2.0

//! Sessions of protocol v1: a stream that passes through the registers in chunks.

use crate::common::v1::*;
use mdev_model::v1::{
    Register::{DataOffset, DataSize, DeviceState, PendingBytes},
    DATA_OFFSET, WINDOW,
};
use proptest::prelude::*;

#[test]
fn a_chunk_stays_until_what_is_pending_is_looked_at() {
    let mut device = Device::new(&[10, 20], 0);
    device.set(STOP_COPY);
    device.records[0] = WINDOW as usize;
    let pending = WINDOW + 20;
    for _ in 0..3 {
        assert_eq!(device.read(PendingBytes), pending);
    }
    for _ in 0..3 {
        assert_eq!(device.read(DataOffset), DATA_OFFSET);
        assert_eq!(device.read(DataSize), WINDOW);
    }
    assert_eq!(device.read(PendingBytes), 20);
    assert_eq!(device.read(DataSize), 20);
    assert_eq!(device.read(PendingBytes), 0);
    assert_eq!(device.read(DataSize), 0);
}

#[test]
fn a_chunk_whose_size_nobody_has_read_is_still_pending() {
    let mut device = Device::new(&[10, 20], 1);
    device.set(PRE_COPY);
    device.read(DataOffset);
    assert_eq!(device.read(PendingBytes), 10);
    device.set(STOP_COPY);
    assert_eq!(device.read(PendingBytes), 30);
    assert_eq!(device.take(), Some(vec![0; 10]));
    assert_eq!(device.take(), Some(vec![1; 20]));
    assert_eq!(device.take(), None);
}

#[test]
fn a_chunk_of_pre_copy_that_was_read_is_taken_when_the_device_stops() {
    let mut device = Device::new(&[10, 20], 1);
    device.set(PRE_COPY);
    assert_eq!(device.take(), Some(vec![0; 10]));
    device.set(STOP_COPY);
    device.set(STOP_COPY);
    assert_eq!(device.read(DataSize), 20);
}

#[test]
fn a_chunk_is_not_taken_by_a_state_that_is_refused() {
    let mut device = Device::new(&[10], 1);
    device.set(PRE_COPY);
    device.read(DataSize);
    assert_eq!(DeviceState.write(7, &mut device), Err(Error::Invalid));
    assert_eq!(device.read(DataSize), 10);
}

#[test]
fn pre_copy_without_data_gives_an_empty_chunk_and_may_go_on() {
    let mut device = Device::new(&[10], 0);
    device.set(PRE_COPY);
    assert_eq!((device.read(PendingBytes), device.read(DataSize)), (0, 0));
    device.early = 1;
    assert_eq!((device.read(PendingBytes), device.read(DataSize)), (10, 10));
}

#[test]
fn a_chunk_is_a_mebibyte_or_what_the_driver_saves_in_one_step() {
    let mut device = Device::new(&[1 << 19, 1 << 19, 1 << 19, 3 << 20, 1], 2);
    device.set(STOP_COPY);
    let mut size = || device.take().map_or(0, |chunk| chunk.len());
    let sizes = [size(), size(), size(), size(), size()];
    assert_eq!(sizes, [1 << 20, 1 << 19, 3 << 20, 1, 0]);
}

#[test]
fn a_session_that_fails_says_so_and_gives_no_chunk() {
    let mut device = Device::new(&[10], 0);
    device.set(STOP_COPY);
    device.breaks = true;
    assert_eq!(DataOffset.read(&mut device), Err(Error::Broken));
    assert_eq!(DataSize.read(&mut device), Err(Error::Broken));
    assert_eq!(device.read(PendingBytes), 10);
    device.breaks = false;
    assert_eq!(device.take(), Some(vec![0; 10]));
}

#[test]
fn a_second_session_begins_with_the_first_record() {
    let mut device = Device::new(&[10, 20], 1);
    device.set(PRE_COPY);
    assert_eq!(device.take(), Some(vec![0; 10]));
    // The VM is stopped and continued meanwhile: the pre-copy is not continued.
    for state in [STOP_COPY, RUNNING, STOP, STOP_COPY] {
        device.set(state);
    }
    assert_eq!(device.take(), Some(device.stream()));
}

proptest! {
    #[test]
    fn a_stream_arrives_whole_whatever_pre_copy_gives(
        records in prop::collection::vec(1..300_000usize, 1..12),
        early in any::<prop::sample::Index>(),
        looks in prop::collection::vec(0..4usize, 0..10),
    ) {
        let early = early.index(records.len() + 1);
        let mut device = Device::new(&records, early);
        let mut arrived = Vec::new();
        device.set(PRE_COPY);
        for look in looks {
            for _ in 0..look {
                device.read(DataOffset);
            }
            arrived.extend(device.take().unwrap_or_default());
        }
        device.set(STOP_COPY);
        while let Some(chunk) = device.take() {
            prop_assert!(chunk.len() as u64 <= WINDOW);
            arrived.extend(chunk);
        }
        prop_assert_eq!(device.read(DataSize), 0);
        prop_assert!(arrived == device.stream(), "{} bytes", arrived.len());
    }

    #[test]
    fn a_stream_is_loaded_in_any_pieces(
        stream in prop::collection::vec(any::<u8>(), 0..500),
        sizes in prop::collection::vec(1..50usize, 1..10),
    ) {
        let mut device = Device::new(&[], 0);
        device.set(RESUMING);
        let (mut rest, mut sizes) = (&stream[..], sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            device.window = piece.to_vec();
            prop_assert_eq!(device.read(DataOffset), DATA_OFFSET);
            prop_assert_eq!(DataSize.write(piece.len() as u64, &mut device), Ok(()));
            rest = behind;
        }
        device.set(RUNNING);
        prop_assert_eq!(device.loaded, stream);
    }
}
