// SPDX-License-Identifier: GPL-2.0

//! For tests of interrupts: the events of a device with one vector.

use mdev_model::irq::{Mode, Vector, Vectors};

/// The interrupts of a device.
pub type Irqs = Vectors<Vec<Vector>>;

/// Returns the interrupts of a device with so many vectors.
pub fn irqs(vectors: usize) -> Irqs {
    Vectors::new(vec![Vector::default(); vectors])
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The device drives its vector.
    Set(bool),
    Mask,
    Unmask,
    Stop,
    Start,
    Reset,
    /// The device is restored: at the source, INTx was signalled and not unmasked, or was not.
    Restore(bool),
    /// The guest sets or clears Interrupt Disable.
    Disable(bool),
    /// User space configures a mode, with or without an eventfd.
    Mode(Mode, bool),
}

pub const INTX: Event = Event::Mode(Mode::Intx, true);
pub const INTX_UNARMED: Event = Event::Mode(Mode::Intx, false);
pub const MSI: Event = Event::Mode(Mode::Msi, true);
pub const MSI_UNARMED: Event = Event::Mode(Mode::Msi, false);
pub const MSIX: Event = Event::Mode(Mode::Msix, true);
pub const OFF: Event = Event::Mode(Mode::None, false);

/// Whether the event signals the eventfd.
pub fn run(irqs: &mut Irqs, event: Event) -> bool {
    let signal = match event {
        Event::Set(asserted) => irqs.set(0, asserted),
        Event::Unmask => irqs.unmask(),
        Event::Start => start(irqs).pop(),
        Event::Restore(signalled) => irqs.restore(signalled),
        Event::Disable(disabled) => irqs.set_disabled(disabled),
        Event::Mode(mode, armed) => {
            irqs.configure(mode, 1);
            irqs.arm(0, armed)
        }
        Event::Mask => {
            irqs.mask();
            None
        }
        Event::Stop => {
            irqs.stop();
            None
        }
        Event::Reset => {
            irqs.reset();
            None
        }
    };
    assert!(matches!(signal, None | Some(0)), "there is one eventfd");
    signal.is_some()
}

/// Starts the device, and returns the eventfds that are signalled for it.
pub fn start(irqs: &mut Irqs) -> Vec<usize> {
    let mut signals = Vec::new();
    irqs.start(|eventfd| signals.push(eventfd));
    signals
}

pub const QUIET: bool = false;
pub const SIGNAL: bool = true;

/// Runs the events on a new device, checks which of them signal, and returns its interrupts.
pub fn script(events: &[(Event, bool)]) -> Irqs {
    let mut irqs = irqs(1);
    for (i, &(event, expected)) in events.iter().enumerate() {
        assert_eq!(run(&mut irqs, event), expected, "event {i}, {event:?}");
    }
    irqs
}
