# SPDX-License-Identifier: GPL-2.0
# Makes modprobe's indexes for /opt/out, a layer over this root: index-modules ABI
# Here it takes a second or two; in the VM, more than a minute. A kernel that is not this root's has few
# modules of its own, which become part of the layer.
abi=$1
packaged=/usr/lib/modules/$abi
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
