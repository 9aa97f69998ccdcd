#!/busybox sh
# SPDX-License-Identifier: GPL-2.0
# The first program of the lab VM. Lays over the shared root one of Debian's kernels with its modules,
# over that the modules of the job, and a tmpfs over all; then starts the job's program there.
b=/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs devtmpfs /dev
modules=/modules/$($b uname -r)
# A kernel without modules here has everything built in.
if [ -d "$modules" ]; then
	while read -r module; do
		$b insmod "$modules/$module"
	done < "$modules/order"
fi

share="-t 9p -o trans=virtio,version=9p2000.L,msize=512000"
$b mount $share,cache=loose,ro root /lower
$b mount $share,cache=loose,ro kernel /kernel
$b mount $share job /job
$b mkdir /upper
$b mount -t tmpfs -o size=75% tmpfs /upper
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/job/modules:/kernel:/lower,upperdir=/upper/data,workdir=/upper/work \
	root /new || exec $b poweroff -f

$b mkdir -p /new/job /new/dev /new/proc /new/sys
for folder in dev proc sys job; do
	$b mount -o move "/$folder" "/new/$folder"
done
$b mkdir -p /new/dev/pts /new/dev/shm
$b mount -t devpts devpts /new/dev/pts
$b mount -t tmpfs tmpfs /new/dev/shm
$b mount -t tmpfs tmpfs /new/run
$b mount -t tmpfs tmpfs /new/tmp
$b mount -t debugfs debugfs /new/sys/kernel/debug
# Another QEMU has a root of its own, in which it sees the devices and files of this one.
if $b grep -qs qemu /new/sys/bus/virtio/drivers/9pnet_virtio/*/mount_tag; then
	$b mkdir /new/qemu
	$b mount $share,cache=loose,ro qemu /new/qemu
	for folder in dev proc sys run tmp job usr/lib/modules; do
		$b mount -o rbind "/new/$folder" "/new/qemu/$folder"
	done
fi
$b hostname lab
exec $b switch_root /new /bin/sh /job/start
