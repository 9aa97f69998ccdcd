// SPDX-License-Identifier: GPL-2.0

//! The offsets of a VFIO device file: which region an access means, and how it is cut.
//!
//! The file offset of region `index` is `index << 40`, as vfio-pci has it (`VFIO_PCI_OFFSET_SHIFT`
//! in `include/linux/vfio_pci_core.h`).

/// Bits of a file offset below the region index.
pub const OFFSET_SHIFT: u32 = 40;

/// The file offset at which region `index` begins.
#[inline]
pub const fn file_offset(index: u32) -> u64 {
    (index as u64) << OFFSET_SHIFT
}

/// The region index and the offset in that region of file offset `pos`.
#[inline]
pub const fn split(pos: u64) -> (u32, u64) {
    (
        (pos >> OFFSET_SHIFT) as u32,
        pos & ((1 << OFFSET_SHIFT) - 1),
    )
}

/// The width in bytes of the next access of `left` bytes at `offset`: the largest power of two up
/// to `widest`, itself one, that is aligned and does not overshoot. Zero only if `left` is zero.
#[inline]
pub const fn access_width(offset: u64, left: usize, widest: usize) -> usize {
    if left == 0 {
        return 0;
    }
    let aligned = (offset | widest as u64).trailing_zeros();
    let fits = left.ilog2();
    1 << if aligned < fits { aligned } else { fits }
}
