// SPDX-License-Identifier: GPL-2.0

//! The front end of protocol v2: `struct vfio_migration_ops`, and its data files.
//!
//! C headers: [`include/linux/vfio.h`](srctree/include/linux/vfio.h),
//! [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use super::{container::Device, uapi};
use crate::{
    base::raw,
    driver::{Driver, Operations},
    migration::{MigrationState, NewFile, Transfer},
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

/// The private data of a data file.
///
/// A data file may outlive the device, so `vdev` may be used only while the session is alive.
struct DataFile<O: Operations> {
    migration: Arc<MigrationState<O>>,
    /// The number of the file's session.
    number: u64,
    /// For the opt-in to the second version of PRECOPY_INFO. It may be dereferenced only under the
    /// lock of the session and while that is alive, which ends before `close_device` returns.
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
    /// `vdev` must be an open device of `D`, and VFIO must be the caller.
    unsafe extern "C" fn set_state(vdev: *mut raw::vfio_device, new_state: u32) -> *mut raw::file {
        let set = || -> Result<Option<*mut raw::file>> {
            // SAFETY: The caller guarantees that `vdev` is an open device of `D`.
            let migration = unsafe { &Device::<D>::body(vdev).migration };
            let target = State::from_raw(new_state).ok_or(EINVAL)?;
            migration.set_state(target, |new| Self::file(vdev, migration.clone(), new))
        };
        match set() {
            Ok(file) => file.unwrap_or(core::ptr::null_mut()),
            Err(e) => e.to_ptr(),
        }
    }

    /// Stores the migration state; VFIO's debugfs calls it at any time, without a lock.
    ///
    /// # Safety
    ///
    /// `vdev` must be a registered device of `D`, `state` must be valid for writes, and VFIO must
    /// be the caller.
    unsafe extern "C" fn get_state(vdev: *mut raw::vfio_device, state: *mut u32) -> c_int {
        // SAFETY: The caller guarantees that `vdev` is a registered device of `D`, and that `state`
        // is valid.
        unsafe { *state = Device::<D>::body(vdev).migration.state() };
        0
    }

    /// # Safety
    ///
    /// `vdev` must be an open device of `D`, `length` must be valid for writes, and VFIO must be
    /// the caller.
    unsafe extern "C" fn get_data_size(vdev: *mut raw::vfio_device, length: *mut usize) -> c_int {
        from_result(|| {
            // SAFETY: The caller guarantees that `vdev` is an open device of `D`.
            let migration = unsafe { &Device::<D>::body(vdev).migration };
            let size = migration.stop_copy_length()?;
            // SAFETY: The caller guarantees that `length` is valid for writes.
            unsafe { *length = usize::try_from(size)? };
            Ok(0)
        })
    }

    /// Creates the data file of a new session.
    ///
    /// # Errors
    ///
    /// ENOMEM, or the error with which the kernel refuses to create a file.
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
        // SAFETY: `FOPS` is static. The file owns `data` if it is created.
        let file = from_err_ptr(unsafe {
            raw::anon_inode_getfile(
                c"[mdev-migration]".as_char_ptr(),
                &Self::FOPS,
                data.cast(),
                flags as c_int,
            )
        })
        .inspect_err(|_| {
            // SAFETY: There is no file, so this code still owns `data`.
            drop(unsafe { KBox::from_raw(data) })
        })?;
        // SAFETY: `file` is new, so nothing else uses it. The function always succeeds, and makes
        // it a stream, without a position to share or set.
        unsafe { raw::stream_open((*file).f_inode, file) };
        Ok(file)
    }

    /// Returns the private data of `file`.
    ///
    /// # Safety
    ///
    /// [`file`](Self::file) must have created `file`, and the caller must be one of its operations.
    unsafe fn data<'a>(file: *mut raw::file) -> &'a DataFile<D::Open> {
        // SAFETY: The caller guarantees that `file` created it. Only `release` drops the data,
        // after all other operations.
        unsafe { &*(*file).private_data.cast() }
    }

    /// # Safety
    ///
    /// [`file`](Self::file) must have created `file`, and the VFS must be the caller.
    unsafe extern "C" fn read(
        file: *mut raw::file,
        buf: *mut c_char,
        len: usize,
        _pos: *mut i64,
    ) -> isize {
        from_result(|| {
            // SAFETY: The caller guarantees that `file` is a data file; this is one of its
            // operations.
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
    /// [`file`](Self::file) must have created `file`, and the VFS must be the caller.
    unsafe extern "C" fn write(
        file: *mut raw::file,
        buf: *const c_char,
        len: usize,
        _pos: *mut i64,
    ) -> isize {
        from_result(|| {
            // SAFETY: The caller guarantees that `file` is a data file; this is one of its
            // operations.
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
    /// [`file`](Self::file) must have created `file`, and the VFS must be the caller.
    unsafe extern "C" fn poll(file: *mut raw::file, table: *mut raw::poll_table) -> c_uint {
        // SAFETY: The caller guarantees that `file` is a data file, and that the VFS passes a valid
        // `table`; this is one of its operations.
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
        // Arm before checking, so that a write after the check wakes pollers. Arm on every call: an
        // EPOLLET poller does not call again before it is woken.
        data.migration.watch();
        events()
    }

    /// # Safety
    ///
    /// [`file`](Self::file) must have created `file`, and the VFS must be the caller.
    unsafe extern "C" fn ioctl(file: *mut raw::file, cmd: c_uint, arg: c_ulong) -> c_long {
        from_result(|| {
            // SAFETY: The caller guarantees that `file` is a data file; this is one of its
            // operations.
            let data = unsafe { Self::data(file) };
            data.migration
                .with_session(data.number, |open, state, transfer| {
                    let mut info: raw::vfio_precopy_info = pin_init::zeroed();
                    // SAFETY: The session is alive and its lock held, so `close_device` has not
                    // returned and `vdev` is valid. `info` is a local variable.
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
    /// [`file`](Self::file) must have created `file`, and the VFS must call it once, last of its
    /// operations.
    unsafe extern "C" fn release(_inode: *mut raw::inode, file: *mut raw::file) -> c_int {
        // SAFETY: The caller guarantees that `file` is a data file, whose private data is that box,
        // and that no other operation uses it.
        drop(unsafe { KBox::<DataFile<D::Open>>::from_raw((*file).private_data.cast()) });
        0
    }
}
