// SPDX-License-Identifier: GPL-2.0

//! The offsets of a VFIO device file: the region of an access, and how the access is cut.
//!
//! Region `index` begins at file offset `index << 40`, as in vfio-pci (`VFIO_PCI_OFFSET_SHIFT` in
//! [`include/linux/vfio_pci_core.h`](srctree/include/linux/vfio_pci_core.h)).

/// Number of bits of a file offset below the region index.
pub const OFFSET_SHIFT: u32 = 40;

/// Returns the file offset at which region `index` begins.
#[inline]
pub const fn file_offset(index: u32) -> u64 {
    (index as u64) << OFFSET_SHIFT
}

/// Returns the region index of file offset `pos`, and the offset in that region.
#[inline]
pub const fn split(pos: u64) -> (u32, u64) {
    (
        (pos >> OFFSET_SHIFT) as u32,
        pos & ((1 << OFFSET_SHIFT) - 1),
    )
}

/// Returns the width in bytes of the next access of `left` bytes at `offset`; 0 only if `left` is
/// 0.
///
/// It is the largest power of two up to `widest`, which must be a power of two itself, that is
/// aligned and not longer than `left`.
#[inline]
pub const fn access_width(offset: u64, left: usize, widest: usize) -> usize {
    if left == 0 {
        return 0;
    }
    let aligned = (offset | widest as u64).trailing_zeros();
    let fits = left.ilog2();
    1 << if aligned < fits { aligned } else { fits }
}
