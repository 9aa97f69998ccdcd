// SPDX-License-Identifier: GPL-2.0
/* Helpers for Rust: each makes an inline function of a C header callable. */

#include <linux/dma-mapping.h>
#include <linux/eventfd.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/iova_bitmap.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/platform_device.h>
#include <linux/sched/signal.h>
#include <linux/vfio.h>
#include <linux/wait.h>

void rust_helper_vfio_put_device(struct vfio_device *device);
void rust_helper_vfio_put_device(struct vfio_device *device)
{
	vfio_put_device(device);
}

unsigned int rust_helper_dma_get_max_seg_size(struct device *dev);
unsigned int rust_helper_dma_get_max_seg_size(struct device *dev)
{
	return dma_get_max_seg_size(dev);
}

u64 rust_helper_mdev_dma_reach(struct device *dev);
u64 rust_helper_mdev_dma_reach(struct device *dev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->type & __IOMMU_DOMAIN_PAGING)
		return U64_MAX;
	return min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

phys_addr_t rust_helper_page_to_phys(struct page *page);
phys_addr_t rust_helper_page_to_phys(struct page *page)
{
	return page_to_phys(page);
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

bool rust_helper_fatal_signal_pending(struct task_struct *task);
bool rust_helper_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

struct platform_device *rust_helper_platform_device_register_simple(const char *name);
struct platform_device *rust_helper_platform_device_register_simple(const char *name)
{
	return platform_device_register_simple(name, PLATFORM_DEVID_NONE, NULL, 0);
}

void rust_helper_vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags);
void rust_helper_vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vm_flags_set(vma, flags);
}

void rust_helper_mdev_map_uncached(struct vm_area_struct *vma);
void rust_helper_mdev_map_uncached(struct vm_area_struct *vma)
{
	vma->vm_page_prot = pgprot_decrypted(pgprot_noncached(vma->vm_page_prot));
}

void rust_helper_lock_page(struct page *page);
void rust_helper_lock_page(struct page *page)
{
	lock_page(page);
}

bool rust_helper_mdev_is_zero_page(struct page *page);
bool rust_helper_mdev_is_zero_page(struct page *page)
{
	return is_zero_pfn(page_to_pfn(page));
}

void rust_helper_get_page(struct page *page);
void rust_helper_get_page(struct page *page)
{
	get_page(page);
}

void rust_helper_memcpy_from_page(char *to, struct page *page, size_t offset, size_t len);
void rust_helper_memcpy_from_page(char *to, struct page *page, size_t offset, size_t len)
{
	memcpy_from_page(to, page, offset, len);
}

void rust_helper_memcpy_to_page(struct page *page, size_t offset, const char *from, size_t len);
void rust_helper_memcpy_to_page(struct page *page, size_t offset, const char *from, size_t len)
{
	memcpy_to_page(page, offset, from, len);
}

void rust_helper_memzero_page(struct page *page, size_t offset, size_t len);
void rust_helper_memzero_page(struct page *page, size_t offset, size_t len)
{
	memzero_page(page, offset, len);
}

struct kthread_worker *rust_helper_mdev_run_worker(void);
struct kthread_worker *rust_helper_mdev_run_worker(void)
{
	return kthread_run_worker(0, "mdev_worker");
}

void rust_helper_kthread_init_work(struct kthread_work *work, kthread_work_func_t function);
void rust_helper_kthread_init_work(struct kthread_work *work, kthread_work_func_t function)
{
	kthread_init_work(work, function);
}

void rust_helper_kthread_init_delayed_work(struct kthread_delayed_work *work,
					   kthread_work_func_t function);
void rust_helper_kthread_init_delayed_work(struct kthread_delayed_work *work,
					   kthread_work_func_t function)
{
	kthread_init_delayed_work(work, function);
}

void rust_helper_mdev_cond_resched(void);
void rust_helper_mdev_cond_resched(void)
{
	cond_resched();
}

void rust_helper_mdev_allow_interrupt(void);
void rust_helper_mdev_allow_interrupt(void)
{
	allow_kernel_signal(SIGKILL);
}

void rust_helper_mdev_wake_all(struct wait_queue_head *queue);
void rust_helper_mdev_wake_all(struct wait_queue_head *queue)
{
	wake_up_all(queue);
}

/* done() may sleep, so it is called while the thread is in TASK_RUNNING. */
int rust_helper_mdev_wait(struct wait_queue_head *queue, unsigned int state,
			  bool (*done)(void *argument), void *argument);
int rust_helper_mdev_wait(struct wait_queue_head *queue, unsigned int state,
			  bool (*done)(void *argument), void *argument)
{
	DEFINE_WAIT_FUNC(wait, woken_wake_function);
	int ret = 0;

	add_wait_queue(queue, &wait);
	while (!done(argument)) {
		if (signal_pending_state(state, current)) {
			ret = -EINTR;
			break;
		}
		wait_woken(&wait, state, MAX_SCHEDULE_TIMEOUT);
	}
	remove_wait_queue(queue, &wait);
	return ret;
}

/*
 * The name differs from the kernel crate's helper, and the bitmap has no type: with
 * CONFIG_IOMMUFD_DRIVER the kernel crate binds both; without it, it binds neither, and the function
 * is an empty inline one.
 */
void rust_helper_mdev_iova_bitmap_set(void *bitmap, unsigned long iova, size_t length);
void rust_helper_mdev_iova_bitmap_set(void *bitmap, unsigned long iova, size_t length)
{
	iova_bitmap_set(bitmap, iova, length);
}
