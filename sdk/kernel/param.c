// SPDX-License-Identifier: GPL-2.0
/* The module parameter "migration": a word, read-only once the module is loaded. */

#define pr_fmt(fmt) "mdev_sdk: " fmt

#include <linux/moduleparam.h>
#include <linux/printk.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "param.h"

/* Indexed by a set of MDEV_SDK_OFFERS_*. */
static const char *const migration_words[] = {
	[0] = "off",
	[MDEV_SDK_OFFERS_V1] = "v1",
	[MDEV_SDK_OFFERS_V2] = "v2",
	[MDEV_SDK_OFFERS_V1 | MDEV_SDK_OFFERS_V2] = "both",
};

unsigned int mdev_sdk_migration = MDEV_SDK_OFFERS_V1 | MDEV_SDK_OFFERS_V2;

static int migration_set(const char *val, const struct kernel_param *kp)
{
	int offered = sysfs_match_string(migration_words, val);

	if (offered < 0) {
		pr_err("migration=%s is none of both, v1, v2 and off\n", val);
		return -EINVAL;
	}
	mdev_sdk_migration = offered;
	return 0;
}

static int migration_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%s\n", migration_words[mdev_sdk_migration]);
}

static const struct kernel_param_ops migration_ops = {
	.set = migration_set,
	.get = migration_get,
};

module_param_cb(migration, &migration_ops, NULL, 0444);
MODULE_PARM_DESC(migration, "VFIO migration protocols that devices offer: both (default), v1, v2, off");
