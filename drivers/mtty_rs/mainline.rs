// SPDX-License-Identifier: GPL-2.0

//! The migration stream of the kernel's C sample, `samples/vfio-mdev/mtty.c`, so that a VM can
//! migrate live between that driver and this one.
//!
//! The stream has the layout of C structures on x86: a header, then one `struct serial_port` for
//! each port. Every port that the C driver can have written is accepted, with its quirks:
//!
//! - its power-on state is a FIFO of 16 bytes whose FCR was never written (trigger level 0), and
//!   its IIR always says that FIFOs are on: such a port is loaded with its FIFO enabled;
//! - it does not clear the FIFO when FCR turns it off: with more than one byte in it, the FIFO is
//!   loaded as enabled;
//! - it has no time-out, so its trigger level is 1 whatever FCR says: here FCR determines the
//!   level, and the stream to that driver says 1;
//! - it treats a FIFO of 16 bytes as empty, which the format cannot prevent: if 16 bytes are sent
//!   there, the guest sees none of them before it clears the FIFO. 16 bytes that come from there
//!   are delivered;
//! - it saves neither THRI nor MSR deltas. Both are loaded as pending, because a spurious interrupt
//!   costs nothing and a lost one hangs the guest.

use core::ops::Range;

use mdev_model::record::{flag, require};

use crate::state::State;
use crate::uart::{fcr, ier, mcr, msr, FIFO_SIZE};

/// Bytes of the stream's header.
pub const HEADER_LEN: usize = 24;
/// Bytes of each port after it.
pub const PORT_LEN: usize = 36;

const MAGIC: u64 = 0x7e9d_0989_8c3e_2c4e;
const MAJOR: u32 = 1;
const MINOR: u32 = 0;

/// Returns the header of a device with `nr_ports` ports.
pub fn encode_header(nr_ports: u32) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    out[..8].copy_from_slice(&MAGIC.to_le_bytes());
    out[8..12].copy_from_slice(&MAJOR.to_le_bytes());
    out[12..16].copy_from_slice(&MINOR.to_le_bytes());
    out[16..20].copy_from_slice(&nr_ports.to_le_bytes());
    out
}

/// Returns whether `header` begins a stream for a device with `nr_ports` ports.
pub fn check_header(header: &[u8; HEADER_LEN], nr_ports: u32) -> Result<(), &'static str> {
    let own = encode_header(nr_ports);
    let same = |field: Range<usize>| header[field.clone()] == own[field];
    require(same(0..8), "a stream that is not mtty's")?;
    require(same(8..16), "another version of mtty's stream")?;
    require(same(16..20), "another number of ports")?;
    require(same(20..24), "unknown flags")
}

/// Encodes a port as the C driver stores it.
pub fn encode_port(state: &State) -> [u8; PORT_LEN] {
    let State {
        ier,
        fcr,
        lcr,
        mcr,
        scr,
        divisor,
        overrun,
        thri_pending: _,
        msr_delta: _,
        fifo_len,
        fifo,
    } = *state;
    let head = fifo_len % FIFO_SIZE as u8;
    let [dll, dlm] = divisor.to_le_bytes();
    let mut out = [0; PORT_LEN];
    out[..8].copy_from_slice(&[0, ier, 0, lcr, mcr, 0, 0, scr]);
    out[8..24].copy_from_slice(&fifo);
    out[24..29].copy_from_slice(&[head, 0, fifo_len, lcr >> 7, overrun.into()]);
    out[30..35].copy_from_slice(&[dll, dlm, fcr, fcr::depth(fcr), 1]);
    out
}

/// Decodes and checks a port of the C driver.
pub fn decode_port(port: &[u8; PORT_LEN]) -> Result<State, &'static str> {
    // The layout of struct serial_port: uart_reg[8], the FIFO, then single fields.
    let [_, ier, _, lcr, mcr, _, _, scr, rest @ ..] = *port;
    let [mut fifo @ .., head, tail, count, dlab, overrun, _, dll, dlm, fcr, size, level, _] = rest;

    require(dlab == lcr >> 7, "DLAB contradicts LCR")?;
    require(head < 16 && tail < 16 && count <= 16, "FIFO out of range")?;
    require((tail + count) % 16 == head, "contradictory FIFO indices")?;
    fifo.rotate_left(tail.into());
    fifo[count.into()..].fill(0);

    let never_written = fcr == 0 && level == 0;
    let control = fcr::stored(if never_written { fcr::ENABLE } else { fcr });
    let fcr_level = fcr::trigger_level(control);
    let level_fits = never_written || level == 1 || level == fcr_level;
    require(level_fits, "trigger level contradicts FCR")?;
    require(size == fcr::depth(control), "FIFO size contradicts FCR")?;
    let kept = if count > 1 { fcr::ENABLE } else { 0 };

    Ok(State {
        ier: ier & ier::ALL,
        fcr: control | kept,
        lcr,
        mcr: mcr & mcr::ALL,
        scr,
        divisor: u16::from_le_bytes([dll, dlm]),
        overrun: flag(overrun)?,
        thri_pending: count == 0,
        msr_delta: msr::DCTS | msr::DDSR,
        fifo_len: count,
        fifo,
    })
}

/// The item that a byte of a stream completes.
#[derive(Debug)]
pub enum Piece {
    /// A header: ports before it belong to an abandoned session.
    Header,
    /// The next port.
    Port(State),
}

/// A parser that takes a stream byte by byte. If a session is abandoned and another one begins, the
/// stream has a second header in the place of a port.
pub struct Reader {
    /// The incomplete header or port, and the number of its bytes so far.
    piece: [u8; PORT_LEN],
    filled: usize,
    /// A header was parsed.
    begun: bool,
}

impl Default for Reader {
    /// Creates a parser at the beginning of a stream.
    fn default() -> Self {
        Reader {
            piece: [0; PORT_LEN],
            filled: 0,
            begun: false,
        }
    }
}

impl Reader {
    /// Parses the next byte of a stream for a device with `nr_ports` ports.
    pub fn push(&mut self, byte: u8, nr_ports: u32) -> Result<Option<Piece>, &'static str> {
        self.piece[self.filled] = byte;
        self.filled += 1;
        let arrived = &self.piece[..self.filled];
        let in_header = !self.begun || arrived.starts_with(&MAGIC.to_le_bytes());
        let piece = match (in_header, self.filled) {
            (true, HEADER_LEN) => {
                let mut header = [0; HEADER_LEN];
                header.copy_from_slice(arrived);
                check_header(&header, nr_ports)?;
                self.begun = true;
                Piece::Header
            }
            (false, PORT_LEN) => Piece::Port(decode_port(&self.piece)?),
            _ => return Ok(None),
        };
        self.filled = 0;
        Ok(Some(piece))
    }

    /// Returns whether the last byte completed an item.
    pub fn is_whole(&self) -> bool {
        self.filled == 0
    }
}
