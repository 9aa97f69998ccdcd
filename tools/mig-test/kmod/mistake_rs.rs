// SPDX-License-Identifier: GPL-2.0

//! A type of mdev for each rule of the SDK that a driver can break at run time. The scenario
//! `driver-mistakes` requires that the SDK refuses each, and that the kernel log names the rule.

#![forbid(unsafe_code)]

use kernel::{page::PAGE_SIZE, prelude::*, sync::Arc};
use mdev_sdk::model::config::{Bar, Identity, Msix};
use mdev_sdk::model::stream::{name, Format, LoadError, Tag};
use mdev_sdk::{
    Budget, Codec, Context, DeviceMemory, Driver, Migrate, NewDevice, Operations, Parts, Pending,
    Phase, Progress, RecordWriter, Share, Type,
};

mdev_sdk::module_mdev_driver! {
    driver: Mistaken,
    parent: c"mistake",
    parent_driver: c"mistake",
    parent_data: Budget::new(16)?,
    name: "mistake_rs",
    authors: ["The mdev SDK authors"],
    description: "Devices whose driver breaks a rule each, for tests of the mdev SDK",
    license: "GPL",
}

/// What a driver does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    /// The size of BAR 0 is no power of two.
    BarSize,
    /// The table of MSI-X is beyond its BAR.
    Msix,
    /// The memory in BAR 1 reaches beyond the BAR.
    PartBeyond,
    /// BAR 1 and BAR 2 are the same memory.
    MemoryTwice,
    /// A record is longer than RECORDS says.
    RecordTooLong,
    /// A record's tag is not in RECORDS.
    RecordUnknown,
    /// A record's tag is one of the SDK's own.
    RecordOfTheSdk,
    /// `save` returns More and has written nothing.
    MoreOfNothing,
}

use Mistake::*;

/// The mistakes, in the order of their types.
const MISTAKES: [(Mistake, &CStr); 8] = [
    (BarSize, c"bar-size"),
    (Msix, c"msix"),
    (PartBeyond, c"part-beyond"),
    (MemoryTwice, c"memory-twice"),
    (RecordTooLong, c"record-too-long"),
    (RecordUnknown, c"record-unknown"),
    (RecordOfTheSdk, c"record-of-the-sdk"),
    (MoreOfNothing, c"more-of-nothing"),
];

const TYPES: [Type; MISTAKES.len()] = {
    let mut types = [const {
        Type {
            sysfs_name: c"",
            name: c"Mistake",
            description: c"A device whose driver breaks a rule",
            identity: Identity::new(0x4d49, 0x5354),
            kind: name("mistake"),
            geometry: [0; 2],
            codec: Codec::Records,
        }
    }; MISTAKES.len()];
    let mut index = 0;
    while index < types.len() {
        types[index].sysfs_name = MISTAKES[index].1;
        types[index].identity = identity(MISTAKES[index].0);
        index += 1;
    }
    types
};

const fn identity(mistake: Mistake) -> Identity {
    let mut bars = [Bar::None; 6];
    bars[0] = Bar::memory32(if matches!(mistake, BarSize) { 24 } else { 4096 });
    if matches!(mistake, PartBeyond | MemoryTwice) {
        bars[1] = Bar::memory32(MEMORY_SIZE as u32);
    }
    if matches!(mistake, MemoryTwice) {
        bars[2] = bars[1];
    }
    let msix = Some(Msix {
        vectors: 1,
        bar: 0,
        table: 4096,
        pending: 0,
    });
    Identity {
        bars,
        msix: if matches!(mistake, Mistake::Msix) {
            msix
        } else {
            None
        },
        ..Identity::new(0x4d49, 0x5354)
    }
}

const MEMORY_SIZE: usize = 4 * PAGE_SIZE;
const STATE: Tag = Tag::FIRST_DRIVER;
const STATE_LEN: usize = 4;

struct Mistaken {
    mistake: Mistake,
    _share: Share,
}

struct OpenMistaken {
    mistake: Mistake,
    memory: Arc<DeviceMemory>,
}

#[vtable]
impl Driver for Mistaken {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"mistake_rs";
    const TYPES: &'static [Type] = &TYPES;
    type Parent = Budget;
    type Open = OpenMistaken;

    fn available(devices: &Budget, _type_index: usize) -> u32 {
        devices.available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Mistaken {
            mistake: MISTAKES[new.type_index].0,
            _share: new.parent.take(1)?,
        })
    }

    fn open(&self, _cx: Arc<Context>) -> impl PinInit<OpenMistaken, Error> {
        OpenMistaken::new(self.mistake)
    }
}

impl OpenMistaken {
    fn new(mistake: Mistake) -> Result<Self> {
        Ok(OpenMistaken {
            mistake,
            memory: DeviceMemory::new(MEMORY_SIZE)?,
        })
    }
}

#[vtable]
impl Operations for OpenMistaken {
    fn read(&self, _cx: &Context, _bar: usize, _offset: u64, _data: &mut [u8]) -> Result {
        Ok(())
    }

    fn write(&self, _cx: &Context, _bar: usize, _offset: u64, _data: &[u8]) -> Result {
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        match self.mistake {
            PartBeyond => parts.memory(1, PAGE_SIZE as u64, &self.memory),
            MemoryTwice => {
                parts.memory(1, 0, &self.memory)?;
                parts.memory(2, 0, &self.memory)
            }
            _ => Ok(()),
        }
    }

    fn reset(&self, _cx: &Context) -> Result {
        Ok(())
    }
}

#[vtable]
impl Migrate for OpenMistaken {
    const FORMAT: Format = Format::first("mistake_rs");
    const RECORDS: &'static [(Tag, usize)] = &[(STATE, STATE_LEN)];
    type Saving = ();
    type Loading = ();

    fn start_saving(&self) -> Result {
        Ok(())
    }

    fn pending(&self, _saving: Option<&()>) -> Pending {
        Pending::default()
    }

    fn save(&self, _saving: &mut (), phase: Phase, out: &mut RecordWriter<'_>) -> Result<Progress> {
        if phase == Phase::PreCopy {
            return Ok(Progress::Done);
        }
        match self.mistake {
            RecordTooLong => out.record(STATE, &[0; STATE_LEN + 1])?,
            RecordUnknown => out.record(Tag(STATE.0 + 1), &[0; STATE_LEN])?,
            RecordOfTheSdk => out.record(Tag::MATCH, &[0; STATE_LEN])?,
            MoreOfNothing => return Ok(Progress::More),
            _ => out.record(STATE, &[0; STATE_LEN])?,
        }
        Ok(Progress::Done)
    }

    fn start_loading(&self) -> Result {
        Ok(())
    }

    fn load(&self, _loading: &mut (), _tag: Tag, _payload: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }

    fn complete(&self, _loading: &()) -> Result<(), LoadError> {
        Ok(())
    }

    fn commit(&self, _cx: &Context, _loading: ()) {}
}
