// SPDX-License-Identifier: GPL-2.0

//! Commands: decodes and checks the 64 bytes of a command in the ring.

use mdev_model::record::require;

use crate::{
    error::Error,
    fields::Reader,
    memory::{Place, Space},
    transfer::{Side, Transfer},
    uapi::{flag, opcode, BLIT_MAX, COMMAND_LEN, LENGTH_MAX, STRIDE_MAX},
};

/// A command whose ranges are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Nop,
    Fill {
        dst: Place,
        len: u32,
        pattern: [u8; 4],
    },
    /// COPY and BLIT.
    Transfer(Transfer),
    Crc32c {
        src: Place,
        len: u32,
        /// Guest address.
        result: u64,
    },
    Fence {
        /// Guest address.
        dst: u64,
        value: u64,
    },
}

/// `struct mgpu_command`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Fields {
    opcode: u32,
    flags: u32,
    dst: u64,
    src: u64,
    length: u32,
    height: u32,
    dst_stride: u32,
    src_stride: u32,
    value: u64,
    reserved: [u8; 16],
}

impl Fields {
    fn decode(bytes: &[u8; COMMAND_LEN]) -> Self {
        let mut from = Reader(bytes);
        Fields {
            opcode: from.u32(),
            flags: from.u32(),
            dst: from.u64(),
            src: from.u64(),
            length: from.u32(),
            height: from.u32(),
            dst_stride: from.u32(),
            src_stride: from.u32(),
            value: from.u64(),
            reserved: from.bytes(),
        }
    }

    /// Returns the fields that the opcode uses, and 0 in all others.
    fn used(&self) -> Result<Self, Error> {
        let Fields {
            opcode,
            flags,
            dst,
            src,
            length,
            height,
            dst_stride,
            src_stride,
            value,
            reserved: _,
        } = *self;
        let unused = Fields {
            opcode,
            ..Fields::default()
        };
        let copy = Fields {
            flags: flags & (flag::DST_VRAM | flag::SRC_VRAM),
            dst,
            src,
            length,
            ..unused
        };
        Ok(match opcode {
            opcode::NOP => unused,
            opcode::FILL => Fields {
                flags: flags & flag::DST_VRAM,
                dst,
                length,
                value: value & u64::from(u32::MAX),
                ..unused
            },
            opcode::COPY => copy,
            opcode::BLIT => Fields {
                height,
                dst_stride,
                src_stride,
                ..copy
            },
            opcode::CRC32C => Fields {
                flags: flags & flag::SRC_VRAM,
                ..copy
            },
            opcode::FENCE => Fields {
                dst,
                value,
                ..unused
            },
            _ => return Err(Error::Opcode),
        })
    }

    fn place(&self, at: u64, vram: u32) -> Place {
        let space = if self.flags & vram != 0 {
            Space::Vram
        } else {
            Space::Guest
        };
        Place { space, at }
    }
}

impl Command {
    /// Decodes and checks a command. If it has several errors, returns the one with the lowest
    /// code.
    pub(crate) fn decode(bytes: &[u8; COMMAND_LEN], vram_size: u32) -> Result<Self, Error> {
        let fields = Fields::decode(bytes);
        require(fields == fields.used()?, Error::Reserved)?;
        let dst = fields.place(fields.dst, flag::DST_VRAM);
        let src = fields.place(fields.src, flag::SRC_VRAM);
        let len = fields.length;
        let has_length = || require((1..=LENGTH_MAX).contains(&len), Error::Length);

        match fields.opcode {
            opcode::FILL => {
                has_length()?;
                dst.check(len.into(), vram_size)?;
                Ok(Command::Fill {
                    dst,
                    len,
                    pattern: (fields.value as u32).to_le_bytes(),
                })
            }
            opcode::COPY => {
                has_length()?;
                let side = |place| Side { place, stride: len };
                Transfer::new(side(dst), side(src), len, 1, vram_size).map(Command::Transfer)
            }
            opcode::BLIT => {
                let dst = Side {
                    place: dst,
                    stride: fields.dst_stride,
                };
                let src = Side {
                    place: src,
                    stride: fields.src_stride,
                };
                let height = fields.height;
                let size = 1..=BLIT_MAX;
                let strides = len..=STRIDE_MAX;
                let bounded = size.contains(&len)
                    && size.contains(&height)
                    && u64::from(len) * u64::from(height) <= LENGTH_MAX.into()
                    && strides.contains(&dst.stride)
                    && strides.contains(&src.stride);
                require(bounded, Error::Length)?;
                Transfer::new(dst, src, len, height, vram_size).map(Command::Transfer)
            }
            opcode::CRC32C => {
                has_length()?;
                require(dst.at % 4 == 0, Error::Alignment)?;
                src.check(len.into(), vram_size)?;
                Ok(Command::Crc32c {
                    src,
                    len,
                    result: dst.at,
                })
            }
            opcode::FENCE => {
                require(dst.at % 16 == 0, Error::Alignment)?;
                Ok(Command::Fence {
                    dst: dst.at,
                    value: fields.value,
                })
            }
            _ => Ok(Command::Nop),
        }
    }

    /// Returns the bytes of data that the command processes, over all of its steps.
    pub(crate) fn len(&self) -> u32 {
        match self {
            Command::Nop | Command::Fence { .. } => 0,
            Command::Fill { len, .. } | Command::Crc32c { len, .. } => *len,
            Command::Transfer(transfer) => transfer.len(),
        }
    }
}
