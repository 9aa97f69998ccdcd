# SPDX-License-Identifier: GPL-2.0
# Packs /opt/out/init with busybox and the modules it loads, of the kernel in /opt/kernel:
# pack-initramfs ABI FILE
abi=$1 file=$2
tree=/tmp/tree
modules=$tree/modules/$abi
mkdir -p "$modules" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/lower" "$tree/kernel" "$tree/job" "$tree/new"
cp "$(command -v busybox)" "$tree/busybox"
install -m 755 /opt/out/init "$tree/init"
for module in virtio_pci 9pnet_virtio 9p overlay; do
	modprobe --dirname /opt/kernel --set-version "$abi" --show-depends "$module"
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r path; do
	name=$(basename "$path" .xz)
	[ ! -e "$modules/$name" ] || continue
	xz -dcf "$path" > "$modules/$name"
	echo "$name" >> "$modules/order"
done
cd "$tree"
find . | cpio --quiet -o -H newc > "/opt/out/$file"
