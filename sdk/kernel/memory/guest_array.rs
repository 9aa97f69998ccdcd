// SPDX-License-Identifier: GPL-2.0

//! Arrays of structures in guest memory: rings, tables, a single header.

use super::{
    guest_memory::GuestMemory,
    pinned::{Access, Pinned, Read, Write},
};
use crate::base::raw;
use core::marker::PhantomData;
use kernel::{page::PAGE_SIZE, prelude::*};
use mdev_model::record::{Field, Member};

/// An array of `T` in guest memory, which the device reads and, unless `A` is [`Read`], writes.
///
/// `T` is a [`record!`](mdev_model::record!) of at most 512 bytes, or an integer, and the entries
/// follow each other without padding: a structure in C that has some names it as a field.
///
/// The page of the entry that was accessed last is pinned, or the two pages that it is on, until an
/// entry on others is accessed. So a ring costs a pin a page, and type1's container reports no more
/// pages as dirty than the device has come by. If user space takes the memory away, the next
/// access pins what is there then. [`release`](Self::release) unpins, for a device with nothing to
/// do.
///
/// A value of 1, 2, 4 or 8 bytes whose IOVA is a multiple of that, be it an entry or a field, is
/// loaded at once and before all that follows, and stored at once and after all that precedes: by
/// `smp_load_acquire()` and `smp_store_release()`. So an entry that is written before an index is
/// there when the guest sees the index. Others are copied in any order.
///
/// What migrates is not the array but its IOVA and length, of which the device makes it again.
/// Making one accesses nothing.
///
/// # Errors
///
/// All accesses return EINVAL if the array has no such entry, and the errors of
/// [`GuestMemory`](GuestMemory#errors). They may sleep, like those of guest memory.
///
/// # Examples
///
/// ```
/// # use kernel::prelude::*;
/// # use mdev_sdk::{model::field, GuestArray, GuestMemory};
/// mdev_sdk::model::record! {
///     /// What a guest requests.
///     struct Request {
///         address: u64,
///         len: u32,
///         /// What came of it; the device's.
///         status: u32,
///     }
/// }
///
/// /// Clears the data of a request in a ring, and writes the request's status.
/// fn clear(memory: &GuestMemory, ring: u64, entries: usize, head: usize) -> Result {
///     let mut ring = GuestArray::<Request>::new(memory, ring, entries)?;
///     let request = ring.read(head)?;
///     let is_clear = memory.write(request.address, &[0; 4096][..request.len as usize & 0xfff]);
///     let status = if is_clear.is_ok() { 1 } else { 2 };
///     ring.write_field(head, field!(Request, status), &status)
/// }
/// ```
pub struct GuestArray<T, A: Access = Write> {
    memory: GuestMemory,
    prot: u32,
    iova: u64,
    len: usize,
    /// What is pinned, and its IOVA, which is that of a page.
    pinned: Option<(u64, Pinned<A>)>,
    entries: PhantomData<fn() -> T>,
}

impl<T: Field> GuestArray<T, Write> {
    /// Creates an array of `len` entries at `iova`, for reading and writing.
    ///
    /// # Errors
    ///
    /// EINVAL if `len` is 0, or the entries wrap around.
    pub fn new(memory: &GuestMemory, iova: u64, len: usize) -> Result<Self> {
        Self::with(memory, raw::IOMMU_READ | raw::IOMMU_WRITE, iova, len)
    }

    /// Writes entry `index`.
    ///
    /// # Errors
    ///
    /// Those of [all accesses](Self#errors).
    pub fn write(&mut self, index: usize, value: &T) -> Result {
        self.access(index, |range, entry| range.write_value(entry, value))
    }

    /// Writes a field of entry `index`, and nothing else of it.
    ///
    /// # Errors
    ///
    /// Those of [all accesses](Self#errors).
    pub fn write_field<F: Field>(
        &mut self,
        index: usize,
        field: Member<T, F>,
        value: &F,
    ) -> Result {
        self.access(index, |range, entry| {
            range.write_value(entry + field.offset(), value)
        })
    }
}

impl<T: Field> GuestArray<T, Read> {
    /// Creates an array of `len` entries at `iova`, for reading; also where no more is allowed.
    ///
    /// # Errors
    ///
    /// EINVAL if `len` is 0, or the entries wrap around.
    pub fn new_read_only(memory: &GuestMemory, iova: u64, len: usize) -> Result<Self> {
        Self::with(memory, raw::IOMMU_READ, iova, len)
    }
}

impl<T: Field, A: Access> GuestArray<T, A> {
    fn with(memory: &GuestMemory, prot: u32, iova: u64, len: usize) -> Result<Self> {
        let bytes = len.checked_mul(T::LEN).ok_or(EINVAL)? as u64;
        let last = bytes.checked_sub(1).ok_or(EINVAL)?;
        iova.checked_add(last).ok_or(EINVAL)?;
        Ok(GuestArray {
            memory: memory.clone(),
            prot,
            iova,
            len,
            pinned: None,
            entries: PhantomData,
        })
    }

    /// Returns the IOVA of the first entry.
    pub fn iova(&self) -> u64 {
        self.iova
    }

    /// Returns the number of entries.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty array")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns entry `index`.
    ///
    /// # Errors
    ///
    /// Those of [all accesses](Self#errors); EBADMSG if the bytes there are no `T`.
    pub fn read(&mut self, index: usize) -> Result<T> {
        self.access(index, |range, entry| range.read_value(entry))
    }

    /// Returns a field of entry `index`, and reads nothing else of it.
    ///
    /// # Errors
    ///
    /// Those of [all accesses](Self#errors); EBADMSG if the bytes there are no `F`.
    pub fn read_field<F: Field>(&mut self, index: usize, field: Member<T, F>) -> Result<F> {
        self.access(index, |range, entry| {
            range.read_value(entry + field.offset())
        })
    }

    /// Unpins what the last access has pinned. The next one pins again.
    pub fn release(&mut self) {
        self.pinned = None;
    }

    /// Calls `access` with a pinned range that has entry `index`, and the entry's offset there.
    fn access<R>(
        &mut self,
        index: usize,
        access: impl Fn(&Pinned<A>, usize) -> Result<R>,
    ) -> Result<R> {
        if index >= self.len {
            return Err(EINVAL);
        }
        // No overflow: the entry is within the array, which does not wrap around.
        let entry = self.iova + (index * T::LEN) as u64;
        if let Some((start, range)) = &self.pinned {
            let offset = entry.checked_sub(*start).map(|offset| offset as usize);
            // A range has whole pages, and an entry fits into one.
            if let Some(offset) = offset.filter(|offset| *offset <= range.len() - T::LEN) {
                match access(range, offset) {
                    // User space has taken it away, and may have mapped other memory since.
                    Err(error) if error == EFAULT => {}
                    result => return result,
                }
            }
        }
        // Two pins of a page are never needed.
        self.pinned = None;
        let offset = entry as usize % PAGE_SIZE;
        let len = (offset + T::LEN).next_multiple_of(PAGE_SIZE);
        let start = entry - offset as u64;
        let range = self.memory.pin(start, len, self.prot, None)?;
        let (_, range) = self.pinned.insert((start, range));
        access(range, offset)
    }
}
