// SPDX-License-Identifier: GPL-2.0

//! A workbench that migrates while it works, and a type of mdev for each defect of
//! `mutant/defect.rs`: devices with which the conformance scenarios are tested. The scenarios must
//! find each defect, and nothing in `mutant-sound`.
//!
//! A defect is planted where the code asks for it by `has`; without these lines the code is that
//! of a sound driver. The registers are in `mutant/register.rs`.

#![forbid(unsafe_code)]

pub mod mutant;
mod mutant_migrate;

use kernel::sync::{
    atomic::{Atomic, Relaxed},
    Arc, Mutex,
};
use kernel::workqueue::{self, impl_has_work, new_work, Work, WorkItem};
use kernel::{new_mutex, prelude::*};
use mdev_sdk::model::{
    config::{Bar, Identity},
    stream::name,
};
use mdev_sdk::{
    Budget, Codec, Context, DeviceMemory, Driver, Engine, NewDevice, Operations, Parts, Share,
    Task, Type,
};
use mutant::defect::Defect;
use mutant::device::{Failed, Step, Workbench};
use mutant::register::{MEMORY_SIZE, PAGE, REGISTERS_SIZE};

mdev_sdk::module_mdev_driver! {
    driver: Mutant,
    parent: c"mutant",
    parent_driver: c"mutant",
    parent_data: budgets()?,
    name: "mutant_rs",
    authors: ["The mdev SDK authors"],
    description: "Devices with one defect each, for tests of the mdev SDK's conformance scenarios",
    license: "GPL",
}

/// The maximum of devices of each type.
const DEVICES_MAX: u32 = 16;
const MEMORY_BAR: usize = 1;

const BARS: [Bar; 6] = {
    let mut bars = [Bar::None; 6];
    bars[0] = Bar::memory32(REGISTERS_SIZE as u32);
    bars[MEMORY_BAR] = Bar::Memory32 {
        size: MEMORY_SIZE as u32,
        prefetchable: true,
    };
    bars
};

/// A type for each defect, in the order of [`Defect::ALL`].
const TYPES: [Type; Defect::ALL.len()] = {
    let mut types = [const {
        Type {
            sysfs_name: c"",
            name: c"Workbench",
            description: c"",
            identity: Identity {
                bars: BARS,
                ..Identity::new(0x4d55, 0x5454)
            },
            kind: name("mutant"),
            geometry: [MEMORY_SIZE as u64, 0],
            codec: Codec::Records,
        }
    }; Defect::ALL.len()];
    let mut index = 0;
    while index < types.len() {
        let (_, name, sentence) = Defect::ALL[index];
        types[index].sysfs_name = name;
        types[index].description = sentence;
        index += 1;
    }
    types
};

/// Creates the budget of each type.
fn budgets() -> Result<KVec<Budget>> {
    let mut budgets = KVec::new();
    for _ in &TYPES {
        budgets.push(Budget::new(DEVICES_MAX)?, GFP_KERNEL)?;
    }
    Ok(budgets)
}

/// A device from `create` to `remove`.
struct Mutant {
    defect: Defect,
    _share: Share,
}

/// What the callbacks and the engine share.
#[pin_data]
struct Bench {
    cx: Arc<Context>,
    defect: Defect,
    memory: Arc<DeviceMemory>,
    #[pin]
    device: Mutex<Workbench>,
    /// Does the job in the kernel's workqueue, which the SDK does not stop, for `QuiesceNothing`.
    #[pin]
    work: Work<Bench>,
    /// Whether a saving session was started: for `SecondSessionEmpty`, and `CancelForgets`, for
    /// which a reset clears it.
    was_saved: Atomic<u32>,
    /// Whether a load was committed: for `InterruptPulsed`, which clears it, `CancelForgets`, for
    /// which a reset clears it, `LoadFailsOnceBusy` and `GuestWrittenAfterLoad`.
    was_loaded: Atomic<u32>,
}

impl Bench {
    /// Returns whether the device has `defect`.
    fn has(&self, defect: Defect) -> bool {
        self.defect.includes(defect)
    }

    /// Returns whether a defect keeps the job away from the engine.
    fn is_runaway(&self) -> bool {
        self.has(Defect::QuiesceNothing)
    }

    /// Does a step of the job. Returns whether there was one to do.
    fn step(&self) -> bool {
        let begun = self.device.lock().begin();
        let Some(step) = begun else {
            return false;
        };
        let copied = self.copy(step);
        let mut device = self.device.lock();
        device.end(copied.map_err(|_| Failed));
        self.cx.set_interrupt(device.interrupt());
        true
    }

    /// Does the part of a step that accesses memory, without the lock: it may wait for user space.
    fn copy(&self, step: Step) -> Result {
        let mut page = KVec::from_elem(0, PAGE, GFP_KERNEL)?;
        match step {
            Step::Rounds => {}
            Step::ToDevice { iova, at } => {
                self.cx.memory().read(iova, &mut page)?;
                self.memory.write(at, &page)?;
            }
            Step::ToGuest { iova, at } => {
                self.memory.read(at, &mut page)?;
                self.cx.memory().write(iova, &page)?;
                if self.has(Defect::GuestWrittenAfterLoad) && self.was_loaded.load(Relaxed) != 0 {
                    self.cx.memory().write(iova ^ MEMORY_SIZE as u64, &page)?;
                }
            }
        }
        Ok(())
    }
}

impl_has_work! {
    impl HasWork<Self> for Bench { self.work }
}

impl WorkItem for Bench {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        while this.step() {}
    }
}

/// The task that does a job, step by step.
struct Job(Arc<Bench>);

impl Task for Job {
    fn step(&self, _cx: &Context) -> mdev_sdk::Step {
        match !self.0.is_runaway() && self.0.step() {
            true => mdev_sdk::Step::More,
            false => mdev_sdk::Step::Idle,
        }
    }
}

/// An open device.
struct OpenMutant {
    engine: Engine<Job>,
    bench: Arc<Bench>,
}

impl OpenMutant {
    fn new(cx: Arc<Context>, defect: Defect) -> Result<Self> {
        let memory = DeviceMemory::new(MEMORY_SIZE)?;
        let device = Workbench::new(defect);
        let bench_cx = cx.clone();
        let bench = pin_init!(Bench {
            cx: bench_cx,
            defect,
            memory,
            device <- new_mutex!(device, "mutant_device"),
            work <- new_work!("mutant_work"),
            was_saved: Atomic::new(0),
            was_loaded: Atomic::new(0),
        });
        let bench = Arc::pin_init(bench, GFP_KERNEL)?;
        let engine = Engine::new(cx, Job(bench.clone()))?;
        Ok(OpenMutant { engine, bench })
    }

    /// Lets the job go on.
    fn kick(&self) {
        if self.bench.is_runaway() {
            // It may be queued already.
            let _ = workqueue::system().enqueue(self.bench.clone());
        }
        self.engine.kick();
    }
}

#[vtable]
impl Driver for Mutant {
    const OWNER: &'static ThisModule = mdev_sdk::this_module!();
    const NAME: &'static CStr = c"mutant_rs";
    const TYPES: &'static [Type] = &TYPES;
    type Parent = KVec<Budget>;
    type Open = OpenMutant;

    fn available(budgets: &KVec<Budget>, type_index: usize) -> u32 {
        budgets[type_index].available(1)
    }

    fn create(new: &NewDevice<'_, Self>) -> Result<Self> {
        Ok(Mutant {
            defect: Defect::ALL[new.type_index].0,
            _share: new.parent[new.type_index].take(1)?,
        })
    }

    fn open(&self, cx: Arc<Context>) -> impl PinInit<OpenMutant, Error> {
        OpenMutant::new(cx, self.defect)
    }
}

#[vtable]
impl Operations for OpenMutant {
    fn read(&self, _cx: &Context, _bar: usize, offset: u64, data: &mut [u8]) -> Result {
        self.bench.device.lock().read(offset, data);
        Ok(())
    }

    fn write(&self, cx: &Context, _bar: usize, offset: u64, data: &[u8]) -> Result {
        let mut device = self.bench.device.lock();
        // A stopped device keeps a new job until it is resumed.
        if device.write(offset, data) {
            self.kick();
        }
        cx.set_interrupt(device.interrupt());
        Ok(())
    }

    fn parts(&self, parts: &mut Parts<'_>) -> Result {
        parts.memory(MEMORY_BAR, 0, &self.bench.memory)
    }

    fn reset(&self, cx: &Context) -> Result {
        let bench = &self.bench;
        let was_stopped = bench.device.lock().is_stopped();
        if bench.has(Defect::CancelForgets) {
            bench.was_saved.store(0, Relaxed);
            bench.was_loaded.store(0, Relaxed);
        }
        if !bench.has(Defect::ResetKeepsMemory) {
            bench.memory.clear();
        }
        let mut device = bench.device.lock();
        device.reset(was_stopped);
        cx.set_interrupt(device.interrupt());
        Ok(())
    }
}
