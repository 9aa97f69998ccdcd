/* SPDX-License-Identifier: GPL-2.0 */
/* The headers that bindgen reads for base/raw.rs, beyond those that the kernel crate binds itself. */

#include <linux/anon_inodes.h>
#include <linux/crc32.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mdev.h>
#include <linux/platform_device.h>
#include <linux/sched/signal.h>
#include <linux/vfio.h>
#include <linux/wait.h>
#include <uapi/linux/vfio.h>

#include "param.h"
#include "trace.h"

/* bindgen cannot evaluate a macro with a cast or a sizeof; a typed constant gives it the value. */
static const unsigned int RUST_CONST_HELPER_VFIO_PIN_PAGES_MAX_ENTRIES = VFIO_PIN_PAGES_MAX_ENTRIES;
static const unsigned int RUST_CONST_HELPER_VFIO_DEVICE_GET_INFO = VFIO_DEVICE_GET_INFO;
static const unsigned int RUST_CONST_HELPER_VFIO_DEVICE_GET_IRQ_INFO = VFIO_DEVICE_GET_IRQ_INFO;
static const unsigned int RUST_CONST_HELPER_VFIO_DEVICE_SET_IRQS = VFIO_DEVICE_SET_IRQS;
static const unsigned int RUST_CONST_HELPER_VFIO_DEVICE_RESET = VFIO_DEVICE_RESET;
static const unsigned int RUST_CONST_HELPER_VFIO_DEVICE_QUERY_GFX_PLANE =
	VFIO_DEVICE_QUERY_GFX_PLANE;
static const unsigned int RUST_CONST_HELPER_VFIO_MIG_GET_PRECOPY_INFO = VFIO_MIG_GET_PRECOPY_INFO;
