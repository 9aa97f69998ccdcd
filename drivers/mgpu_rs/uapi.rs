// SPDX-License-Identifier: GPL-2.0

//! The numbers of `uapi/mgpu.h`, which documents them. `tests/header.rs` compares the two.
#![allow(missing_docs)] // the header is their documentation

pub const PCI_VENDOR_ID: u16 = 0x4d47;
pub const PCI_DEVICE_ID: u16 = 0x5055;
pub const PCI_CLASS: u32 = 0x03_80_00;

pub const BAR_REGISTERS: usize = 0;
pub const BAR_VRAM: usize = 2;
pub const BAR_MSIX: usize = 4;

pub const REGISTERS_SIZE: u32 = 0x1000;
pub const VRAM_SIZE_MAX: u32 = 0x1000_0000;
pub const MSIX_SIZE: u32 = 0x1000;
pub const MSIX_TABLE: u32 = 0x000;
pub const MSIX_PBA: u32 = 0x800;
pub const MSIX_VECTORS: u32 = 4;

pub const ID: u32 = u32::from_le_bytes(*b"mgpu");
pub const VERSION: u32 = 0x0001_0001;

pub const RING_STRIDE: u64 = 0x100;
pub const RING_SIZE_MAX: u32 = 4096;
pub const DISPLAY_MAX: u32 = 16384;
pub const LENGTH_MAX: u32 = 0x1000_0000;
pub const BLIT_MAX: u32 = 0x1_0000;
pub const STRIDE_MAX: u32 = 0x10_0000;

pub const FORMAT_XRGB8888: u32 = u32::from_le_bytes(*b"XR24");
pub const NO_INDEX: u32 = u32::MAX;

/// Number of rings, as the register RINGS has it.
pub const RINGS: usize = 4;

/// Bytes of a command in the ring.
pub const COMMAND_LEN: usize = 64;

/// Offsets in the register BAR: the function's registers and those of ring 0.
pub mod reg {
    pub const ID: u64 = 0x00;
    pub const VERSION: u64 = 0x04;
    pub const FEATURES: u64 = 0x08;
    pub const VRAM_SIZE: u64 = 0x0c;
    pub const STATUS: u64 = 0x10;
    pub const CONTROL: u64 = 0x14;
    pub const INTERRUPT: u64 = 0x18;
    pub const INTERRUPT_ENABLE: u64 = 0x1c;
    pub const ERROR: u64 = 0x20;
    pub const ERROR_INDEX: u64 = 0x24;
    pub const RING_BASE_LO: u64 = 0x28;
    pub const RING_BASE_HI: u64 = 0x2c;
    pub const RING_SIZE: u64 = 0x30;
    pub const RING_HEAD: u64 = 0x34;
    pub const RING_TAIL: u64 = 0x38;
    pub const FENCE_LO: u64 = 0x40;
    pub const FENCE_HI: u64 = 0x44;
    pub const RINGS: u64 = 0x48;
    pub const DISPLAY_CONTROL: u64 = 0x50;
    pub const DISPLAY_WIDTH: u64 = 0x54;
    pub const DISPLAY_HEIGHT: u64 = 0x58;
    pub const DISPLAY_STRIDE: u64 = 0x5c;
    pub const DISPLAY_FORMAT: u64 = 0x60;

    /// Returns the offset of a ring's register, from that of ring 0.
    pub const fn of_ring(ring: usize, register: u64) -> u64 {
        ring as u64 * super::RING_STRIDE + register
    }
}

/// Bits of FEATURES.
pub mod feature {
    pub const DISPLAY: u32 = 1 << 0;
    pub const CRC32C: u32 = 1 << 1;
    pub const RINGS: u32 = 1 << 2;
}

/// Bits of STATUS.
pub mod status {
    pub const BUSY: u32 = 1 << 0;
    pub const ENABLED: u32 = 1 << 1;
    pub const HALTED: u32 = 1 << 2;
}

/// Bits of CONTROL.
pub mod control {
    pub const ENABLE: u32 = 1 << 0;
    pub const RESET: u32 = 1 << 1;
}

/// Bits of INTERRUPT and INTERRUPT_ENABLE.
pub mod interrupt {
    pub const FENCE: u32 = 1 << 0;
    pub const ERROR: u32 = 1 << 1;
    pub const ALL: u32 = FENCE | ERROR;
}

/// Bits of DISPLAY_CONTROL.
pub mod display {
    pub const ENABLE: u32 = 1 << 0;
}

/// Values of a command's `opcode`.
pub mod opcode {
    pub const NOP: u32 = 0;
    pub const FILL: u32 = 1;
    pub const COPY: u32 = 2;
    pub const BLIT: u32 = 3;
    pub const CRC32C: u32 = 4;
    pub const FENCE: u32 = 5;
}

/// Bits of a command's `flags`.
pub mod flag {
    pub const DST_VRAM: u32 = 1 << 0;
    pub const SRC_VRAM: u32 = 1 << 1;
}
