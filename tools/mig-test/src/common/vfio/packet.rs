// SPDX-License-Identifier: GPL-2.0
//! A structure of <linux/vfio.h> as bytes, so that a test can pass a short or invalid one.

/// An argument of an ioctl, built member by member and read at the offsets of the C structure.
pub struct Packet(pub Vec<u8>);

impl Packet {
    /// Creates a structure whose first member is its length.
    pub fn sized() -> Packet {
        Packet(vec![0; 4])
    }

    /// Appends a 32-bit member.
    pub fn u32(mut self, value: u32) -> Packet {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    /// Appends a signed 32-bit member.
    pub fn i32(self, value: i32) -> Packet {
        self.bytes(&value.to_ne_bytes())
    }

    /// Appends a 64-bit member.
    pub fn u64(mut self, value: u64) -> Packet {
        self.0.extend_from_slice(&value.to_ne_bytes());
        self
    }

    /// Appends bytes unchanged.
    pub fn bytes(mut self, bytes: &[u8]) -> Packet {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Sets the length: that of the structure, or a wrong one.
    pub fn argsz(mut self, claim: Option<u32>) -> Packet {
        let argsz = claim.unwrap_or(self.0.len() as u32);
        self.0[..4].copy_from_slice(&argsz.to_ne_bytes());
        self
    }

    /// Reads a 32-bit member.
    pub fn read_u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[offset..offset + 4]);
        u32::from_ne_bytes(bytes)
    }

    /// Reads a 64-bit member.
    pub fn read_u64(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[offset..offset + 8]);
        u64::from_ne_bytes(bytes)
    }
}
