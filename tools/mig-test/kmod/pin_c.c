// SPDX-License-Identifier: GPL-2.0
/*
 * Pins guest memory without an SDK, to measure its cost: the device of pin_rs.rs, by hand. It does
 * what VFIO requires of a driver that pins: a range is on a list from before it is pinned until it
 * is unpinned, so that dma_unmap can revoke it and can wait for a pin in progress, and a write to a
 * page excludes dma_unmap.
 */
#include <linux/device/faux.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>
#include <linux/wait.h>

/* As in pin_registers.rs. */
enum pin_register {
	PIN_FIRST	= 0x00,
	PIN_PAGES	= 0x04,
	PIN_BYTES	= 0x08,
	PIN_RUN		= 0x0c,
};

#define PIN_PAGES_MAX	512
#define PIN_BYTES_MAX	256

struct pin_card {
	struct vfio_device vdev;
	u32 first;
	u32 pages;
	u32 bytes;
	u8 data[PIN_BYTES_MAX];
	struct mutex lock;		/* the list, and who may unpin */
	struct list_head ranges;
	wait_queue_head_t changed;
};

struct pin_range {
	struct list_head node;
	struct mutex lock;		/* the pages, while they are written */
	dma_addr_t iova;
	u32 npages;
	bool live;
	struct page *pages[];
};

static struct pin_range *pin_pin(struct pin_card *card)
{
	struct pin_range *range;
	int ret;

	range = kmalloc(struct_size(range, pages, card->pages), GFP_KERNEL_ACCOUNT);
	if (!range)
		return ERR_PTR(-ENOMEM);
	mutex_init(&range->lock);
	range->iova = (dma_addr_t)card->first << PAGE_SHIFT;
	range->npages = card->pages;
	range->live = false;
	mutex_lock(&card->lock);
	list_add(&range->node, &card->ranges);
	mutex_unlock(&card->lock);

	ret = vfio_pin_pages(&card->vdev, range->iova, range->npages,
			     IOMMU_READ | IOMMU_WRITE, range->pages);
	if (ret > 0 && ret < range->npages)
		vfio_unpin_pages(&card->vdev, range->iova, ret);

	mutex_lock(&card->lock);
	range->live = ret == range->npages;
	if (!range->live)
		list_del(&range->node);
	mutex_unlock(&card->lock);
	wake_up_all(&card->changed);
	if (range->live)
		return range;
	kfree(range);
	return ERR_PTR(ret < 0 ? ret : -EFAULT);
}

static int pin_touch(struct pin_card *card, struct pin_range *range, u32 page)
{
	int ret = -EFAULT;

	mutex_lock(&range->lock);
	if (range->live) {
		memcpy_to_page(range->pages[page], 0, card->data, card->bytes);
		ret = 0;
	}
	mutex_unlock(&range->lock);
	return ret;
}

/* The thread that finds the range live unpins it. */
static bool pin_take(struct pin_range *range)
{
	bool live;

	mutex_lock(&range->lock);
	live = range->live;
	range->live = false;
	mutex_unlock(&range->lock);
	return live;
}

static void pin_forget(struct pin_card *card, struct pin_range *range)
{
	mutex_lock(&card->lock);
	list_del_init(&range->node);
	mutex_unlock(&card->lock);
	wake_up_all(&card->changed);
}

/* Waits until a range has become live or was removed; card->lock is held before and after. */
static void pin_wait(struct pin_card *card)
{
	DEFINE_WAIT(wait);

	prepare_to_wait(&card->changed, &wait, TASK_UNINTERRUPTIBLE);
	mutex_unlock(&card->lock);
	schedule();
	finish_wait(&card->changed, &wait);
	mutex_lock(&card->lock);
}

static void pin_unpin(struct pin_card *card, struct pin_range *range)
{
	if (pin_take(range)) {
		vfio_unpin_pages(&card->vdev, range->iova, range->npages);
		pin_forget(card, range);
	} else {
		mutex_lock(&card->lock);
		while (!list_empty(&range->node))
			pin_wait(card);
		mutex_unlock(&card->lock);
	}
	kfree(range);
}

static int pin_once(struct pin_card *card)
{
	struct pin_range *range = pin_pin(card);
	int ret = 0;
	u32 i;

	if (IS_ERR(range))
		return PTR_ERR(range);
	for (i = 0; i < range->npages && !ret; i++)
		ret = pin_touch(card, range, i);
	pin_unpin(card, range);
	return ret;
}

static int pin_run(struct pin_card *card, u32 rounds)
{
	int ret = 0;

	memset(card->data, 0xa5, sizeof(card->data));
	while (rounds-- && !ret)
		ret = pin_once(card);
	return ret;
}

static int pin_set(struct pin_card *card, loff_t reg, u32 value)
{
	switch (reg) {
	case PIN_FIRST:
		card->first = value;
		return 0;
	case PIN_PAGES:
		if (!value || value > PIN_PAGES_MAX)
			return -EINVAL;
		card->pages = value;
		return 0;
	case PIN_BYTES:
		if (value > PIN_BYTES_MAX)
			return -EINVAL;
		card->bytes = value;
		return 0;
	case PIN_RUN:
		return pin_run(card, value);
	default:
		return -EINVAL;
	}
}

static ssize_t pin_write(struct vfio_device *vdev, const char __user *buf,
			 size_t count, loff_t *ppos)
{
	struct pin_card *card = container_of(vdev, struct pin_card, vdev);
	u32 value;
	int ret;

	if (count != sizeof(value))
		return -EINVAL;
	if (copy_from_user(&value, buf, sizeof(value)))
		return -EFAULT;
	ret = pin_set(card, *ppos, value);
	if (ret)
		return ret;
	*ppos += count;
	return count;
}

static struct pin_range *pin_find(struct pin_card *card, u64 iova, u64 last)
{
	struct pin_range *range;

	list_for_each_entry(range, &card->ranges, node)
		if (range->iova <= last &&
		    range->iova + (u64)range->npages * PAGE_SIZE > iova)
			return range;
	return NULL;
}

static void pin_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
	struct pin_card *card = container_of(vdev, struct pin_card, vdev);
	struct pin_range *range;

	mutex_lock(&card->lock);
	while ((range = pin_find(card, iova, iova + length - 1))) {
		if (pin_take(range)) {
			/* It is on the list until it is forgotten, so nobody frees it. */
			mutex_unlock(&card->lock);
			vfio_unpin_pages(&card->vdev, range->iova, range->npages);
			pin_forget(card, range);
			mutex_lock(&card->lock);
		} else {
			pin_wait(card);
		}
	}
	mutex_unlock(&card->lock);
}

static const struct vfio_device_ops pin_ops = {
	.name = "pin_c",
	.write = pin_write,
	.dma_unmap = pin_dma_unmap,
	.bind_iommufd = vfio_iommufd_emulated_bind,
	.unbind_iommufd = vfio_iommufd_emulated_unbind,
	.attach_ioas = vfio_iommufd_emulated_attach_ioas,
	.detach_ioas = vfio_iommufd_emulated_detach_ioas,
};

static int pin_probe(struct mdev_device *mdev)
{
	struct pin_card *card;
	int ret;

	card = vfio_alloc_device(pin_card, vdev, &mdev->dev, &pin_ops);
	if (IS_ERR(card))
		return PTR_ERR(card);
	card->pages = 1;
	mutex_init(&card->lock);
	INIT_LIST_HEAD(&card->ranges);
	init_waitqueue_head(&card->changed);
	ret = vfio_register_emulated_iommu_dev(&card->vdev);
	if (ret) {
		vfio_put_device(&card->vdev);
		return ret;
	}
	dev_set_drvdata(&mdev->dev, card);
	return 0;
}

static void pin_remove(struct mdev_device *mdev)
{
	struct pin_card *card = dev_get_drvdata(&mdev->dev);

	vfio_unregister_group_dev(&card->vdev);
	vfio_put_device(&card->vdev);
}

static struct mdev_driver pin_driver = {
	.device_api = VFIO_DEVICE_API_PCI_STRING,
	.max_instances = 1,
	.probe = pin_probe,
	.remove = pin_remove,
	.driver = {
		.name = "pin_c",
		.owner = THIS_MODULE,
		.mod_name = KBUILD_MODNAME,
	},
};

static struct mdev_type pin_type = {
	.sysfs_name = "1",
	.pretty_name = "Pins, writes, unpins",
};
static struct mdev_type *pin_types[] = { &pin_type };
static struct mdev_parent pin_parent;
static struct faux_device *pin_faux;

static int __init pin_init(void)
{
	int ret = mdev_register_driver(&pin_driver);

	if (ret)
		return ret;
	pin_faux = faux_device_create("pin_c", NULL, NULL);
	if (!pin_faux) {
		ret = -ENODEV;
		goto err_driver;
	}
	ret = mdev_register_parent(&pin_parent, &pin_faux->dev, &pin_driver,
				   pin_types, ARRAY_SIZE(pin_types));
	if (ret)
		goto err_faux;
	return 0;

err_faux:
	faux_device_destroy(pin_faux);
err_driver:
	mdev_unregister_driver(&pin_driver);
	return ret;
}

static void __exit pin_exit(void)
{
	mdev_unregister_parent(&pin_parent);
	faux_device_destroy(pin_faux);
	mdev_unregister_driver(&pin_driver);
}

module_init(pin_init);
module_exit(pin_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The mdev SDK authors");
MODULE_DESCRIPTION("Pins guest memory without an SDK, for a benchmark");
