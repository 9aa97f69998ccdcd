// SPDX-License-Identifier: GPL-2.0

//! For tests of interrupts: the events of a line.

use mdev_model::irq::{Line, Mode};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// The device drives the line.
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
pub fn run(line: &mut Line, event: Event) -> bool {
    match event {
        Event::Set(asserted) => line.set(asserted),
        Event::Unmask => line.unmask(),
        Event::Start => line.start(),
        Event::Restore(signalled) => line.restore(signalled),
        Event::Disable(disabled) => line.set_disabled(disabled),
        Event::Mode(mode, armed) => line.set_mode(mode, armed),
        Event::Mask => {
            line.mask();
            false
        }
        Event::Stop => {
            line.stop();
            false
        }
        Event::Reset => {
            line.reset();
            false
        }
    }
}

pub const QUIET: bool = false;
pub const SIGNAL: bool = true;

/// Runs the events on a new line, checks which of them signal, and returns the line.
pub fn script(events: &[(Event, bool)]) -> Line {
    let mut line = Line::new();
    for (i, &(event, expected)) in events.iter().enumerate() {
        assert_eq!(run(&mut line, event), expected, "event {i}, {event:?}");
    }
    line
}
