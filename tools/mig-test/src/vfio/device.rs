// SPDX-License-Identifier: GPL-2.0
//! An open VFIO device: information, regions, reset.

use std::ffi::CString;
use std::fs::File;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{bail, ensure, Context, Result};
use mig_common::vfio::number;
use mig_common::vfio::packet::Packet;
use mig_common::vfio::sys::{self, Mapping};
use rustix::io::{pread, pwrite, Errno};
use vfio_bindings::bindings::vfio::{
    vfio_device_info, vfio_irq_info, vfio_region_info, VFIO_TYPE1v2_IOMMU, VFIO_GROUP_FLAGS_VIABLE,
    VFIO_PCI_CONFIG_REGION_INDEX,
};

use super::iommufd::Ioas;

/// PCI_COMMAND of <linux/pci_regs.h>.
const COMMAND: u64 = 4;
/// PCI_COMMAND_MASTER.
const COMMAND_MASTER: u8 = 1 << 2;

/// Memory whose address a device may have: kept for longer than the device.
#[derive(Default)]
pub(super) struct Mapped(Mutex<Vec<Arc<Mapping>>>);

impl Mapped {
    /// Keeps `memory`.
    pub fn keep(&self, memory: &Arc<Mapping>) {
        let mut mapped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !mapped.iter().any(|known| Arc::ptr_eq(known, memory)) {
            mapped.push(memory.clone());
        }
    }
}

/// The group of a device in a container.
pub struct Group {
    group: File,
    /// A group is attached for as long as its container is open.
    pub(super) container: File,
    pub(super) mapped: Arc<Mapped>,
    name: CString,
}

impl Group {
    /// Attaches the group of the device in a sysfs folder to a container of its own.
    pub fn attach(device: &Path) -> Result<Group> {
        let container = open_node(Path::new("/dev/vfio/vfio"))?;
        let group = Group::of(device, container, Arc::default())?;
        sys::with_value(&group.container, number::SET_IOMMU, VFIO_TYPE1v2_IOMMU)?;
        Ok(group)
    }

    /// Attaches the group of another device to this container.
    pub fn beside(&self, device: &Path) -> Result<Group> {
        Group::of(device, self.container.try_clone()?, self.mapped.clone())
    }

    fn of(device: &Path, container: File, mapped: Arc<Mapped>) -> Result<Group> {
        Ok(Group {
            group: attach_to(&container, device)?,
            container,
            mapped,
            name: name_of(device)?,
        })
    }

    /// Opens the group's device. The kernel allows it more than once.
    pub fn open_device(&self) -> Result<OwnedFd, Errno> {
        let mut name = self.name.as_bytes_with_nul().to_vec();
        sys::with_fixed(&self.group, number::GROUP_GET_DEVICE_FD, &mut name).map(sys::take_fd)
    }
}

fn open_node(path: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).open(path);
    file.with_context(|| format!("open {}", path.display()))
}

fn name_of(device: &Path) -> Result<CString> {
    let path = device.canonicalize()?;
    let name = path.file_name().context("a device without a name")?;
    Ok(CString::new(name.as_bytes())?)
}

/// Attaches the group of the device in a sysfs folder to a container.
fn attach_to(container: &File, device: &Path) -> Result<File> {
    let link = device.join("iommu_group").canonicalize().with_context(|| {
        format!(
            "{} has no IOMMU group; is it bound to VFIO?",
            device.display()
        )
    })?;
    let number = link
        .file_name()
        .context("an IOMMU group without a number")?;
    let group = open_node(&Path::new("/dev/vfio").join(number))?;

    let mut status = Packet::sized().u32(0).argsz(None);
    sys::with_sized(&group, number::GROUP_GET_STATUS, &mut status.0)?;
    ensure!(
        status.read_u32(4) & VFIO_GROUP_FLAGS_VIABLE != 0,
        "the group is not viable"
    );

    let mut fd = container.as_raw_fd().to_ne_bytes();
    sys::with_fixed(&group, number::GROUP_SET_CONTAINER, &mut fd)?;
    Ok(group)
}

/// Answer to VFIO_DEVICE_GET_INFO.
#[derive(Debug, Clone, Copy)]
pub struct DeviceInfo {
    /// VFIO_DEVICE_FLAGS_*.
    pub flags: u32,
    /// The number of indices for GET_REGION_INFO.
    pub regions: u32,
    /// The number of indices for GET_IRQ_INFO.
    pub irqs: u32,
}

/// Answer to VFIO_DEVICE_GET_REGION_INFO.
#[derive(Debug, Clone, Copy)]
pub struct RegionInfo {
    /// The length of the whole answer.
    pub argsz: u32,
    /// VFIO_REGION_INFO_FLAG_*.
    pub flags: u32,
    /// Bytes in the region.
    pub size: u64,
    /// Its offset in the device file.
    pub offset: u64,
}

/// Answer to VFIO_DEVICE_GET_IRQ_INFO.
#[derive(Debug, Clone, Copy)]
pub struct IrqInfo {
    /// VFIO_IRQ_INFO_*.
    pub flags: u32,
    /// The number of interrupts at this index.
    pub count: u32,
}

/// The way in which a device was opened, which also determines how it accesses guest memory.
pub enum Space {
    /// Its group, in a type1 container.
    Group(Group),
    /// An address space of iommufd.
    Ioas(Ioas),
}

/// An open device. The device file is closed before the group or the address space.
pub struct Device {
    fd: OwnedFd,
    /// The way in which it was opened.
    pub space: Space,
}

impl Device {
    /// Opens the device in a sysfs folder.
    pub fn open(path: &Path) -> Result<Device> {
        Device::of(Group::attach(path)?)
    }

    /// Opens the device in a sysfs folder, in the container of this one.
    pub fn open_beside(&self, path: &Path) -> Result<Device> {
        Device::of(self.group()?.beside(path)?)
    }

    /// Opens the device of a group.
    pub fn of(group: Group) -> Result<Device> {
        let fd = group
            .open_device()
            .context("open the device of the group")?;
        let space = Space::Group(group);
        Ok(Device { fd, space })
    }

    /// Opens the device in a sysfs folder by its own file, with an address space of iommufd.
    pub fn open_cdev(path: &Path) -> Result<Device> {
        let ioas = Ioas::new()?;
        let fd = ioas.open_device(path)?;
        let space = Space::Ioas(ioas);
        Ok(Device { fd, space })
    }

    /// Closes the device file, which must be the last one, and opens it again.
    pub fn reopen(self) -> Result<Device> {
        Device::of(self.close()?)
    }

    /// Closes the device file; the group can open the device again.
    pub fn close(self) -> Result<Group> {
        let Space::Group(group) = self.space else {
            bail!("only a device of a group is opened again");
        };
        Ok(group)
    }

    /// Returns the group that the device was opened through.
    pub fn group(&self) -> Result<&Group, Errno> {
        match &self.space {
            Space::Group(group) => Ok(group),
            Space::Ioas(_) => Err(Errno::NOTTY),
        }
    }

    /// VFIO_DEVICE_GET_INFO; `argsz` overrides the length.
    pub fn info(&self, argsz: Option<u32>) -> Result<DeviceInfo, Errno> {
        let mut packet = Packet::sized().u32(0).u32(0).u32(0).u64(0).argsz(argsz);
        sys::with_sized(&self.fd, number::DEVICE_GET_INFO, &mut packet.0)?;
        Ok(DeviceInfo {
            flags: packet.read_u32(offset_of!(vfio_device_info, flags)),
            regions: packet.read_u32(offset_of!(vfio_device_info, num_regions)),
            irqs: packet.read_u32(offset_of!(vfio_device_info, num_irqs)),
        })
    }

    /// VFIO_DEVICE_GET_REGION_INFO; `argsz` overrides the length.
    pub fn region(&self, index: u32, argsz: Option<u32>) -> Result<RegionInfo, Errno> {
        let mut packet = Packet::sized()
            .u32(0)
            .u32(index)
            .u32(0)
            .u64(0)
            .u64(0)
            .argsz(argsz);
        sys::with_sized(&self.fd, number::DEVICE_GET_REGION_INFO, &mut packet.0)?;
        Ok(RegionInfo {
            argsz: packet.read_u32(offset_of!(vfio_region_info, argsz)),
            flags: packet.read_u32(offset_of!(vfio_region_info, flags)),
            size: packet.read_u64(offset_of!(vfio_region_info, size)),
            offset: packet.read_u64(offset_of!(vfio_region_info, offset)),
        })
    }

    /// VFIO_DEVICE_GET_IRQ_INFO; `argsz` overrides the length.
    pub fn irq(&self, index: u32, argsz: Option<u32>) -> Result<IrqInfo, Errno> {
        let mut packet = Packet::sized().u32(0).u32(index).u32(0).argsz(argsz);
        sys::with_sized(&self.fd, number::DEVICE_GET_IRQ_INFO, &mut packet.0)?;
        Ok(IrqInfo {
            flags: packet.read_u32(offset_of!(vfio_irq_info, flags)),
            count: packet.read_u32(offset_of!(vfio_irq_info, count)),
        })
    }

    /// VFIO_DEVICE_RESET.
    pub fn reset(&self) -> Result<(), Errno> {
        sys::with_value(&self.fd, number::DEVICE_RESET, 0).map(drop)
    }

    /// Sets Bus Master Enable, as a guest's driver does before DMA; a reset clears it.
    pub fn enable_bus_master(&self) -> Result<(), Errno> {
        let command = self.region(VFIO_PCI_CONFIG_REGION_INDEX, None)?.offset + COMMAND;
        self.write_byte(command, self.read_byte(command)? | COMMAND_MASTER)
    }

    /// Reads at a position of the device file.
    pub fn read(&self, position: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
        pread(&self.fd, bytes, position)
    }

    /// Writes at a position of the device file.
    pub fn write(&self, position: u64, bytes: &[u8]) -> Result<usize, Errno> {
        pwrite(&self.fd, bytes, position)
    }

    /// Maps a region, or a part of one.
    pub fn map(&self, position: u64, len: usize) -> Result<Mapping, Errno> {
        Mapping::of_file(&self.fd, position, len)
    }

    /// Reads one byte.
    pub fn read_byte(&self, position: u64) -> Result<u8, Errno> {
        let mut byte = [0];
        self.read(position, &mut byte).map(|_| byte[0])
    }

    /// Reads 32 bits; EIO if there are fewer.
    pub fn read_u32(&self, position: u64) -> Result<u32, Errno> {
        let mut bytes = [0; 4];
        let count = self.read(position, &mut bytes)?;
        let is_whole = count == bytes.len();
        is_whole.then(|| u32::from_le_bytes(bytes)).ok_or(Errno::IO)
    }

    /// Writes one byte.
    pub fn write_byte(&self, position: u64, byte: u8) -> Result<(), Errno> {
        self.write(position, &[byte]).map(drop)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
