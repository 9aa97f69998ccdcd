// SPDX-License-Identifier: GPL-2.0

//! Saving and loading a workbench: memory as pages, in PRE_COPY and STOP_COPY, then the registers.
//! All types have the same kind, so a state of each can be loaded into each.

use super::mutant::defect::Defect;
use super::mutant::register::{MEMORY_SIZE, PAGE};
use super::mutant::state::State;
use super::OpenMutant;
use core::ops::Range;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};
use kernel::time::{delay::fsleep, Delta};
use mdev_sdk::model::stream::{name, Format, LoadError, Tag, HEADER_LEN};
use mdev_sdk::{Context, Migrate, Pending, Phase, Progress, RecordWriter, StagedMemory};

/// [`State::encode`].
const REGISTERS: Tag = Tag(Tag::FIRST_DRIVER.0);
/// A page's number in the memory, then its bytes. A page without a record is zero.
const MEMORY: Tag = Tag(Tag::FIRST_DRIVER.0 + 1);
/// A counter, which only a device with the defect `SaveAddsTime` writes and takes.
const TIME: Tag = Tag(Tag::FIRST_DRIVER.0 + 2);

/// The size in bytes of a record of a page.
const PAGE_RECORD: usize = HEADER_LEN + 1 + PAGE;
const ZEROS: [u8; PAGE] = [0; PAGE];

/// The number of states that were saved, for the defect `SaveAddsTime`.
static SAVED: Atomic<u32> = Atomic::new(0);
/// WORD, for the defect `WordInStatic`.
static WORD: Atomic<u32> = Atomic::new(0);

/// The progress of a saving session.
pub(crate) struct Saving {
    /// The offset in the memory at which to continue.
    at: usize,
    /// Whether this is the first pass, which sends the initial data.
    is_first: bool,
}

/// The staged state of a device.
pub(crate) struct Arrived {
    state: Option<State>,
    memory: StagedMemory,
    /// The pages that have arrived, each with its number, for the defect `LoadMerges`.
    pages: KVec<(u8, KVec<u8>)>,
}

impl Arrived {
    fn keep(&mut self, number: u8, page: &[u8]) -> Result {
        let mut kept = KVec::with_capacity(page.len(), GFP_KERNEL)?;
        kept.extend_from_slice(page, GFP_KERNEL)?;
        Ok(self.pages.push((number, kept), GFP_KERNEL)?)
    }
}

impl OpenMutant {
    /// Takes the next dirty pages to be saved.
    fn take_dirty(&self, saving: &Saving, phase: Phase) -> Result<Option<Range<usize>>> {
        let bench = &self.bench;
        // PRE_COPY: one pass, because the guest may go on writing. STOP_COPY: all dirty pages.
        let mut from = match phase {
            Phase::StopCopy if bench.has(Defect::PagesLostAfterFirstPass) => {
                match saving.is_first {
                    true => saving.at,
                    false => MEMORY_SIZE,
                }
            }
            Phase::StopCopy => 0,
            Phase::PreCopy => saving.at,
        };
        loop {
            let mut run = bench.memory.take_dirty(from, PAGE);
            if run.is_none() && bench.has(Defect::PrecopyNeverEnds) {
                run = bench.memory.take_dirty(0, PAGE);
            }
            match run {
                Some(run) if self.skips(&run)? => from = run.end,
                run => return Ok(run),
            }
        }
    }

    /// Returns whether a defect leaves out these dirty pages.
    fn skips(&self, run: &Range<usize>) -> Result<bool> {
        let bench = &self.bench;
        if bench.has(Defect::LastPageSkipped) {
            return Ok(run.end == MEMORY_SIZE);
        }
        if bench.has(Defect::ZeroPageSkipped) {
            let mut page = KVec::from_elem(0, run.len(), GFP_KERNEL)?;
            bench.memory.read(run.start, &mut page)?;
            return Ok(page.iter().all(|byte| *byte == 0));
        }
        Ok(false)
    }

    /// Saves the next dirty page and only then clears its mark, for the defect `DirtyClearedLate`;
    /// returns its end.
    fn save_before_taking(
        &self,
        saving: &Saving,
        out: &mut RecordWriter<'_>,
    ) -> Result<Option<usize>> {
        let memory = &self.bench.memory;
        let is_dirty = |at: &usize| memory.dirty_bytes(*at) > memory.dirty_bytes(at + PAGE);
        let Some(at) = (saving.at..MEMORY_SIZE).step_by(PAGE).find(is_dirty) else {
            return Ok(None);
        };
        let mut payload = KVec::from_elem((at / PAGE) as u8, 1 + PAGE, GFP_KERNEL)?;
        memory.read(at, &mut payload[1..])?;
        fsleep(Delta::from_millis(2));
        memory.take_dirty(at, PAGE);
        out.record(MEMORY, &payload)?;
        Ok(Some(at + PAGE))
    }

    /// Saves what is saved last: the registers, and the job in them.
    fn save_registers(&self, out: &mut RecordWriter<'_>) -> Result {
        let bench = &self.bench;
        let mut state = bench.device.lock().saved();
        if bench.has(Defect::WordInStatic) {
            WORD.store(core::mem::take(&mut state.word), Relaxed);
        }
        out.record(REGISTERS, &state.encode())?;
        if bench.has(Defect::SaveAddsTime) {
            let time = SAVED.fetch_add(1, Relaxed);
            out.record(TIME, &time.to_le_bytes())?;
        }
        if bench.has(Defect::SaveDestroys) {
            bench.memory.clear();
        }
        Ok(())
    }

    /// Takes over the memory that has arrived.
    fn commit_memory(&self, new: StagedMemory, pages: &[(u8, KVec<u8>)]) -> Result {
        let bench = &self.bench;
        if bench.has(Defect::MemoryNotCommitted) {
            return Ok(());
        }
        if bench.has(Defect::LoadMerges) {
            for (number, page) in pages {
                bench.memory.write(usize::from(*number) * PAGE, page)?;
            }
            return Ok(());
        }
        new.commit();
        if bench.has(Defect::MemoryPartlyCommitted) {
            bench.memory.write(MEMORY_SIZE - PAGE, &ZEROS)?;
        }
        Ok(())
    }
}

#[vtable]
impl Migrate for OpenMutant {
    const FORMAT: Format = Format {
        name: name("mutant_rs"),
        version: 1,
        oldest: 1,
        readable_by: 1,
    };
    const RECORDS: &'static [(Tag, usize)] =
        &[(REGISTERS, State::LEN), (MEMORY, 1 + PAGE), (TIME, 4)];
    type Saving = Saving;
    type Loading = Arrived;

    fn quiesce(&self, cx: &Context) -> Result {
        let bench = &self.bench;
        if bench.has(Defect::QuiesceNothing) {
            return Ok(());
        }
        if bench.has(Defect::QuiesceBusy) && bench.device.lock().is_busy() {
            return Err(EBUSY);
        }
        if bench.has(Defect::ManyJobsStayRunning) && bench.device.lock().saved().jobs >= 1 << 31 {
            return Err(EINVAL);
        }
        bench.device.lock().stop();
        if bench.has(Defect::InterruptClearedByQuiesce) {
            let mut device = bench.device.lock();
            device.lose_done();
            cx.set_interrupt(device.interrupt());
        }
        Ok(())
    }

    fn resume(&self, cx: &Context) {
        let bench = &self.bench;
        if bench.has(Defect::InterruptPulsed) && bench.was_loaded.xchg(0, Relaxed) != 0 {
            let device = bench.device.lock();
            let level = device.interrupt();
            for pulsed in [!level, level, !level, level] {
                cx.set_interrupt(pulsed);
            }
        }
        let was_only_saved =
            bench.was_saved.load(Relaxed) != 0 && bench.was_loaded.load(Relaxed) == 0;
        if bench.has(Defect::CancelForgets) && was_only_saved {
            let mut device = bench.device.lock();
            let mut state = device.saved();
            state.long = 0;
            device.restore(state);
        }
        if !bench.has(Defect::ResumeForgets) {
            bench.device.lock().go_on();
            self.kick();
        }
    }

    fn start_saving(&self) -> Result<Saving> {
        let bench = &self.bench;
        let is_second = bench.was_saved.xchg(1, Relaxed) != 0;
        if !(is_second && bench.has(Defect::SecondSessionEmpty)) {
            bench.memory.start_tracking();
        }
        Ok(Saving {
            at: 0,
            is_first: true,
        })
    }

    fn pending(&self, saving: Option<&Saving>) -> Pending {
        let (bench, memory) = (&self.bench, &self.bench.memory);
        let records = |bytes: u64| bytes / PAGE as u64 * PAGE_RECORD as u64;
        let left = records(saving.map_or(memory.used_bytes(), |_| memory.dirty_bytes(0)));
        let initial = match saving {
            None => left,
            // Dirty pages before `at` were sent and then written again: not initial any more.
            Some(saving) if saving.is_first => records(memory.dirty_bytes(saving.at)),
            Some(_) => 0,
        };
        let mut pending = Pending {
            initial,
            dirty: left.saturating_sub(initial),
            stop_copy: left + (HEADER_LEN + State::LEN) as u64,
        };
        if bench.has(Defect::SaveAddsTime) {
            pending.stop_copy += HEADER_LEN as u64 + 4;
        }
        let in_stop = saving.is_none() && bench.has(Defect::SizeTooSmallInStop);
        if in_stop || bench.has(Defect::SizeTooSmall) {
            pending.stop_copy = 8;
        }
        if bench.has(Defect::SizeHuge) {
            pending.stop_copy += 1 << 40;
        }
        if bench.has(Defect::DirtyAtStart) && saving.is_some_and(|s| s.is_first && s.at == 0) {
            pending.dirty += PAGE_RECORD as u64;
        }
        pending
    }

    fn save(
        &self,
        saving: &mut Saving,
        phase: Phase,
        out: &mut RecordWriter<'_>,
    ) -> Result<Progress> {
        if phase == Phase::PreCopy && self.bench.has(Defect::DirtyClearedLate) {
            if let Some(at) = self.save_before_taking(saving, out)? {
                saving.at = at;
                return Ok(Progress::More);
            }
        }
        if let Some(run) = self.take_dirty(saving, phase)? {
            saving.at = run.end;
            // A page of the host may hold several pages of the records.
            for start in run.step_by(PAGE) {
                let (number, bytes) = ((start / PAGE) as u8, start..start + PAGE);
                out.memory_record(MEMORY, &[number], &self.bench.memory, bytes)?;
            }
            return Ok(Progress::More);
        }
        *saving = Saving {
            at: 0,
            is_first: false,
        };
        if phase == Phase::StopCopy {
            self.save_registers(out)?;
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result<Arrived> {
        let bench = &self.bench;
        if bench.has(Defect::LoadFailsOnceBusy) && bench.was_loaded.load(Relaxed) != 0 {
            return Err(EBUSY);
        }
        Ok(Arrived {
            state: None,
            memory: StagedMemory::new(&bench.memory)?,
            pages: KVec::new(),
        })
    }

    fn load(&self, arrived: &mut Arrived, tag: Tag, payload: &[u8]) -> Result<(), LoadError> {
        let bench = &self.bench;
        match (tag, payload) {
            (MEMORY, _) if bench.has(Defect::LatePagesDropped) && arrived.state.is_some() => {}
            (MEMORY, [number, page @ ..]) if page.len() == PAGE => {
                arrived.memory.write(usize::from(*number) * PAGE, page)?;
                if bench.has(Defect::LoadMerges) {
                    arrived
                        .keep(*number, page)
                        .map_err(|_| LoadError::NoMemory)?;
                }
            }
            (REGISTERS, _) => {
                let mut state = State::decode(payload, bench.defect)?;
                if let (true, Some(first)) = (bench.has(Defect::RepeatedRecordAdds), &arrived.state)
                {
                    state.jobs = state.jobs.wrapping_add(first.jobs);
                }
                if bench.has(Defect::LoadChangesDevice) {
                    bench.device.lock().restore(state);
                }
                arrived.state = Some(state);
            }
            (TIME, _) if bench.has(Defect::SaveAddsTime) => {}
            _ => return Err("a record that no workbench writes".into()),
        }
        Ok(())
    }

    fn complete(&self, arrived: &Arrived) -> Result<(), LoadError> {
        if arrived.state.is_none() && !self.bench.has(Defect::MissingRecordTaken) {
            return Err("the registers are missing".into());
        }
        Ok(())
    }

    fn commit(&self, cx: &Context, arrived: Arrived) {
        let bench = &self.bench;
        if let Err(e) = self.commit_memory(arrived.memory, &arrived.pages) {
            dev_err!(cx.device(), "mutant: memory not taken over: {e:?}\n");
        }
        if let Some(mut state) = arrived.state {
            if bench.has(Defect::WordInStatic) {
                state.word = WORD.load(Relaxed);
            }
            let mut device = bench.device.lock();
            device.restore(state);
            if !bench.has(Defect::InterruptLost) {
                cx.set_interrupt(device.interrupt());
            }
        }
        bench.was_loaded.store(1, Relaxed);
    }
}
