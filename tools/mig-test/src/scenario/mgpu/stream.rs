// SPDX-License-Identifier: GPL-2.0
//! What a stream of mgpu_rs says of VRAM: which pages it sends, and with what in them.

use anyhow::{ensure, Context, Result};
use mdev_model::stream::{Header, Tag, HEADER_LEN};
use mgpu_model::pages::{decode, PAGE};

use super::card::VRAM;

/// Tag of a run of pages.
const TAG: Tag = Tag(Tag::FIRST_DRIVER.0 + 1);

/// A stream that is read piece by piece.
#[derive(Default)]
pub struct Reader {
    /// All of it so far.
    pub bytes: Vec<u8>,
    /// Whole records end here.
    parsed: usize,
}

impl Reader {
    /// Takes what was read, writes the pages that have come whole to `vram`, and returns their
    /// numbers in the order of the stream.
    pub fn take(&mut self, read: &[u8], vram: &mut [u8]) -> Result<Vec<usize>> {
        self.bytes.extend_from_slice(read);
        let mut pages = Vec::new();
        loop {
            let rest = &self.bytes[self.parsed..];
            let Some((header, rest)) = rest.split_first_chunk::<HEADER_LEN>() else {
                return Ok(pages);
            };
            let header = Header::decode(header)
                .map_err(|refusal| anyhow::anyhow!("a bad record header: {}", refusal.reason()))?;
            let size = usize::try_from(header.size).context("an endless record")?;
            let Some(payload) = rest.get(..size) else {
                return Ok(pages);
            };
            self.parsed += HEADER_LEN + size;
            if header.tag == TAG {
                let run = decode(payload, VRAM as u32);
                let (offset, data) = run.map_err(|bad| anyhow::anyhow!("bad pages: {bad}"))?;
                vram[offset..offset + data.len()].copy_from_slice(data);
                pages.extend(
                    (offset..offset + data.len())
                        .step_by(PAGE)
                        .map(|at| at / PAGE),
                );
            }
        }
    }

    /// Demands that the stream ends with a whole record.
    pub fn ensure_whole(&self) -> Result<()> {
        ensure!(
            self.parsed == self.bytes.len(),
            "the stream ends within a record"
        );
        Ok(())
    }
}
