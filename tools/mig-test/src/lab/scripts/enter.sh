# SPDX-License-Identifier: GPL-2.0
# Enters a root file system: enter ROOT [FROM TO ro|rw]... -- PROGRAM [ARGUMENT]...
# Runs in a mount namespace of its own, so nothing here needs to be undone.
root=$1
shift
mount --bind "$root" "$root"
mount -t tmpfs tmpfs "$root/opt"
while [ "$1" != -- ]; do
	mkdir -p "$root$2"
	mount --bind "$1" "$root$2"
	[ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
	shift 3
done
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" \
	chroot "$root" "$@"
