# SPDX-License-Identifier: GPL-2.0
# Finishes modules in /opt/out, a layer over the VM's root: index-modules ABI index|keep [FILE]...
# The files, which are in the kernel's updates, are stripped. "index" makes modprobe's indexes as well.
# Here that takes seconds; in the VM, more than a minute. One of Debian's kernels is another layer
# there. The debug kernel has few modules of its own, which become part of this one.
abi=$1 indexes=$2
shift 2
packaged=/opt/kbuild/image/usr/lib/modules/$abi
layer=/opt/out/usr/lib/modules/$abi
for module in "$@"; do
	strip --strip-debug "$layer/updates/$module"
done
[ "$indexes" = index ] || exit 0
ln -sfn usr/lib /opt/out/lib
if [ -d "$packaged" ]; then
	mkdir "$layer/kernel"
	busybox mount --bind "$packaged/kernel" "$layer/kernel"
else
	packaged=/opt/kbuild/lib/modules/$abi
	cp -r "$packaged/kernel" "$layer/"
fi
cp "$packaged"/modules.order "$packaged"/modules.builtin* "$layer/"
depmod --basedir /opt/out "$abi"
