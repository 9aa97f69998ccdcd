// SPDX-License-Identifier: GPL-2.0

//! The card's calls of `GuestArray`, and those of `GuestMemory` for values.

use crate::{memory_registers::*, Arguments, Channel, Kept};
use kernel::prelude::*;
use mdev_sdk::model::{field, record::Field};
use mdev_sdk::{Access, Context, GuestArray};

mdev_sdk::model::record! {
    /// 24 bytes, so that some entries of an array are on two pages.
    pub(crate) struct Entry {
        address: u64,
        len: u32,
        status: u16,
        kind: u8,
        last: bool,
        tag: [u8; 8],
    }
}

const _: () = assert!(Entry::LEN == ENTRY_LEN);
const _: () = assert!(Entry::offset_of("status") == STATUS_AT);
const _: () = assert!(Entry::offset_of("last") == FLAG_AT);

impl Channel {
    /// Makes one of the calls that `memory_registers.rs` has for arrays and values.
    pub(crate) fn call_array(&self, cx: &Context, call: u32) -> Result {
        let Arguments {
            iova,
            length,
            offset,
        } = self.registers.lock().arguments;
        let memory = cx.memory();
        match call {
            ARRAY => {
                let array = GuestArray::new(memory, iova, length)?;
                self.keep(Kept::Array(array));
            }
            ARRAY_READ_ONLY => {
                let array = GuestArray::new_read_only(memory, iova, length)?;
                self.keep(Kept::ReadArray(array));
            }
            VALUE_READ => self.put(&memory.read_value(iova)?),
            VALUE_WRITE => memory.write_value(iova, &self.entry()?)?,
            ENTRY_WRITE | STATUS_WRITE => {
                let entry = self.entry()?;
                let Kept::Array(array) = &mut *self.kept.lock() else {
                    return Err(ENOENT);
                };
                match call {
                    ENTRY_WRITE => array.write(offset, &entry)?,
                    _ => array.write_field(offset, field!(Entry, status), &(length as u16))?,
                }
            }
            _ => match &mut *self.kept.lock() {
                Kept::Array(array) => self.call_either(array, call, offset)?,
                Kept::ReadArray(array) => self.call_either(array, call, offset)?,
                _ => return Err(ENOENT),
            },
        }
        Ok(())
    }

    /// Makes a call that both kinds of arrays have.
    fn call_either<A: Access>(
        &self,
        array: &mut GuestArray<Entry, A>,
        call: u32,
        index: usize,
    ) -> Result {
        match call {
            ENTRY_READ => self.put(&array.read(index)?),
            STATUS_READ => {
                let status = array.read_field(index, field!(Entry, status))?;
                self.registers.lock().walked = status.into();
            }
            ARRAY_RELEASE => array.release(),
            _ => return Err(ENOTSUPP),
        }
        Ok(())
    }

    /// Returns the entry that the buffer holds.
    fn entry(&self) -> Result<Entry> {
        let mut entry = Entry::ZERO;
        let taken = entry.take(&self.bytes(Entry::LEN)?);
        taken.map_err(|_| EINVAL)?;
        Ok(entry)
    }

    /// Fills the buffer with an entry.
    fn put(&self, entry: &Entry) {
        self.registers.lock().buffer[..Entry::LEN].copy_from_slice(&entry.encode());
    }
}
