// SPDX-License-Identifier: GPL-2.0

//! Sequences of little-endian fields without padding.

/// Takes fields from the front of bytes. There must be enough bytes for all of them.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, tail) = self.0.split_at(N);
        self.0 = tail;
        let mut out = [0; N];
        out.copy_from_slice(head);
        out
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}

/// Puts fields into `N` bytes, which must hold all of them.
pub(crate) struct Writer<const N: usize> {
    out: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    pub(crate) fn new() -> Self {
        Writer {
            out: [0; N],
            len: 0,
        }
    }

    #[must_use]
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let end = self.len + bytes.len();
        self.out[self.len..end].copy_from_slice(bytes);
        self.len = end;
        self
    }

    #[must_use]
    pub(crate) fn u8(self, value: impl Into<u8>) -> Self {
        self.bytes(&[value.into()])
    }

    #[must_use]
    pub(crate) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    #[must_use]
    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Returns all bytes, with 0 after the last field.
    pub(crate) fn done(self) -> [u8; N] {
        self.out
    }
}
