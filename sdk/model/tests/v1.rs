// SPDX-License-Identifier: GPL-2.0

//! The registers of protocol v1: what an access means, and how a stream goes through them in chunks.

use mdev_model::{
    state::State,
    v1::{bits, target, Access, Chunk, Register, Session, DATA_OFFSET, SIZE, WINDOW},
};
use proptest::prelude::*;
use Register::{DataOffset, DataSize, DeviceState, PendingBytes, Reserved};

const STOP: u64 = 0;
const RUNNING: u64 = 1;
const STOP_COPY: u64 = 2;
const PRE_COPY: u64 = 3;
const RESUMING: u64 = 4;
const VALID: [u64; 5] = [STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING];

const REGISTERS: [(u64, Register); 5] = [
    (0x00, DeviceState),
    (0x04, Reserved),
    (0x08, PendingBytes),
    (0x10, DataOffset),
    (0x18, DataSize),
];

/// Why a session says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Error {
    Invalid,
    Broken,
}

/// A device whose stream is records of the given lengths, a part of them to be had while it runs. The
/// bytes of a record are its number.
struct Device {
    state: State,
    records: Vec<usize>,
    /// How many of the records there are before the device stops.
    early: usize,
    next: usize,
    chunk: Option<Chunk>,
    window: Vec<u8>,
    loaded: Vec<u8>,
    breaks: bool,
}

impl Device {
    fn new(records: &[usize], early: usize) -> Self {
        Device {
            state: State::Running,
            records: records.to_vec(),
            early,
            next: 0,
            chunk: None,
            window: vec![],
            loaded: vec![],
            breaks: false,
        }
    }

    fn read(&mut self, register: Register) -> u64 {
        register.read(self).expect("a register that can be read")
    }

    fn set(&mut self, bits: u64) {
        assert_eq!(DeviceState.write(bits, self), Ok(()), "state {bits}");
    }

    /// A chunk as a user takes it: what is in the window, none if nothing is pending.
    fn take(&mut self) -> Option<Vec<u8>> {
        if self.read(PendingBytes) == 0 {
            return None;
        }
        assert_eq!(self.read(DataOffset), DATA_OFFSET);
        let size = self.read(DataSize) as usize;
        assert!(size > 0, "an empty chunk with bytes pending");
        Some(self.window[..size].to_vec())
    }

    fn stream(&self) -> Vec<u8> {
        let record = |(number, len): (usize, &usize)| vec![number as u8; *len];
        self.records.iter().enumerate().flat_map(record).collect()
    }

    fn ready(&self) -> &[usize] {
        let end = match self.state {
            State::StopCopy => self.records.len(),
            _ => self.early.max(self.next),
        };
        &self.records[self.next..end]
    }
}

impl Session for Device {
    type Error = Error;
    const INVALID: Error = Error::Invalid;

    fn state(&self) -> State {
        self.state
    }

    fn set_state(&mut self, target: State) -> Result<(), Error> {
        while self.state != target {
            let (next, _) = self.state.step_to(target).ok_or(Error::Invalid)?;
            let saves = |state: State| state.is_pre_copy() || state == State::StopCopy;
            match (saves(self.state), saves(next)) {
                (false, true) => (self.chunk, self.next) = (Some(Chunk::default()), 0),
                (true, false) => self.chunk = None,
                _ => {}
            }
            self.state = next;
        }
        Ok(())
    }

    fn chunk(&mut self) -> Option<&mut Chunk> {
        self.chunk.as_mut()
    }

    fn pending(&mut self) -> Result<u64, Error> {
        Ok(self.ready().iter().sum::<usize>() as u64)
    }

    fn save(&mut self, enough: u64) -> Result<u64, Error> {
        if self.breaks {
            return Err(Error::Broken);
        }
        self.window.clear();
        while let Some(len) = self.ready().first().copied() {
            if !self.window.is_empty() && self.window.len() + len > enough as usize {
                break;
            }
            self.window.extend(vec![self.next as u8; len]);
            self.next += 1;
        }
        Ok(self.window.len() as u64)
    }

    fn load(&mut self, len: u64) -> Result<(), Error> {
        if self.state != State::Resuming {
            return Err(Error::Invalid);
        }
        // What was never written is zero.
        let mut bytes = self.window.clone();
        bytes.resize(len as usize, 0);
        self.loaded.extend(bytes);
        Ok(())
    }
}

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
        // Never 0: it is a place in the region.
        assert_eq!(device.read(DataOffset), DATA_OFFSET);
        assert_eq!(device.read(DataSize), 0);
    }
}

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
    // A user who stops and continues the VM meanwhile: pre-copy is not taken up again.
    for state in [STOP_COPY, RUNNING, STOP, STOP_COPY] {
        device.set(state);
    }
    assert_eq!(device.take(), Some(device.stream()));
}

/// What a user may do at any time.
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
