// SPDX-License-Identifier: GPL-2.0
/* Exports the SDK's Rust symbols and C helpers to drivers, as the kernel's rust/exports.c does. */

#include <linux/export.h>
#include <linux/module.h>

#define EXPORT_RUST_GPL(sym) extern int sym; EXPORT_SYMBOL_GPL(sym)

#include "exports_generated.h"

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("SDK for VFIO mediated devices in Rust");
MODULE_IMPORT_NS("IOMMUFD");
