// SPDX-License-Identifier: GPL-2.0

//! The records of VRAM: runs of pages.
//!
//! The payload of a record is `{ le64 offset, data }`: the offset in VRAM is a multiple of
//! [`PAGE`], the data are at least one and at most [`RUN_PAGES`] whole pages.

use mdev_model::record::require;

/// Bytes of a page of VRAM, whatever the page size of the host.
pub const PAGE: usize = 4096;
/// The maximum of pages in one record.
pub const RUN_PAGES: usize = 16;
/// Bytes of a payload before the data.
pub const HEADER_LEN: usize = 8;
/// The maximum of bytes of a payload.
pub const PAYLOAD_MAX: usize = HEADER_LEN + RUN_PAGES * PAGE;

/// Returns the maximum of bytes of the payloads for `pages` pages: each page is a run.
pub const fn payload_bytes(pages: usize) -> u64 {
    (pages * (HEADER_LEN + PAGE)) as u64
}

/// Returns the beginning of a payload, for the run of pages from `first` on.
pub fn encode_header(first: usize) -> [u8; HEADER_LEN] {
    ((first * PAGE) as u64).to_le_bytes()
}

/// Returns the offset in VRAM of a payload's data, and the data: whole pages inside `vram_size`
/// bytes.
pub fn decode(payload: &[u8], vram_size: u32) -> Result<(usize, &[u8]), &'static str> {
    let header = payload.split_first_chunk::<HEADER_LEN>();
    let (offset, data) = header.ok_or("a VRAM record without an offset")?;
    let pages = data.len() / PAGE;
    require(
        data.len() % PAGE == 0 && (1..=RUN_PAGES).contains(&pages),
        "a VRAM record that is not of 1 to 16 whole pages",
    )?;
    let offset = u64::from_le_bytes(*offset);
    require(offset % PAGE as u64 == 0, "VRAM that is not page aligned")?;
    let end = offset.checked_add(data.len() as u64);
    require(
        end.is_some_and(|end| end <= vram_size.into()),
        "pages beyond VRAM",
    )?;
    Ok((offset as usize, data))
}
