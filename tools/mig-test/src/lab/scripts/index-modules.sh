# SPDX-License-Identifier: GPL-2.0
# Makes modprobe's indexes for /opt/out, a layer over the VM's root: index-modules ABI
# Here it takes a second or two; in the VM, more than a minute. One of Debian's kernels is another layer
# there. The debug kernel has few modules of its own, which become part of this one.
abi=$1
packaged=/opt/kbuild/image/usr/lib/modules/$abi
layer=/opt/out/usr/lib/modules/$abi
ln -sfn usr/lib /opt/out/lib
for module in "$layer"/updates/*.ko; do
	[ ! -e "$module" ] || strip --strip-debug "$module"
done
if [ -d "$packaged" ]; then
	mkdir "$layer/kernel"
	busybox mount --bind "$packaged/kernel" "$layer/kernel"
else
	packaged=/opt/kbuild/lib/modules/$abi
	cp -r "$packaged/kernel" "$layer/"
fi
cp "$packaged"/modules.order "$packaged"/modules.builtin* "$layer/"
depmod --basedir /opt/out "$abi"
