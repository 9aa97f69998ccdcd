# SPDX-License-Identifier: GPL-2.0
# `make help` says what there is. Without KDIR everything is built and run in the lab, on Debian's
# newest kernel (Documentation/lab.md); with it, modules are built here, against that kernel.

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
MIG_TEST := $(TARGET)/x86_64-unknown-linux-gnu/debug/mig-test

.PHONY: modules modules_install demo test test-all test-faults bench doc rust-analyzer series clean \
	help programs mig-test

ifdef KDIR

override KDIR := $(abspath $(KDIR))
-include $(KDIR)/include/config/auto.conf
ifeq ($(filter clean help,$(MAKECMDGOALS)),)
ifneq ($(CONFIG_RUST),y)
$(error $(KDIR) is no build tree of a kernel with CONFIG_RUST=y. Name one with KDIR=, or leave \
KDIR out to build for Debian's in the lab)
endif
endif
# The compiler that built the kernel; another one with KCC=CC=... or KCC=LLVM=...
KCC ?= $(if $(CONFIG_CC_IS_GCC),CC=$(subst ",,$(firstword $(CONFIG_CC_VERSION_TEXT))),LLVM=1)
# Without the key that the kernel was built with, modules are installed unsigned.
NO_KEY := $(if $(wildcard $(KDIR)/$(subst ",,$(CONFIG_MODULE_SIG_KEY))),,CONFIG_MODULE_SIG_ALL=)
KMAKE = $(MAKE) -C $(KDIR) M=$(CURDIR) MO=$(TARGET)/kmod-kdir $(KCC)

modules:
	@mkdir -p $(TARGET)/kmod-kdir
	+$(KMAKE) modules
modules_install: modules
	+$(KMAKE) $(NO_KEY) INSTALL_MOD_STRIP=1 modules_install
doc:
	@mkdir -p $(TARGET)/kmod-kdir $(TARGET)/doc
	+$(KMAKE) MDEV_DOC=$(TARGET)/doc sdk/kernel/
rust-analyzer: modules
	+$(KMAKE) rust-analyzer
	cp $(TARGET)/kmod-kdir/rust-project.json .

else

modules: mig-test
	$(MIG_TEST) lab build
modules_install: mig-test
	$(MIG_TEST) lab install --root $(or $(INSTALL_MOD_PATH),/)
doc: mig-test
	$(MIG_TEST) lab doc
rust-analyzer: mig-test
	$(MIG_TEST) lab rust-analyzer

endif

demo: mig-test
	$(MIG_TEST) demo
test: mig-test
	@$(MIG_TEST) test --tree
test-all: mig-test
	@$(MIG_TEST) test --tree --all
test-faults: mig-test
	$(MIG_TEST) run fail-nth --kernel debug
	$(MIG_TEST) run killed-client --option kills=334
	$(MIG_TEST) run killed-qemu --option kills=102
	tools/fuzz/run --inputs 1000
bench: mig-test
	$(MIG_TEST) bench

mig-test: programs
	cargo build --package mig-test --bins
programs:
	@tools/setup.sh

series:
	@tools/patch-series.sh "$(or $(LINUX),$(error Say LINUX=, the source tree of a kernel: make series \
		LINUX=<tree> OUT=<folder>. tools/patch-series.sh --help says more))" \
		"$(or $(OUT),$(TARGET)/series)"

clean:
	rm -rf $(TARGET) rust-project.json

help:
	@echo 'make                 build the kernel modules into target/kmod'
	@echo 'make demo            migrate a running guest with a device of each driver; figures'
	@echo 'make test            every test; the last line counts them'
	@echo 'make test-all        the same, and what takes long: QEMU 11.1, the debug kernel'
	@echo 'make test-faults     every allocation and user copy fails once; 1,121 processes are killed; fuzzing'
	@echo 'make bench           what registers, pins, dirty pages, VRAM and protocol v1 cost, beside a peer'
	@echo 'make modules_install install the modules (INSTALL_MOD_PATH= below another root)'
	@echo 'make doc             write the documentation of the SDK: target/doc/mdev_sdk/index.html'
	@echo 'make rust-analyzer   write rust-project.json for editors'
	@echo 'make series          write the modules as patches for LINUX=<source tree> to OUT=<folder>'
	@echo 'make clean           remove target/; the lab stays: mig-test lab clean removes it'
	@echo
	@echo 'KDIR=<build tree>    build, install, describe the modules for that kernel, not the lab'
	@echo 'MIG_TEST_CACHE=<dir> keep the lab there instead of in ~/.cache/mdev-sdk'
	@echo 'MIG_TEST_MIRROR=<uri> take Debian packages from there'
