// SPDX-License-Identifier: GPL-2.0

//! Saving and loading the toy GPU's state: VRAM as runs of pages, then the registers.

use crate::{pages, state::State, OpenGpu};
use kernel::prelude::*;
use mdev_sdk::{
    model::record::require,
    model::stream::{name, Format, LoadError, Tag, HEADER_LEN},
    Context, Migrate, Pending, Phase, Progress, RecordWriter, StagedMemory,
};

/// The registers and work in progress: [`State::encode`].
const REGISTERS: Tag = Tag(Tag::FIRST_DRIVER.0);
/// A run of pages of VRAM; see `pages.rs`.
const VRAM: Tag = Tag(Tag::FIRST_DRIVER.0 + 1);

/// The progress of a saving session.
pub(crate) struct Saving {
    /// The offset in VRAM at which to continue.
    cursor: usize,
    /// Whether every page of VRAM was sent once.
    first_pass: bool,
    /// Whether the registers were sent.
    registers: bool,
}

/// The staged state of a device.
pub(crate) struct Arrived {
    state: Option<State>,
    vram: StagedMemory,
}

#[vtable]
impl Migrate for OpenGpu {
    const FORMAT: Format = Format {
        name: name("mgpu_rs"),
        version: 2,
        oldest: 2,
        readable_by: 2,
    };
    const RECORDS: &'static [(Tag, usize)] = &[(REGISTERS, State::LEN), (VRAM, pages::PAYLOAD_MAX)];

    type Saving = Saving;
    type Loading = Arrived;

    fn start_saving(&self) -> Result<Saving> {
        self.core.vram.start_tracking();
        Ok(Saving {
            cursor: 0,
            first_pass: true,
            registers: false,
        })
    }

    fn pending(&self, saving: Option<&Saving>) -> Pending {
        let vram = &self.core.vram;
        // The maximum: each page is a record.
        let records = |bytes: u64| {
            let count = bytes as usize / pages::PAGE;
            pages::payload_bytes(count) + (count * HEADER_LEN) as u64
        };
        let (left, initial) = match saving {
            // Dirty pages before the cursor of the first pass were sent, and then written again.
            Some(saving) if saving.first_pass => {
                (vram.dirty_bytes(0), vram.dirty_bytes(saving.cursor))
            }
            Some(_) => (vram.dirty_bytes(0), 0),
            None => (vram.used_bytes(), vram.used_bytes()),
        };
        let (left, initial) = (records(left), records(initial));
        Pending {
            initial,
            dirty: left.saturating_sub(initial),
            stop_copy: left + (HEADER_LEN + State::LEN) as u64,
        }
    }

    fn save(
        &self,
        saving: &mut Saving,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress> {
        let vram = &self.core.vram;
        let most = pages::RUN_PAGES * pages::PAGE;
        let mut run = vram.take_dirty(saving.cursor, most);
        if run.is_none() {
            (saving.first_pass, saving.cursor) = (false, 0);
            // PRE_COPY: one pass, because the guest may go on writing.
            if phase == Phase::StopCopy {
                run = vram.take_dirty(0, most);
            }
        }
        if let Some(run) = run {
            saving.cursor = run.end;
            let header = pages::encode_header(run.start / pages::PAGE);
            out.memory_record(VRAM, &header, vram, run)?;
            return Ok(Progress::More);
        }
        if phase == Phase::StopCopy && !saving.registers {
            let state = self.core.registers.lock().state().ok_or(EBUSY)?;
            out.record(REGISTERS, &state.encode())?;
            saving.registers = true;
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Arrived> {
        Ok(Arrived {
            state: None,
            vram: StagedMemory::new(&self.core.vram)?,
        })
    }

    fn load(&self, arrived: &mut Arrived, tag: Tag, payload: &[u8]) -> Result<(), LoadError> {
        let size = self.vram_size;
        if tag == VRAM {
            let (offset, data) = pages::decode(payload, size)?;
            return arrived.vram.write(offset, data);
        }
        arrived.state = Some(State::decode(payload, size)?);
        Ok(())
    }

    fn complete(&self, arrived: &Arrived) -> Result<(), LoadError> {
        let whole = arrived.state.is_some();
        Ok(require(whole, "the registers are missing")?)
    }

    fn commit(&self, cx: &Context, arrived: Arrived) {
        arrived.vram.commit();
        if let Some(state) = arrived.state {
            let mut registers = self.core.registers.lock();
            let effects = registers.restore(state);
            self.act(cx, &registers, &effects);
        }
    }
}
