// SPDX-License-Identifier: GPL-2.0

//! A machine for host tests of a [`DeviceModel`]: guest memory, interrupts, and migration.
//!
//! It is not part of the kernel module.

use std::vec;
use std::vec::Vec;

use crate::{
    device::{DeviceModel, Fault, Work, MAX_TRANSFER},
    record::Field,
    registers,
    stream::LoadError,
};

/// A device, guest memory from IOVA 0 on, and a counter of interrupts.
///
/// # Examples
///
/// [`DeviceModel`] has one.
pub struct Machine<D> {
    device: D,
    memory: Vec<u8>,
    /// How often each vector has risen.
    interrupts: Vec<u64>,
    steps: usize,
    /// The steps before which the device migrates.
    moves: Vec<usize>,
}

impl<D: DeviceModel> Machine<D> {
    /// Creates a device after power-on and `size` bytes of guest memory, all zero.
    pub fn new(size: usize) -> Self {
        Machine {
            device: D::ZERO,
            memory: vec![0; size],
            interrupts: vec![0; D::IDENTITY.vectors().max(1)],
            steps: 0,
            moves: Vec::new(),
        }
    }

    /// Returns the device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Returns the memory of the guest.
    pub fn memory(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// Returns how often the interrupt has risen, of all vectors together.
    pub fn interrupts(&self) -> u64 {
        self.interrupts.iter().sum()
    }

    /// Returns how often the interrupt of vector `vector` has risen; 0 for one that the device
    /// lacks.
    pub fn interrupts_of(&self, vector: usize) -> u64 {
        self.interrupts.get(vector).copied().unwrap_or(0)
    }

    /// Reads a register, or a part of one, or several.
    ///
    /// # Panics
    ///
    /// If `T` has no value with these bytes: a `bool` from a byte that is neither 0 nor 1.
    pub fn read<T: Field>(&self, offset: u64) -> T {
        let mut bytes = vec![0; T::LEN];
        registers::read(D::REGISTERS, &self.device, offset, &mut bytes);
        let mut value = T::ZERO;
        value.take(&bytes).expect("an integer has any value");
        value
    }

    /// Writes to a register, or to a part of one, or to several.
    pub fn write<T: Field>(&mut self, offset: u64, value: T) {
        let mut bytes = vec![0; T::LEN];
        value.put(&mut bytes);
        self.change(|device| registers::write(D::REGISTERS, device, offset, &bytes));
    }

    /// Resets the device.
    pub fn reset(&mut self) {
        self.change(|device| *device = D::ZERO);
    }

    /// Runs the device until it is idle.
    ///
    /// # Panics
    ///
    /// If it is not idle after `at_most` steps, or asks for a longer transfer than
    /// [`MAX_TRANSFER`].
    pub fn run(&mut self, at_most: usize) {
        for _ in 0..=at_most {
            if !self.step() {
                return;
            }
        }
        panic!("the device is still at work after {at_most} steps");
    }

    /// Does one step; returns whether there was one to do. A [`Work::After`] is over at once.
    ///
    /// # Panics
    ///
    /// If the device asks for a longer transfer than [`MAX_TRANSFER`].
    pub fn step(&mut self) -> bool {
        if self.moves.contains(&self.steps) {
            self.migrate().expect("the device takes its own state");
        }
        let before = self.device;
        let memory = &mut self.memory;
        let mut is_idle = false;
        let result = match self.device.step() {
            Work::Idle => {
                is_idle = true;
                None
            }
            Work::More | Work::After(_) => None,
            Work::Read(iova, len) => Some(part(memory, iova, len).map(|bytes| bytes.to_vec())),
            Work::Write(iova, data) => {
                let copied = |bytes: &mut [u8]| {
                    bytes.copy_from_slice(data);
                    Vec::new()
                };
                Some(part(memory, iova, data.len()).map(copied))
            }
        };
        if let Some(result) = result {
            self.device.transferred(match &result {
                Ok(bytes) => Ok(bytes),
                Err(fault) => Err(*fault),
            });
        }
        self.count_interrupts(&before);
        self.steps += usize::from(!is_idle);
        !is_idle
    }

    /// Saves the device, and goes on with what another one loads.
    ///
    /// # Errors
    ///
    /// The reason for which the device refuses its own state.
    pub fn migrate(&mut self) -> Result<(), LoadError> {
        self.device = D::decode(&encode(&self.device))?;
        Ok(())
    }

    /// Loads the state that a driver of version `version` has saved: `bytes` are the record.
    ///
    /// # Errors
    ///
    /// The reason for which the device refuses it.
    ///
    /// # Panics
    ///
    /// If the device does not read that version.
    pub fn load(&mut self, version: u16, bytes: &[u8]) -> Result<(), LoadError> {
        self.device = if version == D::FORMAT.version {
            D::decode(bytes)?
        } else {
            let mut older = D::OLDER.iter();
            let older = older.find(|older| older.version() == version);
            older.expect("a version that is read").load(bytes)?
        };
        Ok(())
    }

    fn change(&mut self, change: impl FnOnce(&mut D)) {
        let before = self.device;
        change(&mut self.device);
        self.count_interrupts(&before);
    }

    /// Counts the vectors that have risen since the device was as `before`.
    fn count_interrupts(&mut self, before: &D) {
        for (vector, count) in self.interrupts.iter_mut().enumerate() {
            *count += u64::from(!before.vector(vector) && self.device.vector(vector));
        }
    }
}

/// Runs `work` undisturbed, then again for each of its steps with a move before that step, and
/// returns the number of steps.
///
/// # Panics
///
/// If a moved device ends with other state, other guest memory or another number of interrupts.
pub fn move_at_each_step<D: DeviceModel>(size: usize, work: impl Fn(&mut Machine<D>)) -> usize {
    let run = |moves| {
        let mut machine = Machine::<D>::new(size);
        machine.moves = moves;
        work(&mut machine);
        machine
    };
    let still = run(Vec::new());
    // The last one may find the device idle, and change it.
    for step in 0..=still.steps {
        let moved = run(vec![step]);
        assert!(
            encode(&moved.device) == encode(&still.device),
            "moved before step {step}, the device ends with another state"
        );
        assert!(
            moved.memory == still.memory,
            "moved before step {step}, the device leaves other guest memory"
        );
        assert_eq!(
            moved.interrupts, still.interrupts,
            "interrupts after a move before step {step}"
        );
    }
    still.steps
}

/// Offers the device's state with each of its bytes changed in several ways. Each is refused, or is
/// a state that saves to the same bytes and works for some steps. Returns how many were refused.
///
/// # Panics
///
/// If a state that was taken saves to other bytes, or if the device panics.
pub fn bend_each_byte<D: DeviceModel>(machine: &Machine<D>, steps: usize) -> usize {
    let sound = encode(&machine.device);
    let mut refused = 0;
    for at in 0..sound.len() {
        for value in [sound[at] ^ 1, sound[at] ^ 0x80, 0, 0x7f, 0xff] {
            let mut bent = sound.clone();
            bent[at] = value;
            let Ok(device) = D::decode(&bent) else {
                refused += 1;
                continue;
            };
            assert!(
                encode(&device) == bent,
                "byte {at} as {value:#x} saves to other bytes"
            );
            let mut other = Machine::<D>::new(machine.memory.len());
            other.device = device;
            let _ = (0..steps).all(|_| other.step());
        }
    }
    refused
}

/// Returns a range of guest memory.
fn part(memory: &mut [u8], iova: u64, len: usize) -> Result<&mut [u8], Fault> {
    assert!(len <= MAX_TRANSFER, "a transfer of {len} bytes");
    if len == 0 {
        return Err(Fault);
    }
    let start = usize::try_from(iova).map_err(|_| Fault)?;
    let end = start.checked_add(len).ok_or(Fault)?;
    memory.get_mut(start..end).ok_or(Fault)
}

fn encode<D: DeviceModel>(device: &D) -> Vec<u8> {
    let mut bytes = vec![0; D::LEN];
    device.put(&mut bytes);
    bytes
}
