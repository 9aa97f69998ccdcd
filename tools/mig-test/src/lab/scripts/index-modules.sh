# SPDX-License-Identifier: GPL-2.0
# Makes modprobe's indexes for /opt/out, a layer over this root: index-modules ABI
# Here it takes a second or two; in the VM, more than a minute.
abi=$1
packaged=/usr/lib/modules/$abi
layer=/opt/out/usr/lib/modules/$abi
ln -s usr/lib /opt/out/lib
for module in "$layer"/updates/*.ko; do
	[ ! -e "$module" ] || strip --strip-debug "$module"
done
cp "$packaged"/modules.order "$packaged"/modules.builtin* "$layer/"
mkdir "$layer/kernel"
busybox mount --bind "$packaged/kernel" "$layer/kernel"
depmod --basedir /opt/out "$abi"
