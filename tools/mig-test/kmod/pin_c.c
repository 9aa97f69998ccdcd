// SPDX-License-Identifier: GPL-2.0
/*
 * What pinning guest memory costs without an SDK: the device of pin_rs.rs, by hand. Its user has one
 * thread, which waits for RUN, so nothing is pinned when memory is unmapped.
 */
#include <linux/device/faux.h>
#include <linux/highmem.h>
#include <linux/iommu.h>
#include <linux/mdev.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/vfio.h>

/* As in registers.rs. */
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
	struct page *pinned[PIN_PAGES_MAX];
};

static int pin_once(struct pin_card *card)
{
	dma_addr_t iova = (dma_addr_t)card->first << PAGE_SHIFT;
	int ret;
	u32 i;

	ret = vfio_pin_pages(&card->vdev, iova, card->pages,
			     IOMMU_READ | IOMMU_WRITE, card->pinned);
	if (ret < 0)
		return ret;
	if (ret == card->pages)
		for (i = 0; i < card->pages; i++)
			memcpy_to_page(card->pinned[i], 0, card->data,
				       card->bytes);
	vfio_unpin_pages(&card->vdev, iova, ret);
	return ret == card->pages ? 0 : -EFAULT;
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

/* VFIO lets only those pin who have one. */
static void pin_dma_unmap(struct vfio_device *vdev, u64 iova, u64 length)
{
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
