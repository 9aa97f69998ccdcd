// SPDX-License-Identifier: GPL-2.0

//! The defects, one for each type of mdev.

use core::ffi::CStr;

/// Defines [`Defect`] and its table.
macro_rules! defects {
    ($($defect:ident $name:literal $sentence:literal)*) => {
        /// What is wrong with a device.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Defect {
            $(
                #[doc = $sentence]
                $defect,
            )*
        }

        impl Defect {
            /// Each defect with the last part of its type's name, and what the device does wrong.
            /// The index of a defect is that of its type.
            pub const ALL: &'static [(Defect, &'static CStr, &'static CStr)] = &[$((
                Defect::$defect,
                text(concat!($name, "\0")),
                text(concat!($sentence, "\0")),
            ),)*];
        }
    };
}

/// Returns a text that ends with a NUL for C.
const fn text(with_nul: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(with_nul.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("a NUL inside of a text"),
    }
}

impl Defect {
    /// Returns whether a device with this defect has `other`.
    pub fn includes(self, other: Defect) -> bool {
        use Defect::*;
        let eight = matches!(
            other,
            QuiesceNothing
                | ResetStaysStopped
                | MemoryNotCommitted
                | IndexUnchecked
                | PagesUnchecked
                | StatusUnchecked
                | MissingRecordTaken
                | InterruptLost
                | SizeTooSmall
        );
        self == other || self == EightAtOnce && eight
    }
}

defects! {
    Sound "sound" "It has no defect."
    EightAtOnce "eight-at-once"
        "Quiescing and loading memory do nothing, a reset leaves it stopped, two registers are lost, no value and no missing record is refused, no interrupt is set, the size is 8."

    QuiesceNothing "quiesce-nothing" "Quiescing returns at once, and the work goes on."
    QuiesceBusy "quiesce-busy" "Quiescing fails with EBUSY while a job is in progress."
    InterruptClearedByQuiesce "interrupt-cleared-by-quiesce" "Quiescing clears DONE."
    ResumeForgets "resume-forgets" "Resuming leaves the device stopped."

    ResetStaysStopped "reset-stays-stopped" "A reset leaves a stopped device stopped."
    ResetKeepsMemory "reset-keeps-memory" "A reset does not clear the memory."
    ResetKeepsWord "reset-keeps-word" "A reset does not clear WORD."
    ResetKeepsTable "reset-keeps-table" "A reset clears INDEX, and not the table."
    ResetKeepsSteps "reset-keeps-steps" "A reset does not clear STEPS."
    ResetKeepsStatus "reset-keeps-status" "A reset clears neither DONE nor ERROR."
    ResetKeepsJob "reset-keeps-job" "A reset does not end the job."

    ByteLost "byte-lost" "BYTE is saved as 0."
    HalfLost "half-lost" "The upper byte of HALF is saved as 0."
    WordSwapped "word-swapped" "WORD is saved in big endian."
    LongLost "long-lost" "The upper half of LONG is saved as 0."
    IndexLost "index-lost" "INDEX is saved as 0."
    TableLost "table-lost" "The table is saved as zeros."
    TableEntry15Lost "table-entry-15-lost" "The last entry of the table is saved as 0."
    SeedLost "seed-lost" "SEED is saved as 1."
    AddressLost "address-lost" "ADDRESS is saved as 0."
    CountLost "count-lost" "PAGES is saved as 1."
    StatusLost "status-lost" "DONE is not saved."
    ErrorLost "error-lost" "ERROR is saved as DONE."
    JobsLost "jobs-lost" "JOBS is saved as 0."
    StepsLost "steps-lost" "STEPS is saved as 0."
    WordInStatic "word-in-static" "WORD is not saved, but kept in a variable of the module."
    JobDropped "job-dropped" "The job is not saved."
    JobRestarted "job-restarted" "The job is saved as if no step of it were done."

    JobRepeated "job-repeated" "After a load the last step of the job is done again."
    JobSkipped "job-skipped" "After a load the next step of the job is left out."
    JobsCountedTwice "jobs-counted-twice" "A load adds 1 to JOBS."
    InterruptLost "interrupt-lost" "A load does not set the level of the interrupt."
    InterruptPulsed "interrupt-pulsed" "Resuming after a load asserts the interrupt twice more."

    MemoryNotCommitted "memory-not-committed" "A load does not change the memory."
    MemoryPartlyCommitted "memory-partly-committed" "A load leaves the last page zero."
    LoadMerges "load-merges" "A load leaves pages unchanged that the stream does not contain."
    LoadChangesDevice "load-changes-device" "A load changes the registers before its end."
    LoadFailsOnceBusy "load-fails-once-busy" "The second load fails with EBUSY."

    IndexUnchecked "index-unchecked" "A load takes an INDEX beyond the table."
    PagesUnchecked "pages-unchecked" "A load takes a PAGES of 0 or beyond the memory."
    StatusUnchecked "status-unchecked" "A load takes unknown bits of STATUS."
    MissingRecordTaken "missing-record-taken" "A load takes a stream without the registers."
    ShortRecordTaken "short-record-taken" "A load takes too few registers."

    PagesLostAfterFirstPass "pages-lost-after-first-pass"
        "A page that is written after it was sent is not sent again."
    SecondSessionEmpty "second-session-empty"
        "A second session sends only what was written since the first one."
    ZeroPageSkipped "zero-page-skipped" "A page that is zero is not sent."
    LastPageSkipped "last-page-skipped" "The last page is never sent."
    SizeTooSmall "size-too-small" "The size of STOP_COPY is said to be 8 bytes."
    SizeTooSmallInStop "size-too-small-in-stop" "The same, as long as the device is in STOP."
    SizeHuge "size-huge" "The size of STOP_COPY is said to be 1 TiB more than it is."
    DirtyAtStart "dirty-at-start" "Dirty data is left before anything was sent."
    PrecopyNeverEnds "precopy-never-ends" "PRE_COPY saves as long as anything is dirty."
    SaveDestroys "save-destroys" "Saving clears the memory of the source."
    SaveAddsTime "save-adds-time" "A state that is saved twice differs, by a counter."

    CancelForgets "cancel-forgets" "A migration that is given up clears LONG."
    GuestWrittenAfterLoad "guest-written-after-load"
        "After a load a copy to the guest also writes the page that is 64 KiB away."
    RepeatedRecordAdds "repeated-record-adds" "A load adds the JOBS of a second record of registers."
    LatePagesDropped "late-pages-dropped" "A load drops the pages that come after the registers."
    StatusMasked "status-masked" "A load clears unknown bits of STATUS instead of refusing them."
    ManyJobsStayRunning "many-jobs-stay-running" "Quiescing fails once JOBS has reached 2^31."
    JobUncounted "job-uncounted" "The second job is not counted in JOBS."
    WriteLostWhileStopped "write-lost-while-stopped" "What is written while it is stopped is lost."
    DirtyClearedLate "dirty-cleared-late"
        "The mark of a dirty page is cleared some time after the page was copied."
    InterruptMissing "interrupt-missing" "No interrupt is asserted."
}
