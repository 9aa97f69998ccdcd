// SPDX-License-Identifier: GPL-2.0

//! The registers of protocol v1: a region that begins with `struct vfio_device_migration_info` and
//! ends with a window through which a stream passes in chunks.
//!
//! Source: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h), which since protocol
//! v2 has the structure and the bits without the rules; Documentation/protocols.md has these. The
//! state machine is that of protocol v2 ([`State`]); v1's bits name some of its states. A
//! [`Session`] does what a register means.

use crate::state::State;

/// Index of the region: the first one after those of every PCI device.
pub const REGION: u32 = 9;

/// Offset of the window in the region, a multiple of any page size that Linux has, so that the
/// window can be mapped without the registers.
pub const DATA_OFFSET: u64 = 0x1_0000;

/// Size in bytes of the window, which is the largest chunk, for a driver that saves that much in
/// one step.
pub const WINDOW: u64 = 16 << 20;

/// Size in bytes of the region.
pub const SIZE: u64 = DATA_OFFSET + WINDOW;

/// Size in bytes from which a chunk is large enough. User space checks its bandwidth limit only
/// between chunks, and a small window stays in the caches.
const ENOUGH: u64 = 1 << 20;

const RUNNING: u32 = 1 << 0;
const SAVING: u32 = 1 << 1;
const RESUMING: u32 = 1 << 2;

/// Returns `device_state` for `state`, whichever protocol set it.
pub fn bits(state: State) -> u32 {
    match state {
        State::Stop => 0,
        State::Running | State::RunningP2p => RUNNING,
        State::StopCopy => SAVING,
        State::PreCopy | State::PreCopyP2p => RUNNING | SAVING,
        State::Resuming => RESUMING,
        State::Error => SAVING | RESUMING,
    }
}

/// Returns the state that user space requests by writing `bits`, or `None` for the error
/// indication, any other combination, or a reserved bit.
pub fn target(bits: u32) -> Option<State> {
    const PRE_COPY: u32 = RUNNING | SAVING;
    Some(match bits {
        0 => State::Stop,
        RUNNING => State::Running,
        SAVING => State::StopCopy,
        PRE_COPY => State::PreCopy,
        RESUMING => State::Resuming,
        _ => return None,
    })
}

/// A register: a member of `struct vfio_device_migration_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The state, as bits.
    DeviceState,
    /// Reserved: reads as 0, and writes are ignored.
    Reserved,
    /// Number of bytes left in the current state; 0 if there are none. Reading it acknowledges the
    /// chunk whose size was read before.
    PendingBytes,
    /// Offset of the chunk in the region.
    DataOffset,
    /// Size of the chunk. Reading it announces a chunk to be saved, writing it passes a chunk to be
    /// loaded.
    DataSize,
}

/// The target of an access to the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A register, in its own width.
    Register(Register),
    /// `len` bytes at `offset` of the window, in bounds.
    Window {
        /// Offset in the window.
        offset: usize,
        /// Length in bytes, cut at the end of the window.
        len: usize,
    },
}

impl Access {
    /// Returns the target of an access of `len` bytes at `offset` of the region.
    ///
    /// Returns `None` for a register in another width or alignment, and for an offset between the
    /// registers and the window or after it.
    pub fn of(offset: u64, len: usize) -> Option<Self> {
        if let Some(at) = offset.checked_sub(DATA_OFFSET) {
            let left = usize::try_from(WINDOW.checked_sub(at).filter(|left| *left > 0)?).ok()?;
            return Some(Access::Window {
                offset: usize::try_from(at).ok()?,
                len: len.min(left),
            });
        }
        let register = match offset {
            0x00 => Register::DeviceState,
            0x04 => Register::Reserved,
            0x08 => Register::PendingBytes,
            0x10 => Register::DataOffset,
            0x18 => Register::DataSize,
            _ => return None,
        };
        (len == register.width()).then_some(Access::Register(register))
    }
}

/// The chunk of a saving session that is in the window, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    len: u64,
    /// Whether the size was read: user space has the chunk, or will before it reads
    /// `pending_bytes`.
    announced: bool,
}

impl Chunk {
    /// Drops the chunk if user space has been told its size.
    fn acknowledge(&mut self) {
        if self.announced {
            *self = Chunk::default();
        }
    }
}

/// The migration behind the registers, as protocol v1 sees it: sessions of another protocol do not
/// exist.
pub trait Session {
    /// The errors of a session.
    type Error;
    /// The error for an access that the interface does not allow.
    const INVALID: Self::Error;

    /// Returns the state of the device, whichever protocol set it.
    fn state(&self) -> State;
    /// Moves the device to `target`, which may be its present state.
    fn set_state(&mut self, target: State) -> Result<(), Self::Error>;
    /// Returns the chunk of the saving session, if one is open.
    fn chunk(&mut self) -> Option<&mut Chunk>;
    /// Returns the number of bytes that are left in this state, without the chunk. While the device
    /// is stopped it must be 0 only at the end of the stream.
    fn pending(&mut self) -> Result<u64, Self::Error>;
    /// Saves the next chunk to the window, and returns its length; 0 only if nothing is pending.
    ///
    /// It has whole records, as many as fit into `enough` bytes, but at least one.
    fn save(&mut self, enough: u64) -> Result<u64, Self::Error>;
    /// Loads the first `len` bytes of the window; it must fail if no loading session is open.
    fn load(&mut self, len: u64) -> Result<(), Self::Error>;
}

impl Register {
    /// Returns the width in bytes, which is also the alignment.
    pub fn width(self) -> usize {
        match self {
            Register::DeviceState | Register::Reserved => 4,
            Register::PendingBytes | Register::DataOffset | Register::DataSize => 8,
        }
    }

    /// Reads the register.
    pub fn read<S: Session>(self, session: &mut S) -> Result<u64, S::Error> {
        match self {
            Register::DeviceState => Ok(bits(session.state()).into()),
            Register::Reserved => Ok(0),
            Register::PendingBytes => pending(session),
            Register::DataOffset => {
                fill(session)?;
                Ok(DATA_OFFSET)
            }
            Register::DataSize => {
                let len = fill(session)?;
                if let Some(chunk) = session.chunk() {
                    chunk.announced = true;
                }
                Ok(len)
            }
        }
    }

    /// Writes `value` to the register.
    pub fn write<S: Session>(self, value: u64, session: &mut S) -> Result<(), S::Error> {
        match self {
            Register::DeviceState => {
                let bits = u32::try_from(value).map_err(|_| S::INVALID)?;
                session.set_state(target(bits).ok_or(S::INVALID)?)?;
                // The write may have moved a saving session to its last phase.
                if let Some(chunk) = session.chunk() {
                    chunk.acknowledge();
                }
                Ok(())
            }
            Register::Reserved => Ok(()),
            Register::DataSize if value <= WINDOW => session.load(value),
            _ => Err(S::INVALID),
        }
    }
}

/// Returns `pending_bytes`, and acknowledges the chunk that user space has taken.
fn pending<S: Session>(session: &mut S) -> Result<u64, S::Error> {
    let Some(chunk) = session.chunk() else {
        return Ok(0);
    };
    chunk.acknowledge();
    let kept = chunk.len;
    Ok(session.pending()?.saturating_add(kept))
}

/// Saves a chunk to the window if there is none, and returns its length; 0 if there is nothing to
/// save.
fn fill<S: Session>(session: &mut S) -> Result<u64, S::Error> {
    let Some(Chunk { len, .. }) = session.chunk().copied() else {
        return Ok(0);
    };
    if len > 0 {
        return Ok(len);
    }
    let len = session.save(ENOUGH)?;
    if let Some(chunk) = session.chunk() {
        *chunk = Chunk {
            len,
            announced: false,
        };
    }
    Ok(len)
}
