// SPDX-License-Identifier: GPL-2.0

//! The ioctls of a VFIO PCI device: information, interrupts, reset.
//!
//! C header: [`include/uapi/linux/vfio.h`](srctree/include/uapi/linux/vfio.h)

use super::{
    container::{Body, Device},
    uapi,
};
use crate::{
    base::{param, raw},
    driver::{Context, Driver, Operations, Plane, MOST_PARTS},
    irq::{set_request, SetIrqs},
};
use core::{
    iter,
    mem::{size_of, size_of_val},
    ops::Range,
};
use kernel::{
    error::{from_result, to_result},
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc,
    uaccess::{UserPtr, UserSlice},
};
use mdev_model::{config::Identity, irq::Mode, region, v1};

/// The flags that ask whether a plane in a region is supported.
const PLANE_PROBE_REGION: u32 = raw::VFIO_GFX_PLANE_TYPE_PROBE | raw::VFIO_GFX_PLANE_TYPE_REGION;

/// Returns the number of vectors of interrupt `index`; EINVAL if a device of this SDK lacks it.
fn irq_count(identity: &Identity, index: u32) -> Result<u32> {
    match index {
        raw::VFIO_PCI_INTX_IRQ_INDEX => Ok(identity.intx.into()),
        raw::VFIO_PCI_MSI_IRQ_INDEX => Ok(identity.msi.into()),
        raw::VFIO_PCI_MSIX_IRQ_INDEX => Ok(identity.msix.map_or(0, |msix| msix.vectors.into())),
        raw::VFIO_PCI_REQ_IRQ_INDEX => Ok(1),
        _ => Err(EINVAL),
    }
}

/// # Safety
///
/// `vdev` must be an open device of `D`, and VFIO must be the caller.
pub(super) unsafe extern "C" fn ioctl<D: Driver>(
    vdev: *mut raw::vfio_device,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    from_result(|| {
        // SAFETY: The caller guarantees that `vdev` is an open device of `D`.
        let (body, open) = unsafe { (Device::<D>::body(vdev), Device::<D>::open(vdev)?) };
        match cmd {
            raw::VFIO_DEVICE_GET_INFO => get_info(arg),
            raw::VFIO_DEVICE_GET_IRQ_INFO => get_irq_info(open.cx.identity(), arg),
            raw::VFIO_DEVICE_SET_IRQS => set_irqs(body, &open.cx, arg),
            raw::VFIO_DEVICE_QUERY_GFX_PLANE if D::Open::HAS_PLANE => {
                query_gfx_plane(open.driver.plane(), arg)
            }
            raw::VFIO_DEVICE_RESET => body.migration.reset(),
            _ => Err(ENOTTY),
        }?;
        Ok(0)
    })
}

/// Handles `VFIO_DEVICE_GET_INFO`.
fn get_info(arg: usize) -> Result {
    let mut info: raw::vfio_device_info = uapi::fetch(arg)?;
    let argsz = info.argsz;
    if (argsz as usize) < <raw::vfio_device_info as uapi::Uapi>::MIN {
        return Err(EINVAL);
    }
    info.flags = raw::VFIO_DEVICE_FLAGS_PCI | raw::VFIO_DEVICE_FLAGS_RESET;
    info.num_regions = raw::VFIO_PCI_NUM_REGIONS + u32::from(param::offers_v1());
    info.num_irqs = raw::VFIO_PCI_NUM_IRQS;
    uapi::store(arg, &info, argsz)
}

/// Fills `info` for `VFIO_DEVICE_GET_REGION_INFO`; user space chooses `info.index`.
///
/// # Safety
///
/// `vdev` must be an open device of `D`, `info` and `caps` must be valid and VFIO's own, and VFIO
/// must be the caller.
pub(super) unsafe extern "C" fn get_region_info_caps<D: Driver>(
    vdev: *mut raw::vfio_device,
    info: *mut raw::vfio_region_info,
    caps: *mut raw::vfio_info_cap,
) -> c_int {
    from_result(|| {
        // SAFETY: The caller guarantees that `vdev` is an open device of `D`, and that `info` is
        // valid.
        let (open, info) = unsafe { (Device::<D>::open(vdev)?, &mut *info) };
        let index = info.index;
        info.offset = region::file_offset(index);
        if index == v1::REGION && param::offers_v1() {
            info.size = v1::SIZE;
            info.flags = raw::VFIO_REGION_INFO_FLAG_READ
                | raw::VFIO_REGION_INFO_FLAG_WRITE
                | raw::VFIO_REGION_INFO_FLAG_MMAP;
            // SAFETY: The caller guarantees that `caps` is VFIO's own.
            unsafe {
                add_migration_type(caps)?;
                add_sparse_mmap(caps, iter::once(&(v1::DATA_OFFSET..v1::SIZE)))?;
            }
            return Ok(0);
        }
        info.size = match index {
            raw::VFIO_PCI_CONFIG_REGION_INDEX => open.cx.identity().config_size.into(),
            raw::VFIO_PCI_ROM_REGION_INDEX => 0,
            // There is no VGA region, as on any vfio-pci device that is not a display.
            _ => {
                let bar = open.cx.identity().bars.get(index as usize);
                bar.ok_or(EINVAL)?.size()
            }
        };
        info.flags = match info.size {
            0 => 0,
            _ => raw::VFIO_REGION_INFO_FLAG_READ | raw::VFIO_REGION_INFO_FLAG_WRITE,
        };
        let places = open.parts().iter().map(|part| &part.place);
        let mut areas = places
            .filter(|place| place.bar == index as usize)
            .map(|place| &place.bytes)
            .peekable();
        if areas.peek().is_some() {
            info.flags |= raw::VFIO_REGION_INFO_FLAG_MMAP;
            // SAFETY: The caller guarantees that `caps` is VFIO's own.
            unsafe { add_sparse_mmap(caps, areas)? };
        }
        Ok(0)
    })
}

/// Adds the capability that marks the migration region of protocol v1.
///
/// # Safety
///
/// `caps` must be valid and VFIO's own.
unsafe fn add_migration_type(caps: *mut raw::vfio_info_cap) -> Result {
    let mut cap: raw::vfio_region_info_cap_type = pin_init::zeroed();
    cap.header.id = raw::VFIO_REGION_INFO_CAP_TYPE as u16;
    cap.header.version = 1;
    cap.type_ = raw::VFIO_REGION_TYPE_MIGRATION_DEPRECATED;
    cap.subtype = raw::VFIO_REGION_SUBTYPE_MIGRATION_DEPRECATED;
    // SAFETY: The caller guarantees that `caps` is valid. The function copies the given number of
    // bytes, header first.
    to_result(unsafe {
        raw::vfio_info_add_capability(caps, (&raw mut cap).cast(), size_of_val(&cap))
    })
}

/// Adds the capability that limits `mmap()` of a region to `areas`, of which there may be
/// [`MOST_PARTS`].
///
/// # Safety
///
/// `caps` must be valid and VFIO's own.
unsafe fn add_sparse_mmap<'a>(
    caps: *mut raw::vfio_info_cap,
    areas: impl Iterator<Item = &'a Range<u64>>,
) -> Result {
    /// `struct vfio_region_info_cap_sparse_mmap` with its areas.
    #[repr(C)]
    struct Areas {
        cap: raw::vfio_region_info_cap_sparse_mmap,
        areas: [raw::vfio_region_sparse_mmap_area; MOST_PARTS],
    }
    let mut list: Areas = Areas {
        cap: pin_init::zeroed(),
        areas: pin_init::zeroed(),
    };
    list.cap.header.id = raw::VFIO_REGION_INFO_CAP_SPARSE_MMAP as u16;
    list.cap.header.version = 1;
    for (place, area) in list.areas.iter_mut().zip(areas) {
        place.offset = area.start;
        place.size = area.end - area.start;
        list.cap.nr_areas += 1;
    }
    let unused = MOST_PARTS - list.cap.nr_areas as usize;
    let len = size_of::<Areas>() - unused * size_of::<raw::vfio_region_sparse_mmap_area>();
    // SAFETY: The caller guarantees that `caps` is valid. The function copies the given number of
    // bytes, header first, which is that of the areas in use.
    to_result(unsafe { raw::vfio_info_add_capability(caps, (&raw mut list).cast(), len) })
}

/// Handles `VFIO_DEVICE_GET_IRQ_INFO`.
fn get_irq_info(identity: &Identity, arg: usize) -> Result {
    let mut info: raw::vfio_irq_info = uapi::fetch(arg)?;
    let argsz = info.argsz;
    if (argsz as usize) < size_of::<raw::vfio_irq_info>() {
        return Err(EINVAL);
    }
    info.count = irq_count(identity, info.index)?;
    info.flags = raw::VFIO_IRQ_INFO_EVENTFD
        | match info.index {
            raw::VFIO_PCI_INTX_IRQ_INDEX => {
                raw::VFIO_IRQ_INFO_MASKABLE | raw::VFIO_IRQ_INFO_AUTOMASKED
            }
            // A vector of the table may be set at any time.
            raw::VFIO_PCI_MSIX_IRQ_INDEX => 0,
            _ => raw::VFIO_IRQ_INFO_NORESIZE,
        };
    uapi::store(arg, &info, argsz)
}

/// Handles `VFIO_DEVICE_QUERY_GFX_PLANE`: only a plane in a region is supported.
fn query_gfx_plane(plane: Option<Plane>, arg: usize) -> Result {
    let mut info: raw::vfio_device_gfx_plane_info = uapi::fetch(arg)?;
    let argsz = info.argsz;
    if (argsz as usize) < size_of::<raw::vfio_device_gfx_plane_info>() {
        return Err(EINVAL);
    }
    match info.flags {
        PLANE_PROBE_REGION => return Ok(()),
        raw::VFIO_GFX_PLANE_TYPE_REGION => {}
        _ => return Err(EINVAL),
    }
    // A format of 0 means that there is no picture.
    info.drm_format = 0;
    info.size = 0;
    if let Some(plane) = plane {
        let size = u64::from(plane.stride) * u64::from(plane.height);
        info.drm_format = plane.format;
        info.width = plane.width;
        info.height = plane.height;
        info.stride = plane.stride;
        info.size = u32::try_from(size.next_multiple_of(PAGE_SIZE as u64))?;
        // SAFETY: Both members of the union are a u32, so either may be written.
        unsafe { *info.__bindgen_anon_1.region_index.as_mut() = plane.bar };
    }
    uapi::store(arg, &info, argsz)
}

/// Handles `VFIO_DEVICE_SET_IRQS`.
fn set_irqs<D: Driver>(body: &Body<D>, cx: &Arc<Context>, arg: usize) -> Result {
    let mut header: raw::vfio_irq_set = uapi::fetch(arg)?;
    // An interrupt that the device lacks has no vectors, which gives EINVAL below, as in vfio-pci.
    let count = irq_count(cx.identity(), header.index).unwrap_or(0);
    let mut data_size = 0;
    // SAFETY: `header` and `data_size` are local variables. The function limits `count` to the
    // number of vectors, and so `data_size`.
    to_result(unsafe {
        raw::vfio_set_irqs_validate_and_prepare(
            &mut header,
            count as c_int,
            raw::VFIO_PCI_NUM_IRQS as c_int,
            &mut data_size,
        )
    })?;
    let mut data = KVec::new();
    let behind = arg
        .checked_add(size_of::<raw::vfio_irq_set>())
        .ok_or(EFAULT)?;
    UserSlice::new(UserPtr::from_addr(behind), data_size).read_all(&mut data, GFP_KERNEL)?;
    let set = SetIrqs {
        flags: header.flags,
        start: header.start,
        count: header.count,
        data: &data,
    };
    match header.index {
        raw::VFIO_PCI_INTX_IRQ_INDEX => cx.irqs().set_intx(&set),
        raw::VFIO_PCI_MSI_IRQ_INDEX => cx.irqs.set_message(Mode::Msi, &set),
        raw::VFIO_PCI_MSIX_IRQ_INDEX => cx.irqs.set_message(Mode::Msix, &set),
        raw::VFIO_PCI_REQ_IRQ_INDEX => set_request(&body.request, &set),
        _ => Err(ENOTTY),
    }
}
