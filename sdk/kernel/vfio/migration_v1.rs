// SPDX-License-Identifier: GPL-2.0

//! The front end of protocol v1: a region whose registers drive the migration session.
//!
//! `mdev_model::v1` defines the registers; here are user space's accesses to them and to the window
//! behind them.
//!
//! C header: `struct vfio_device_migration_info` in
//! [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

use crate::{
    driver::{Open, Operations},
    migration::{MigrationState, Protocol, Session, Transfer},
};
use core::mem::size_of;
use kernel::{
    prelude::*,
    uaccess::{UserSliceReader, UserSliceWriter},
};
use mdev_model::{
    state::State,
    v1::{self, Access, Chunk},
};

/// Number of bytes of the window that are copied at a time where it is not mapped.
const PIECE: usize = 256;

/// The migration session, as the registers of protocol v1 use it.
struct Owned<'a, O: Operations>(&'a mut Session<O>);

impl<O: Operations> Owned<'_, O> {
    /// Returns the device and its transfer; EINVAL if this protocol does not own the session.
    fn transfer(&mut self) -> Result<(&Open<O>, &mut Transfer<O>)> {
        self.0.owned_by(Protocol::V1).ok_or(EINVAL)
    }
}

impl<O: Operations> v1::Session for Owned<'_, O> {
    type Error = Error;
    const INVALID: Error = EINVAL;

    fn state(&self) -> State {
        self.0.state()
    }

    fn set_state(&mut self, target: State) -> Result {
        let before = self.0.state();
        let result = self.0.set_state(Protocol::V1, target);
        if result.is_err() && matches!(before, State::Running | State::Stop) {
            // On an error user space assumes the state before, so return there. The first error is
            // the one to report.
            let _ = self.0.set_state(Protocol::V1, before);
        }
        result.map(drop)
    }

    fn chunk(&mut self) -> Option<&mut Chunk> {
        match self.transfer() {
            Ok((_, Transfer::Saving(saving))) => Some(&mut saving.chunk),
            _ => None,
        }
    }

    fn pending(&mut self) -> Result<u64> {
        match self.transfer()? {
            (open, Transfer::Saving(saving)) => saving.pending(open),
            _ => Err(EINVAL),
        }
    }

    fn save(&mut self, enough: u64) -> Result<u64> {
        match self.transfer()? {
            (open, Transfer::Saving(saving)) => saving.fill_window(open, enough),
            _ => Err(EINVAL),
        }
    }

    fn load(&mut self, len: u64) -> Result {
        match self.transfer()? {
            (open, Transfer::Loading(loading)) => loading.take_window(open, len),
            _ => Err(EINVAL),
        }
    }
}

/// Reads at `offset` of the region, and returns the number of bytes.
///
/// # Errors
///
/// EINVAL for an access that is neither to a register nor in the window; EFAULT if user space
/// cannot be written; else the error of the session.
pub(super) fn read<O: Operations>(
    migration: &MigrationState<O>,
    open: &Open<O>,
    offset: u64,
    user: &mut UserSliceWriter,
) -> Result<usize> {
    match Access::of(offset, user.len()).ok_or(EINVAL)? {
        Access::Register(register) => {
            let value = migration.locked(|session| register.read(&mut Owned(session)))?;
            match register.width() {
                4 => user.write_slice(&(value as u32).to_ne_bytes())?,
                _ => user.write_slice(&value.to_ne_bytes())?,
            }
            Ok(register.width())
        }
        Access::Window { offset, len } => {
            let mut piece = [0; PIECE];
            for at in (0..len).step_by(PIECE) {
                let piece = &mut piece[..(len - at).min(PIECE)];
                open.cx.window.read(offset + at, piece)?;
                user.write_slice(piece)?;
            }
            Ok(len)
        }
    }
}

/// Writes at `offset` of the region, and returns the number of bytes.
///
/// # Errors
///
/// EINVAL for an access that is neither to a register nor in the window, or to the window while no
/// session of this protocol loads; EFAULT if user space cannot be read; else the error of the
/// session.
pub(super) fn write<O: Operations>(
    migration: &MigrationState<O>,
    open: &Open<O>,
    offset: u64,
    user: &mut UserSliceReader,
) -> Result<usize> {
    match Access::of(offset, user.len()).ok_or(EINVAL)? {
        Access::Register(register) => {
            let value = match register.width() {
                4 => u32::from_ne_bytes(user.read::<[u8; size_of::<u32>()]>()?).into(),
                _ => u64::from_ne_bytes(user.read::<[u8; size_of::<u64>()]>()?),
            };
            migration.locked(|session| register.write(value, &mut Owned(session)))?;
            Ok(register.width())
        }
        Access::Window { offset, len } => {
            let loads = migration.locked(|session| {
                let transfer = session.owned_by(Protocol::V1);
                matches!(transfer, Some((_, Transfer::Loading(_))))
            });
            if !loads {
                return Err(EINVAL);
            }
            let mut piece = [0; PIECE];
            for at in (0..len).step_by(PIECE) {
                let piece = &mut piece[..(len - at).min(PIECE)];
                user.read_slice(piece)?;
                open.cx.window.write(offset + at, piece)?;
            }
            Ok(len)
        }
    }
}
