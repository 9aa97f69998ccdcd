# SPDX-License-Identifier: GPL-2.0
# What a driver's crate needs to use the SDK; include it in the driver's Kbuild. A driver in a tree
# of its own sets SDK_OBJ to the folder in which mdev_sdk.ko was built, and KBUILD_EXTRA_SYMBOLS to
# that build's Module.symvers.

SDK_OBJ ?= $(obj)/../../sdk/kernel
rustflags-y += -L $(SDK_OBJ) --extern mdev_sdk --extern mdev_model
