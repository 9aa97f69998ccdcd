// SPDX-License-Identifier: GPL-2.0

//! A 16550A UART with a loop-back plug in its connector.
//!
//! A byte that the guest writes to THR enters the receive FIFO at once: there is no line and no
//! transmission time. THRE and TEMT mean that this FIFO is empty, so a driver that waits for them,
//! as every driver does, cannot overrun itself. The plug holds CTS, DSR and DCD on; a break is not
//! looped.
//!
//! Names are those of Linux's `include/uapi/linux/serial_reg.h`. If the data sheet (National
//! Semiconductor PC16550D) has another name, it is the item's alias.

use crate::state::State;

/// Bytes in an enabled FIFO.
pub(crate) const FIFO_SIZE: usize = 16;

/// Register offsets. If two registers share one, the name is that of the register that is read.
mod reg {
    #[doc(alias("RBR", "THR", "DLL"))]
    pub(super) const RX: u8 = 0;
    #[doc(alias = "DLM")]
    pub(super) const IER: u8 = 1;
    #[doc(alias = "FCR")]
    pub(super) const IIR: u8 = 2;
    pub(super) const LCR: u8 = 3;
    pub(super) const MCR: u8 = 4;
    pub(super) const LSR: u8 = 5;
    pub(super) const MSR: u8 = 6;
    pub(super) const SCR: u8 = 7;
}

/// Interrupt enable register.
pub(crate) mod ier {
    #[doc(alias = "ERBFI")]
    pub(crate) const RDI: u8 = 1 << 0;
    #[doc(alias = "ETBEI")]
    pub(crate) const THRI: u8 = 1 << 1;
    #[doc(alias = "ELSI")]
    pub(crate) const RLSI: u8 = 1 << 2;
    #[doc(alias = "EDSSI")]
    pub(crate) const MSI: u8 = 1 << 3;
    pub(crate) const ALL: u8 = RDI | THRI | RLSI | MSI;
}

/// Interrupt identification register: exactly one cause, and the state of the FIFOs.
mod iir {
    pub(super) const NO_INT: u8 = 0x01;
    /// Priority 1, until LSR is read.
    pub(super) const RLSI: u8 = 0x06;
    /// Priority 2, while the FIFO is at its trigger level.
    pub(super) const RDI: u8 = 0x04;
    /// Priority 2, while bytes below the trigger level wait and the line is idle.
    pub(super) const RX_TIMEOUT: u8 = 0x0c;
    /// Priority 3, until it is reported or THR is written.
    pub(super) const THRI: u8 = 0x02;
    /// Priority 4, until MSR is read.
    pub(super) const MSI: u8 = 0x00;
    pub(super) const FIFO_ENABLED: u8 = 0xc0;
}

/// FIFO control register. Here the transmit and the receive FIFO are one loop-back FIFO.
pub(crate) mod fcr {
    pub(crate) const ENABLE: u8 = 1 << 0;
    #[doc(alias = "RCVR FIFO RESET")]
    pub(crate) const CLEAR_RCVR: u8 = 1 << 1;
    #[doc(alias = "XMIT FIFO RESET")]
    pub(crate) const CLEAR_XMIT: u8 = 1 << 2;
    pub(crate) const TRIGGER: u8 = 0b11 << 6;

    /// Returns the stored part of a written value: without `ENABLE` no other bit is programmed.
    pub(crate) fn stored(value: u8) -> u8 {
        if value & ENABLE != 0 {
            value & (ENABLE | TRIGGER)
        } else {
            0
        }
    }

    /// Returns the capacity of the FIFO in bytes, for a stored value.
    pub(crate) fn depth(fcr: u8) -> u8 {
        if fcr & ENABLE != 0 {
            super::FIFO_SIZE as u8
        } else {
            1
        }
    }

    /// Returns the number of bytes that raises RDI, for a stored value.
    pub(crate) fn trigger_level(fcr: u8) -> u8 {
        [1, 4, 8, 14][usize::from(fcr >> 6)]
    }
}

/// Line control register. All bits are stored, but only this one has an effect.
mod lcr {
    pub(super) const DLAB: u8 = 1 << 7;
}

/// Modem control register. OUT2 does not gate the interrupt on this card.
pub(crate) mod mcr {
    pub(crate) const DTR: u8 = 1 << 0;
    pub(crate) const RTS: u8 = 1 << 1;
    pub(crate) const OUT1: u8 = 1 << 2;
    pub(crate) const OUT2: u8 = 1 << 3;
    pub(crate) const LOOP: u8 = 1 << 4;
    /// Automatic flow control, of the 16550's successors: CTS is on while the FIFO has room.
    pub(crate) const AFE: u8 = 1 << 5;
    pub(crate) const ALL: u8 = DTR | RTS | OUT1 | OUT2 | LOOP | AFE;
}

/// Line status register.
mod lsr {
    pub(super) const DR: u8 = 1 << 0;
    pub(super) const OE: u8 = 1 << 1;
    pub(super) const THRE: u8 = 1 << 5;
    pub(super) const TEMT: u8 = 1 << 6;
}

/// Modem status register: four inputs in the upper half, and in the lower half a bit for each that
/// says whether it has changed.
pub(crate) mod msr {
    pub(crate) const DCTS: u8 = 1 << 0;
    pub(crate) const DDSR: u8 = 1 << 1;
    pub(crate) const CTS: u8 = 1 << 4;
    pub(crate) const DSR: u8 = 1 << 5;
    pub(crate) const RI: u8 = 1 << 6;
    pub(crate) const DCD: u8 = 1 << 7;
    pub(crate) const ANY_DELTA: u8 = 0x0f;
}

/// One port. It consists of its [`State`] only: it has no configuration and no connection to the
/// outside, and the interrupt is derived from the state, never stored.
#[derive(Debug, Default)]
pub struct Uart {
    state: State,
}

impl Uart {
    /// Creates a port after power-on: FIFOs off, as in the data sheet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Resets the port to its state after power-on. The data sheet keeps SCR and the divisor; here
    /// they are cleared as well, so that the next user of the card cannot read what the last one
    /// wrote.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Returns the state that migrates.
    pub fn state(&self) -> State {
        self.state
    }

    /// Creates a port that continues from `state`.
    pub fn restore(state: State) -> Self {
        Self { state }
    }

    /// Returns the level of the interrupt line.
    #[inline]
    pub fn irq_level(&self) -> bool {
        // The common case first: this is called at every access.
        self.state.ier != 0 && self.cause() != iir::NO_INT
    }

    /// Reads register `reg` (0 to 7) for the guest.
    #[inline]
    pub fn read(&mut self, reg: u8) -> u8 {
        match reg {
            reg::RX if self.dlab() => self.state.divisor as u8,
            reg::RX => self.watching_inputs(Self::receive),
            reg::IER if self.dlab() => (self.state.divisor >> 8) as u8,
            reg::IER => self.state.ier,
            reg::IIR => self.identify(),
            reg::LCR => self.state.lcr,
            reg::MCR => self.state.mcr,
            reg::LSR => {
                let status = self.line_status();
                self.state.overrun = false;
                status
            }
            reg::MSR => self.modem_inputs() | core::mem::take(&mut self.state.msr_delta),
            reg::SCR => self.state.scr,
            _ => 0xff,
        }
    }

    /// Writes `value` to register `reg` (0 to 7) for the guest.
    #[inline]
    pub fn write(&mut self, reg: u8, value: u8) {
        match reg {
            reg::RX if self.dlab() => {
                self.state.divisor = self.state.divisor & 0xff00 | u16::from(value);
            }
            reg::RX => self.watching_inputs(|uart| uart.transmit(value)),
            reg::IER if self.dlab() => {
                self.state.divisor = self.state.divisor & 0x00ff | u16::from(value) << 8;
            }
            reg::IER => self.enable_interrupts(value & ier::ALL),
            reg::IIR => self.watching_inputs(|uart| uart.control_fifo(value)),
            reg::LCR => self.state.lcr = value,
            reg::MCR => self.control_modem(value & mcr::ALL),
            reg::SCR => self.state.scr = value,
            _ => {}
        }
    }

    fn dlab(&self) -> bool {
        self.state.lcr & lcr::DLAB != 0
    }

    fn fifo_is_full(&self) -> bool {
        self.state.fifo_len >= fcr::depth(self.state.fcr)
    }

    fn transmit(&mut self, byte: u8) {
        if self.fifo_is_full() {
            self.state.overrun = true;
        } else {
            self.state.fifo[usize::from(self.state.fifo_len)] = byte;
            self.state.fifo_len += 1;
        }
        self.state.thri_pending = false;
    }

    fn receive(&mut self) -> u8 {
        if self.state.fifo_len == 0 {
            return 0;
        }
        let byte = self.state.fifo[0];
        self.state.fifo.copy_within(1.., 0);
        self.state.fifo[FIFO_SIZE - 1] = 0;
        self.state.fifo_len -= 1;
        self.state.thri_pending = self.state.fifo_len == 0;
        byte
    }

    fn enable_interrupts(&mut self, value: u8) {
        if value & !self.state.ier & ier::THRI != 0 && self.state.fifo_len == 0 {
            self.state.thri_pending = true;
        }
        self.state.ier = value;
    }

    fn control_modem(&mut self, value: u8) {
        // A driver mostly writes what is there.
        if value != self.state.mcr {
            self.watching_inputs(|uart| uart.state.mcr = value);
        }
    }

    fn control_fifo(&mut self, value: u8) {
        let toggled = (value ^ self.state.fcr) & fcr::ENABLE != 0;
        let cleared = toggled || value & (fcr::CLEAR_RCVR | fcr::CLEAR_XMIT) != 0;
        if cleared && self.state.fifo_len != 0 {
            self.state.fifo = [0; FIFO_SIZE];
            self.state.fifo_len = 0;
            self.state.thri_pending = true;
        }
        self.state.fcr = fcr::stored(value);
    }

    /// Returns the pending cause with the highest priority, as IIR shows it.
    fn cause(&self) -> u8 {
        let enabled = |cause| self.state.ier & cause != 0;
        if enabled(ier::RLSI) && self.state.overrun {
            iir::RLSI
        } else if enabled(ier::RDI) && self.state.fifo_len >= fcr::trigger_level(self.state.fcr) {
            iir::RDI
        } else if enabled(ier::RDI) && self.state.fifo_len != 0 {
            iir::RX_TIMEOUT
        } else if enabled(ier::THRI) && self.state.thri_pending {
            iir::THRI
        } else if enabled(ier::MSI) && self.state.msr_delta != 0 {
            iir::MSI
        } else {
            iir::NO_INT
        }
    }

    fn identify(&mut self) -> u8 {
        let cause = self.cause();
        if cause == iir::THRI {
            self.state.thri_pending = false;
        }
        if self.state.fcr & fcr::ENABLE != 0 {
            cause | iir::FIFO_ENABLED
        } else {
            cause
        }
    }

    fn line_status(&self) -> u8 {
        let fill = if self.state.fifo_len == 0 {
            lsr::THRE | lsr::TEMT
        } else {
            lsr::DR
        };
        fill | if self.state.overrun { lsr::OE } else { 0 }
    }

    /// Returns the upper half of MSR: in LOOP mode the chip's own outputs, otherwise the plug's
    /// levels.
    fn modem_inputs(&self) -> u8 {
        let mcr = self.state.mcr;
        let on = |output, input| if mcr & output != 0 { input } else { 0 };
        if mcr & mcr::LOOP != 0 {
            on(mcr::DTR, msr::DSR)
                | on(mcr::RTS, msr::CTS)
                | on(mcr::OUT1, msr::RI)
                | on(mcr::OUT2, msr::DCD)
        } else if mcr & mcr::AFE != 0 && self.fifo_is_full() {
            msr::DSR | msr::DCD
        } else {
            msr::CTS | msr::DSR | msr::DCD
        }
    }

    /// Calls `change`, which may change modem inputs, and records the deltas. RI counts only when
    /// it goes off (TERI).
    fn watching_inputs<R>(&mut self, change: impl FnOnce(&mut Self) -> R) -> R {
        let before = self.modem_inputs();
        let result = change(self);
        let after = self.modem_inputs();
        self.state.msr_delta |= ((before ^ after) & !(after & msr::RI)) >> 4;
        result
    }
}
