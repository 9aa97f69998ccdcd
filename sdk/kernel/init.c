// SPDX-License-Identifier: GPL-2.0
/* What is done when the module is loaded: its crate is a library, and has no module! of its own. */

#include <linux/init.h>
#include <linux/module.h>

void mdev_sdk_init(void);

static int __init sdk_init(void)
{
	mdev_sdk_init();
	return 0;
}

static void __exit sdk_exit(void)
{
}

module_init(sdk_init);
module_exit(sdk_exit);
