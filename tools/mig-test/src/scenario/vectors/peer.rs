// SPDX-License-Identifier: GPL-2.0
//! `VFIO_DEVICE_SET_IRQS` of a physical device with MSI-X, through vfio-pci, and of the card: each
//! call, good or bad, has the same result.

use std::os::fd::AsRawFd;

use anyhow::{ensure, Result};
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_MASK as MASK, VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK as UNMASK, VFIO_IRQ_SET_DATA_BOOL as BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD as EVENTFD, VFIO_IRQ_SET_DATA_NONE as NONE,
    VFIO_PCI_INTX_IRQ_INDEX as INTX, VFIO_PCI_MSIX_IRQ_INDEX as MSIX,
};

use super::{Card, Checks};
use crate::scenario::conformance::ranges;
use crate::scenario::physical::{Physical, RNG};
use crate::vfio::device::Device;
use crate::vfio::irq::{Event, SetIrqs};

/// A call: what it is, flags, index, first vector, number of vectors, data. Numbers of vectors are
/// counted from the device's if they are negative: -1 is its number, -2 one more.
type Call = (&'static str, u32, u32, i32, i32, Data);

/// The data of a call.
#[derive(Clone, Copy)]
enum Data {
    Nothing,
    /// A true for each vector.
    True,
    /// An eventfd for each vector.
    EventFd,
    /// None for each vector.
    NoEventFd,
    /// Eventfds, and then a file that is not open.
    Closed,
    /// Eventfds, and then a file that is none.
    Other,
}

use Data::*;

/// The calls in their order, of which some change what the next ones find.
const CALLS: &[Call] = &[
    ("by hand, none set", NONE | TRIGGER, MSIX, 0, 1, Nothing),
    ("some by hand, none set", BOOL | TRIGGER, MSIX, 0, 2, True),
    (
        "none set, and switched off",
        NONE | TRIGGER,
        MSIX,
        0,
        0,
        Nothing,
    ),
    (
        "a start behind the last",
        EVENTFD | TRIGGER,
        MSIX,
        -1,
        1,
        EventFd,
    ),
    ("one too many", EVENTFD | TRIGGER, MSIX, 0, -2, EventFd),
    (
        "no vectors, as the first",
        EVENTFD | TRIGGER,
        MSIX,
        0,
        0,
        EventFd,
    ),
    (
        "no vectors, as the first, from 1",
        EVENTFD | TRIGGER,
        MSIX,
        1,
        0,
        EventFd,
    ),
    (
        "a closed file among the first",
        EVENTFD | TRIGGER,
        MSIX,
        0,
        2,
        Closed,
    ),
    ("by hand after it", NONE | TRIGGER, MSIX, 0, 1, Nothing),
    (
        "another file among the first",
        EVENTFD | TRIGGER,
        MSIX,
        0,
        2,
        Other,
    ),
    ("by hand after that", NONE | TRIGGER, MSIX, 0, 1, Nothing),
    ("a mask", NONE | MASK, MSIX, 0, 1, Nothing),
    ("an unmask", NONE | UNMASK, MSIX, 0, 1, Nothing),
    ("one in the middle", EVENTFD | TRIGGER, MSIX, 1, 1, EventFd),
    ("INTx meanwhile", EVENTFD | TRIGGER, INTX, 0, 1, EventFd),
    (
        "an unmask of INTx meanwhile",
        NONE | UNMASK,
        INTX,
        0,
        1,
        Nothing,
    ),
    ("all of them by hand", NONE | TRIGGER, MSIX, 0, -1, Nothing),
    ("some of them by hand", BOOL | TRIGGER, MSIX, 0, 2, True),
    (
        "no vectors by hand, of some kind",
        BOOL | TRIGGER,
        MSIX,
        0,
        0,
        True,
    ),
    (
        "no vectors, when some are set",
        EVENTFD | TRIGGER,
        MSIX,
        0,
        0,
        EventFd,
    ),
    ("none for one", EVENTFD | TRIGGER, MSIX, 1, 1, NoEventFd),
    ("a closed file", EVENTFD | TRIGGER, MSIX, 0, 1, Closed),
    ("a mask with eventfds", EVENTFD | MASK, MSIX, 0, 1, EventFd),
    ("switched off", NONE | TRIGGER, MSIX, 0, 0, Nothing),
    ("switched off again", NONE | TRIGGER, MSIX, 0, 0, Nothing),
    (
        "none for the first",
        EVENTFD | TRIGGER,
        MSIX,
        0,
        1,
        NoEventFd,
    ),
    ("INTx beside that", EVENTFD | TRIGGER, INTX, 0, 1, EventFd),
    (
        "switched off with a start",
        NONE | TRIGGER,
        MSIX,
        1,
        0,
        Nothing,
    ),
    ("INTx after all", EVENTFD | TRIGGER, INTX, 0, 1, EventFd),
    ("MSI-X beside it", EVENTFD | TRIGGER, MSIX, 0, 1, EventFd),
    ("two INTx", NONE | TRIGGER, INTX, 0, 2, Nothing),
    (
        "a mask of INTx by eventfd",
        EVENTFD | MASK,
        INTX,
        0,
        1,
        EventFd,
    ),
    ("INTx switched off", NONE | TRIGGER, INTX, 0, 0, Nothing),
];

/// Compares the results of all calls.
pub fn compare(checks: &mut Checks) -> Result<()> {
    let physical = Physical::bind(RNG)?;
    let (theirs, ours) = (Device::open(physical.path())?, Card::new("few")?);
    let event = Event::new()?;
    let file = std::fs::File::open("/dev/null")?;
    for call in CALLS {
        let results = [&theirs, &ours.device].map(|device| -> Result<Result<(), Errno>> {
            let count = device.irq(MSIX, None)?.count;
            ensure!(count >= 2, "a device with {count} vectors");
            Ok(device.set_irqs(&request(call, count, &event, file.as_raw_fd())))
        });
        let [theirs, ours] = results;
        checks.equal(format!("as vfio-pci: {}", call.0), ours?, theirs?);
    }
    // What conform expects of any device is what vfio-pci does.
    for device in [&theirs, &ours.device] {
        ranges::test(checks, device)?;
    }
    Ok(())
}

fn request(call: &Call, vectors: u32, event: &Event, other: i32) -> SetIrqs {
    let &(_, flags, index, start, count, data) = call;
    let number = |number: i32| match number {
        -1 => vectors,
        -2 => vectors + 1,
        number => number as u32,
    };
    let (start, count) = (number(start), number(count));
    let fds = |last: i32| {
        let first = (1..count).map(|_| event.number());
        let all = first.chain([last]).take(count as usize);
        all.flat_map(i32::to_ne_bytes).collect()
    };
    let data = match data {
        Nothing => Vec::new(),
        True => vec![1; count as usize],
        EventFd => fds(event.number()),
        NoEventFd => fds(-1),
        Closed => fds(9999),
        Other => fds(other),
    };
    SetIrqs {
        flags,
        index,
        start,
        count,
        data,
        ..SetIrqs::default()
    }
}
