// SPDX-License-Identifier: GPL-2.0

//! Protocol v2's front end: `struct vfio_migration_ops`, and the data files it opens.
//!
//! C headers: `include/linux/vfio.h`, `include/linux/anon_inodes.h`

use super::{container::Device, uapi};
use crate::{
    base::raw,
    driver::{Driver, Operations},
    migration::{stop_copy_length, MigrationState, NewFile, Transfer},
};
use core::marker::PhantomData;
use kernel::{
    error::{from_err_ptr, from_result, to_result},
    fs::File,
    prelude::*,
    sync::{poll::PollTable, Arc},
    uaccess::{UserPtr, UserSlice},
};
use mdev_model::state::State;

/// Returns the callbacks for a device of `D`.
pub(super) const fn ops<D: Driver>() -> &'static raw::vfio_migration_ops {
    &VTable::<D>::OPS
}

/// What a data file holds on to. It may outlive the device, so of that it has a pointer that is
/// used only while the session of the file is alive.
struct DataFile<O: Operations> {
    migration: Arc<MigrationState<O>>,
    number: u64,
    /// For the opt-in to PRECOPY_INFO's second version. Dereferenced only under the lock of the
    /// session, and with that alive, which is before `close_device` returns.
    vdev: *mut raw::vfio_device,
}

struct VTable<D: Driver>(PhantomData<D>);

impl<D: Driver> VTable<D> {
    const OPS: raw::vfio_migration_ops = raw::vfio_migration_ops {
        migration_set_state: Some(Self::set_state),
        migration_get_state: Some(Self::get_state),
        migration_get_data_size: Some(Self::get_data_size),
    };

    const FOPS: raw::file_operations = raw::file_operations {
        owner: D::OWNER.as_ptr(),
        read: Some(Self::read),
        write: Some(Self::write),
        poll: Some(Self::poll),
        unlocked_ioctl: Some(Self::ioctl),
        compat_ioctl: raw::compat_ptr_ioctl,
        release: Some(Self::release),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// VFIO must call it, with an open `vdev` of `D`.
    unsafe extern "C" fn set_state(vdev: *mut raw::vfio_device, new_state: u32) -> *mut raw::file {
        let set = || -> Result<Option<*mut raw::file>> {
            // SAFETY: By the function's contract.
            let migration = unsafe { &Device::<D>::body(vdev).migration };
            let target = State::from_raw(new_state).ok_or(EINVAL)?;
            migration.set_state(target, |new| Self::file(vdev, migration.clone(), new))
        };
        match set() {
            Ok(file) => file.unwrap_or(core::ptr::null_mut()),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// VFIO must call it, with a registered `vdev` of `D` and a `state` of its own. Its debugfs
    /// does so without a lock, whether or not somebody has the device open.
    unsafe extern "C" fn get_state(vdev: *mut raw::vfio_device, state: *mut u32) -> c_int {
        // SAFETY: By the function's contract.
        unsafe { *state = Device::<D>::body(vdev).migration.state() };
        0
    }

    /// # Safety
    ///
    /// VFIO must call it, with an open `vdev` of `D` and a `length` of its own.
    unsafe extern "C" fn get_data_size(vdev: *mut raw::vfio_device, length: *mut usize) -> c_int {
        from_result(|| {
            // SAFETY: By the function's contract.
            let migration = unsafe { &Device::<D>::body(vdev).migration };
            let size = migration.with(|open, transfer| match transfer {
                Transfer::Saving(saving) => stop_copy_length(open, Some(saving)),
                _ => stop_copy_length(open, None),
            })?;
            // SAFETY: As above.
            unsafe { *length = usize::try_from(size)? };
            Ok(0)
        })
    }

    fn file(
        vdev: *mut raw::vfio_device,
        migration: Arc<MigrationState<D::Open>>,
        new: NewFile,
    ) -> Result<*mut raw::file> {
        let flags = if new.loads {
            raw::O_WRONLY
        } else {
            raw::O_RDONLY
        };
        let data = KBox::new(
            DataFile {
                migration,
                number: new.number,
                vdev,
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        let data = KBox::into_raw(data);
        // SAFETY: `FOPS` is static, and takes over `data` if there is a file.
        let file = from_err_ptr(unsafe {
            raw::anon_inode_getfile(
                c"[mdev-migration]".as_char_ptr(),
                &Self::FOPS,
                data.cast(),
                flags as c_int,
            )
        })
        .inspect_err(|_| {
            // SAFETY: There is no file, so `data` is still ours.
            drop(unsafe { KBox::from_raw(data) })
        })?;
        // SAFETY: `file` is new and nobody else's. A stream has no position that could be shared or
        // set; the function never fails.
        unsafe { raw::stream_open((*file).f_inode, file) };
        Ok(file)
    }

    /// # Safety
    ///
    /// `file` must be a file that [`file`](Self::file) made, and the caller one of its operations.
    unsafe fn data<'a>(file: *mut raw::file) -> &'a DataFile<D::Open> {
        // SAFETY: By the function's contract; `release` alone ends it, after all others.
        unsafe { &*(*file).private_data.cast() }
    }

    /// # Safety
    ///
    /// The VFS must call it, on a file that [`file`](Self::file) made.
    unsafe extern "C" fn read(
        file: *mut raw::file,
        buf: *mut c_char,
        len: usize,
        _pos: *mut i64,
    ) -> isize {
        from_result(|| {
            // SAFETY: By the function's contract.
            let data = unsafe { Self::data(file) };
            let user = UserPtr::from_ptr(buf.cast());
            data.migration
                .with_session(data.number, |open, _, transfer| match transfer {
                    Transfer::Saving(saving) => Ok(saving.read(open, user, len)? as isize),
                    _ => Err(ENODEV),
                })
        })
    }

    /// # Safety
    ///
    /// The VFS must call it, on a file that [`file`](Self::file) made.
    unsafe extern "C" fn write(
        file: *mut raw::file,
        buf: *const c_char,
        len: usize,
        _pos: *mut i64,
    ) -> isize {
        from_result(|| {
            // SAFETY: By the function's contract.
            let data = unsafe { Self::data(file) };
            let user = UserPtr::from_ptr(buf.cast_mut().cast());
            let mut user = UserSlice::new(user, len).reader();
            data.migration
                .with_session(data.number, |open, _, transfer| match transfer {
                    Transfer::Loading(loading) => Ok(loading.write(open, &mut user)? as isize),
                    _ => Err(ENODEV),
                })
        })
    }

    /// # Safety
    ///
    /// The VFS must call it, on a file that [`file`](Self::file) made.
    unsafe extern "C" fn poll(file: *mut raw::file, table: *mut raw::poll_table) -> c_uint {
        // SAFETY: By the function's contract.
        let (data, file, table) = unsafe {
            (
                Self::data(file),
                File::from_raw_file(file),
                PollTable::from_raw(table),
            )
        };
        table.register_wait(file, data.migration.wakeup.condvar());
        let events = || {
            let events = data
                .migration
                .with_session(data.number, |open, _, transfer| {
                    Ok(match transfer {
                        Transfer::Saving(saving) if saving.is_readable(open) => {
                            raw::POLLIN | raw::POLLRDNORM
                        }
                        Transfer::Loading(_) => raw::POLLOUT | raw::POLLWRNORM,
                        _ => 0,
                    })
                });
            events.unwrap_or(raw::POLLERR | raw::POLLHUP)
        };
        // Before the look, which finds what is written until then; and each time, for who polls by
        // edges does not look again before it is woken.
        data.migration.watch();
        events()
    }

    /// # Safety
    ///
    /// The VFS must call it, on a file that [`file`](Self::file) made.
    unsafe extern "C" fn ioctl(file: *mut raw::file, cmd: c_uint, arg: c_ulong) -> c_long {
        from_result(|| {
            // SAFETY: By the function's contract.
            let data = unsafe { Self::data(file) };
            data.migration
                .with_session(data.number, |open, state, transfer| {
                    let mut info: raw::vfio_precopy_info = pin_init::zeroed();
                    // SAFETY: The session is alive, so `close_device` has not returned and `vdev`
                    // lives. `info` is a local variable.
                    to_result(unsafe {
                        raw::vfio_check_precopy_ioctl(data.vdev, cmd, arg, &mut info)
                    })?;
                    let saving = match transfer {
                        Transfer::Saving(saving) if state.is_pre_copy() => saving,
                        _ => return Err(EINVAL),
                    };
                    let remaining = saving.pre_copy(open);
                    info.initial_bytes = remaining.initial;
                    info.dirty_bytes = remaining.dirty;
                    uapi::store(arg, &info, info.argsz)?;
                    Ok(0)
                })
        })
    }

    /// # Safety
    ///
    /// The VFS must call it once, at the end of a file that [`file`](Self::file) made.
    unsafe extern "C" fn release(_inode: *mut raw::inode, file: *mut raw::file) -> c_int {
        // SAFETY: By the function's contract; `file` had put the box there.
        drop(unsafe { KBox::<DataFile<D::Open>>::from_raw((*file).private_data.cast()) });
        0
    }
}
