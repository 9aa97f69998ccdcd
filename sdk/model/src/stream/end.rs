// SPDX-License-Identifier: GPL-2.0

//! The end of a session: the number of its bytes, and their checksum.

use super::record::{Header, Tag, HEADER_LEN};

/// Length in bytes of the payload of a [`Tag::END`] record.
pub const END_LEN: usize = 12;

/// `crc32c(seed, data)` as in the kernel: CRC32C (Castagnoli), without inversion at either end.
pub type Crc32c = fn(u32, &[u8]) -> u32;

const CRC_SEED: u32 = !0;

/// The count and the checksum of the bytes of a session that were saved or loaded so far.
#[derive(Debug)]
pub struct StreamChecksum {
    pub(super) crc32c: Crc32c,
    crc: u32,
    length: u64,
}

impl StreamChecksum {
    /// Creates the checksum of no bytes.
    pub fn new(crc32c: Crc32c) -> Self {
        StreamChecksum {
            crc32c,
            crc: CRC_SEED,
            length: 0,
        }
    }

    /// Adds `bytes`, the next of the session.
    pub fn account(&mut self, bytes: &[u8]) {
        self.crc = (self.crc32c)(self.crc, bytes);
        self.add(bytes.len());
    }

    /// Adds the next `len` bytes of the session, whose checksum `crc32c` continues from the given
    /// seed.
    ///
    /// For bytes to which there is no reference. If `crc32c` fails, nothing is added, and its error
    /// returned.
    pub fn try_account<E>(
        &mut self,
        len: usize,
        crc32c: impl FnOnce(u32) -> Result<u32, E>,
    ) -> Result<(), E> {
        self.crc = crc32c(self.crc)?;
        self.add(len);
        Ok(())
    }

    fn add(&mut self, len: usize) {
        // Wraps only in a stream of 16 EiB.
        self.length = self.length.wrapping_add(len as u64);
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the closing record, header and payload, of a session with these bytes.
    pub fn end(&self) -> [u8; HEADER_LEN + END_LEN] {
        let mut out = [0; HEADER_LEN + END_LEN];
        let header = Header {
            size: END_LEN as u64,
            optional: false,
            tag: Tag::END,
        };
        out[..HEADER_LEN].copy_from_slice(&header.encode());
        out[HEADER_LEN..HEADER_LEN + 8].copy_from_slice(&self.length.to_le_bytes());
        // The checksum covers everything before itself.
        let crc = !(self.crc32c)(self.crc, &out[..HEADER_LEN + 8]);
        out[HEADER_LEN + 8..].copy_from_slice(&crc.to_le_bytes());
        out
    }
}
