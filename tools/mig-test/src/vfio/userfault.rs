// SPDX-License-Identifier: GPL-2.0
//! Memory with missing pages: an access to one, also by a device, waits until another thread
//! provides the page (<linux/userfaultfd.h>), as for guest memory in a post-copy migration.

use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use linux_raw_sys::general as header;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys::{self, Mapping};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::{read, Errno, Result};

use super::dma::PAGE;

/// The size of a `struct uffd_msg`.
const MESSAGE: usize = size_of::<header::uffd_msg>();
/// The offsets of its members.
const EVENT: usize = offset_of!(header::uffd_msg, event);
const ADDRESS: usize = offset_of!(header::uffd_msg, arg.pagefault.address);

/// Memory whose pages are missing until they are provided.
pub struct Late {
    fd: OwnedFd,
    memory: Arc<Mapping>,
}

impl Late {
    /// Takes ownership of new memory.
    pub fn new(memory: Arc<Mapping>) -> Result<Late> {
        let fd = sys::new_userfault()?;
        let mut api = Packet(Vec::new())
            .u64(header::UFFD_API.into())
            .u64(0)
            .u64(0);
        sys::userfault(&fd, header::_UFFDIO_API, &mut api.0)?;
        let mut range = Packet(Vec::new())
            .u64(memory.address())
            .u64(memory.len() as u64)
            .u64(header::UFFDIO_REGISTER_MODE_MISSING.into())
            .u64(0);
        sys::userfault(&fd, header::_UFFDIO_REGISTER, &mut range.0)?;
        Ok(Late { fd, memory })
    }

    /// Waits for an access to a missing page; returns its number, or `None` once `end` is readable
    /// or has no writer any more.
    pub fn wait(&self, end: impl AsFd) -> Result<Option<usize>> {
        let mut files = [
            PollFd::new(&self.fd, PollFlags::IN),
            PollFd::new(&end, PollFlags::IN),
        ];
        poll(&mut files, None)?;
        if files[0].revents().is_empty() {
            return Ok(None);
        }
        let mut message = [0; MESSAGE];
        let count = read(&self.fd, &mut message)?;
        if count != MESSAGE || u32::from(message[EVENT]) != header::UFFD_EVENT_PAGEFAULT {
            return Err(Errno::PROTO);
        }
        let address = Packet(message.to_vec()).read_u64(ADDRESS);
        let offset = address.wrapping_sub(self.memory.address());
        Ok(Some(offset as usize / PAGE))
    }

    /// Provides a page: a copy of that page of `contents`.
    pub fn provide(&self, page: usize, contents: &Mapping) -> Result<()> {
        let end = (page + 1).checked_mul(PAGE).ok_or(Errno::INVAL)?;
        if end > self.memory.len().min(contents.len()) {
            return Err(Errno::INVAL);
        }
        let offset = (page * PAGE) as u64;
        let mut copy = Packet(Vec::new())
            .u64(self.memory.address() + offset)
            .u64(contents.address() + offset)
            .u64(PAGE as u64)
            .u64(0)
            .u64(0);
        sys::userfault(&self.fd, header::_UFFDIO_COPY, &mut copy.0).map(drop)
    }
}
