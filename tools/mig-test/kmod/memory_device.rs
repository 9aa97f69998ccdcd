// SPDX-License-Identifier: GPL-2.0

//! The card's calls of `DeviceMemory` and `StagedMemory`.

use crate::{memory_registers::*, Arguments, Channel};
use kernel::page::PAGE_SIZE;
use kernel::{prelude::*, sync::Arc};
use mdev_sdk::{DeviceMemory, StagedMemory};

impl Channel {
    /// Makes one of the calls that `memory_registers.rs` has for a `DeviceMemory`.
    pub(crate) fn call_device(&self, memory: &Arc<DeviceMemory>, call: u32) -> Result {
        let Arguments { length, offset, .. } = self.registers.lock().arguments;
        let returned = match call {
            DEVICE_READ => {
                let mut bytes = self.bytes(length)?;
                memory.read(offset, &mut bytes)?;
                self.registers.lock().buffer[..length].copy_from_slice(&bytes);
                0
            }
            DEVICE_WRITE => {
                memory.write(offset, &self.bytes(length)?)?;
                0
            }
            DEVICE_CLEAR => {
                memory.clear();
                0
            }
            START_TRACKING => {
                memory.start_tracking();
                0
            }
            TAKE_DIRTY => match memory.take_dirty(offset, length) {
                Some(run) => {
                    let first = (run.start as u64).to_le_bytes();
                    self.registers.lock().buffer[..first.len()].copy_from_slice(&first);
                    run.len() as u64
                }
                None => 0,
            },
            DIRTY_BYTES => memory.dirty_bytes(offset),
            USED_BYTES => memory.used_bytes(),
            STAGE_AND_COMMIT => {
                let mut staged = StagedMemory::new(memory)?;
                let bytes = self.bytes(length)?;
                for number in (0..64).filter(|number| offset >> number & 1 != 0) {
                    let at = number * PAGE_SIZE;
                    staged.write(at, &bytes).map_err(|_| EINVAL)?;
                }
                staged.commit();
                0
            }
            _ => return Err(ENOTSUPP),
        };
        self.registers.lock().walked = u32::try_from(returned)?;
        Ok(())
    }
}
