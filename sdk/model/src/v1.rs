// SPDX-License-Identifier: GPL-2.0

//! The registers of protocol v1: a region that begins as `struct vfio_device_migration_info` and
//! ends as a window through which a stream goes in chunks.
//!
//! Source: `include/uapi/linux/vfio.h`, which since protocol v2 has the structure and the bits but
//! not the rules any more; those are in Documentation/protocols.md. The state machine is that of
//! protocol v2 ([`State`]), of which v1's bits name a part. What a register does to a migration is
//! left to a [`Session`].

use crate::state::State;

/// Index of the region: the first one behind those that each PCI device has.
pub const REGION: u32 = 9;

/// Where the window begins in the region: aligned to a page of any size that Linux has, so that it
/// can be mapped and the registers cannot.
pub const DATA_OFFSET: u64 = 0x1_0000;

/// Bytes of the window: the most that a chunk can have, for a driver that saves that much in one
/// step.
pub const WINDOW: u64 = 16 << 20;

/// Bytes of the region.
pub const SIZE: u64 = DATA_OFFSET + WINDOW;

/// What is enough for a chunk. User space sends a chunk in one go and looks at the bandwidth that
/// it may use between two; and the same memory is used for each, so little of it is fast.
const ENOUGH: u64 = 1 << 20;

const RUNNING: u32 = 1 << 0;
const SAVING: u32 = 1 << 1;
const RESUMING: u32 = 1 << 2;

/// How `device_state` shows `state`, whoever moved the device there.
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

/// The state that is asked for by writing `bits`. The error indication cannot be asked for, nor any
/// other combination, and the reserved bits are 0.
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
    /// Reads as 0; what is written is ignored.
    Reserved,
    /// How much the current state still has to give, 0 if nothing. Reading it also says that the
    /// chunk whose size was read before has been taken.
    PendingBytes,
    /// Where in the region the chunk is.
    DataOffset,
    /// Saving: how long the chunk is. Resuming: writing it hands a chunk over.
    DataSize,
}

/// What an access to the region means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A register, in its own width.
    Register(Register),
    /// `len` bytes at `offset` of the window, all inside of it.
    Window {
        /// From the start of the window.
        offset: usize,
        /// Cut at the end of the window.
        len: usize,
    },
}

impl Access {
    /// What `len` bytes at `offset` of the region are. Registers have a width and an alignment;
    /// there is nothing between them and the window, and nothing behind that.
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
    /// Its size was read: user space has it, or will have it before it looks at what is pending.
    announced: bool,
}

impl Chunk {
    /// What user space was told of is behind it.
    fn acknowledge(&mut self) {
        if self.announced {
            *self = Chunk::default();
        }
    }
}

/// The migration behind the registers, as far as it is this protocol's: a session that was opened
/// by another one is not there.
pub trait Session {
    /// The errors of a session.
    type Error;
    /// The error for what the interface does not allow.
    const INVALID: Self::Error;

    /// The state of the device, whoever moved it there.
    fn state(&self) -> State;
    /// Takes the device to `target`, where it may be already.
    fn set_state(&mut self, target: State) -> Result<(), Self::Error>;
    /// The chunk of the saving session, if one is open.
    fn chunk(&mut self) -> Option<&mut Chunk>;
    /// How much the saving session still has to give in this state, without the chunk. While the
    /// device is stopped it is 0 only if there is nothing.
    fn pending(&mut self) -> Result<u64, Self::Error>;
    /// Puts what comes next into the window, whole records while they fit into `enough` bytes; how
    /// many bytes it was, 0 only if nothing is pending.
    fn save(&mut self, enough: u64) -> Result<u64, Self::Error>;
    /// Loads the first `len` bytes of the window; invalid if no loading session is open.
    fn load(&mut self, len: u64) -> Result<(), Self::Error>;
}

impl Register {
    /// Width in bytes; it is also the alignment.
    pub fn width(self) -> usize {
        match self {
            Register::DeviceState | Register::Reserved => 4,
            Register::PendingBytes | Register::DataOffset | Register::DataSize => 8,
        }
    }

    /// What the register reads as.
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

    /// `value` is written to the register.
    pub fn write<S: Session>(self, value: u64, session: &mut S) -> Result<(), S::Error> {
        match self {
            Register::DeviceState => {
                let bits = u32::try_from(value).map_err(|_| S::INVALID)?;
                session.set_state(target(bits).ok_or(S::INVALID)?)?;
                // A saving session may have gone on, into its last phase.
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

/// What is pending, after what user space has taken.
fn pending<S: Session>(session: &mut S) -> Result<u64, S::Error> {
    let Some(chunk) = session.chunk() else {
        return Ok(0);
    };
    chunk.acknowledge();
    let kept = chunk.len;
    Ok(session.pending()?.saturating_add(kept))
}

/// Sees to it that there is a chunk, if there is anything to give; its length.
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
