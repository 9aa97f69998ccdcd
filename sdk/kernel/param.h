/* SPDX-License-Identifier: GPL-2.0 */
/* The module parameter "migration", as Rust reads it; see base/param.rs. */

#ifndef MDEV_SDK_PARAM_H
#define MDEV_SDK_PARAM_H

#define MDEV_SDK_OFFERS_V1 1
#define MDEV_SDK_OFFERS_V2 2

extern unsigned int mdev_sdk_migration;

#endif
