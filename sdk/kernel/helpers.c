// SPDX-License-Identifier: GPL-2.0
/* The inline functions of C headers that the SDK calls, as functions that Rust can link to. */

#include <linux/eventfd.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/vfio.h>

void rust_helper_vfio_put_device(struct vfio_device *device);
void rust_helper_vfio_put_device(struct vfio_device *device)
{
	vfio_put_device(device);
}

void rust_helper_eventfd_signal(struct eventfd_ctx *ctx);
void rust_helper_eventfd_signal(struct eventfd_ctx *ctx)
{
	eventfd_signal(ctx);
}

int rust_helper_vfio_check_precopy_ioctl(struct vfio_device *vdev, unsigned int cmd,
					 unsigned long arg, struct vfio_precopy_info *info);
int rust_helper_vfio_check_precopy_ioctl(struct vfio_device *vdev, unsigned int cmd,
					 unsigned long arg, struct vfio_precopy_info *info)
{
	return vfio_check_precopy_ioctl(vdev, cmd, arg, info);
}

struct platform_device *rust_helper_platform_device_register_simple(const char *name);
struct platform_device *rust_helper_platform_device_register_simple(const char *name)
{
	return platform_device_register_simple(name, PLATFORM_DEVID_NONE, NULL, 0);
}

void rust_helper_mdev_set_pfnmap(struct vm_area_struct *vma);
void rust_helper_mdev_set_pfnmap(struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
}

vm_fault_t rust_helper_mdev_insert_page(struct vm_fault *vmf, struct page *page);
vm_fault_t rust_helper_mdev_insert_page(struct vm_fault *vmf, struct page *page)
{
	return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
}
