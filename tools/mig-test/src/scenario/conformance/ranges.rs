// SPDX-License-Identifier: GPL-2.0
//! VFIO_DEVICE_SET_IRQS over ranges of vectors: which of them a trigger by hand signals, and what a
//! refused call leaves. Every device with two vectors of a type has what this needs.

use anyhow::Result;
use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER as TRIGGER, VFIO_IRQ_SET_DATA_BOOL as BOOL,
    VFIO_IRQ_SET_DATA_EVENTFD as EVENTFD, VFIO_IRQ_SET_DATA_NONE as NONE,
    VFIO_PCI_MSIX_IRQ_INDEX as MSIX, VFIO_PCI_MSI_IRQ_INDEX as MSI,
};

use super::checks::Checks;
use crate::vfio::device::Device;
use crate::vfio::irq::{Event, SetIrqs};

/// Vectors of a type that get an eventfd, at most.
const MOST: u32 = 16;

/// Tests the types of interrupt that have several vectors.
pub fn test(checks: &mut Checks, device: &Device) -> Result<()> {
    for (index, name) in [(MSI, "MSI"), (MSIX, "MSI-X")] {
        let all = device.irq(index, None).map_or(0, |info| info.count);
        if all >= 2 {
            let events = (0..all.min(MOST)).map(|_| Event::new());
            let vectors = Vectors {
                device,
                index,
                name,
                all,
                events: events.collect::<rustix::io::Result<_>>()?,
            };
            vectors.test(checks)?;
        }
    }
    Ok(())
}

/// The vectors of a type, of which the first ones have an eventfd.
struct Vectors<'d> {
    device: &'d Device,
    index: u32,
    name: &'static str,
    all: u32,
    events: Vec<Event>,
}

impl Vectors<'_> {
    fn test(&self, checks: &mut Checks) -> Result<()> {
        let (name, device, index) = (self.name, self.device, self.index);
        let set = self.events.len() as u32;
        let last = set - 1;
        let fds: Vec<i32> = self.events.iter().map(Event::number).collect();
        checks.equal(
            format!("{name}: an eventfd for each of {set} vectors"),
            device.connect_all(index, TRIGGER, &fds),
            Ok(()),
        );
        let none = |start, count| self.call(NONE | TRIGGER, start, count, Vec::new());
        let bools = |start, chosen: Vec<u8>| {
            let count = chosen.len() as u32;
            self.call(BOOL | TRIGGER, start, count, chosen)
        };
        let odd = (0..set).map(|vector| (vector % 2) as u8);
        self.signals(checks, "all", &none(0, set), |_| true);
        self.signals(checks, "from 1 on", &none(1, last), |vector| vector > 0);
        self.signals(checks, "the odd ones", &bools(0, odd.collect()), |vector| {
            vector % 2 == 1
        });
        self.signals(
            checks,
            "of the last two the second",
            &bools(last - 1, vec![0, 1]),
            |vector| vector == last,
        );

        let too_many = self.call(
            EVENTFD | TRIGGER,
            1,
            self.all,
            vec![0xff; 4 * self.all as usize],
        );
        for (what, call) in [
            ("one vector too many by hand", none(1, self.all)),
            ("one vector too many without an eventfd", too_many),
        ] {
            let what = format!("{name}: {what}");
            checks.refused(what, device.set_irqs(&call), Errno::INVAL);
        }
        self.signals(checks, "all, after refused calls", &none(0, set), |_| true);

        let only = device.connect_from(index, TRIGGER, last, &[-1]);
        checks.equal(
            format!("{name}: no eventfd for vector {last}"),
            only,
            Ok(()),
        );
        self.signals(checks, "all but that", &none(0, set), |vector| {
            vector < last
        });
        let again = device.connect_from(index, TRIGGER, last, &fds[last as usize..]);
        checks.equal(
            format!("{name}: one for vector {last} again"),
            again,
            Ok(()),
        );
        self.signals(checks, "all again", &none(0, set), |_| true);

        checks.equal(
            format!("{name}: switching it off"),
            device.disable(index),
            Ok(()),
        );
        let off = device.set_irqs(&none(0, set));
        checks.refused(format!("{name}: by hand, switched off"), off, Errno::INVAL);
        for (vector, event) in self.events.iter().enumerate() {
            let what = format!("{name}: signals of vector {vector}, switched off");
            checks.equal(what, event.take(), Ok(0));
        }
        Ok(())
    }

    fn call(&self, flags: u32, start: u32, count: u32, data: Vec<u8>) -> SetIrqs {
        SetIrqs {
            flags,
            index: self.index,
            start,
            count,
            data,
            ..SetIrqs::default()
        }
    }

    /// Triggers vectors by hand, and compares which of them were signalled, once each.
    fn signals(
        &self,
        checks: &mut Checks,
        what: &str,
        call: &SetIrqs,
        is_meant: impl Fn(u32) -> bool,
    ) {
        let name = self.name;
        let called = self.device.set_irqs(call);
        checks.equal(format!("{name} by hand, {what}"), called, Ok(()));
        for (vector, event) in (0..).zip(&self.events) {
            let what = format!("{name} by hand, {what}: signals of vector {vector}");
            checks.equal(what, event.take(), Ok(is_meant(vector).into()));
        }
    }
}
