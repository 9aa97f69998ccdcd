// SPDX-License-Identifier: GPL-2.0

//! The state of a port that migrates: everything that a guest can see or wait for.
//!
//! The encoding is little-endian and without padding, and each state has exactly one:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0 | 5 | IER, FCR, LCR, MCR, SCR: 0 in bits that do not exist, FCR is 0 while the FIFOs are off |
//! | 5 | 2 | divisor latch |
//! | 7 | 1 | 1 if LSR has an overrun error to report, else 0 |
//! | 8 | 1 | 1 if IIR has an empty transmitter to report, else 0 |
//! | 9 | 1 | the deltas (lower half) of MSR |
//! | 10 | 1 | bytes in the FIFO: at most 16, or 1 while the FIFOs are off |
//! | 11 | 16 | the FIFO, oldest byte first, 0 after its end |

use mdev_model::record::{require, Record};

use crate::uart::{fcr, ier, mcr, msr, FIFO_SIZE};

mdev_model::record! {
    /// One port's state. It is always valid: it comes from a port, or was checked.
    #[derive(Default)]
    pub struct State {
        // Registers: what the guest wrote, without the bits that do not exist.
        pub(crate) ier: u8,
        pub(crate) fcr: u8,
        pub(crate) lcr: u8,
        pub(crate) mcr: u8,
        pub(crate) scr: u8,
        pub(crate) divisor: u16,

        // Events that were not reported to the guest yet.
        pub(crate) overrun: bool,
        pub(crate) thri_pending: bool,
        pub(crate) msr_delta: u8,

        // The loop-back FIFO, oldest byte first, 0 after its end.
        pub(crate) fifo_len: u8,
        pub(crate) fifo: [u8; FIFO_SIZE],
    }
}

impl Record for State {
    fn check(&self) -> Result<(), &'static str> {
        let Self {
            ier,
            fcr,
            mcr,
            thri_pending,
            msr_delta,
            fifo_len,
            fifo,
            ..
        } = *self;
        require(ier & !ier::ALL == 0, "unknown IER bits")?;
        require(mcr & !mcr::ALL == 0, "unknown MCR bits")?;
        require(fcr == fcr::stored(fcr), "FCR bits that do not stay")?;
        require(msr_delta & !msr::ANY_DELTA == 0, "unknown MSR deltas")?;
        require(fifo_len <= fcr::depth(fcr), "a FIFO that is too long")?;
        let unused = &fifo[usize::from(fifo_len)..];
        require(unused.iter().all(|&b| b == 0), "bytes after the FIFO")?;
        require(fifo_len == 0 || !thri_pending, "THRI with bytes to send")
    }
}
