# SPDX-License-Identifier: GPL-2.0
# Makes the build tree of a packaged kernel in /opt/kbuild: prepare-kernel SERIES ABI CC
series=$1 abi=$2 cc=$3
headers=/usr/src/linux-headers-$abi
source=/opt/kbuild/source
build=/opt/kbuild/build

echo "unpacking the source of Linux $series"
mkdir "$source" "$build"
# What modules are built with; without the rest it is half as large, and a third of the files.
tar -C "$source" --strip-components=1 -xf "/usr/src/linux-source-$series.tar.xz" \
	--exclude='linux-source-*/Documentation/*/*' --exclude='linux-source-*/arch/*/boot/dts' \
	--exclude='linux-source-*/drivers/*.c' --exclude='linux-source-*/drivers/gpu/drm/amd/*.h' \
	--exclude='linux-source-*/net/*.c' --exclude='linux-source-*/sound/*.c' \
	--exclude='linux-source-*/fs/*.c' --exclude='linux-source-*/tools/testing/*/*'

cp "$headers/.config" "$build/.config"
kmake() {
	make -j"$(nproc)" -C "$source" O="$build" CC="$cc" HOSTCC="${cc##*linux-gnu-}" \
		LOCALVERSION="${abi#"${abi%%[+-]*}"}" "$@"
}
kmake olddefconfig
kmake modules_prepare
cp "$headers/Module.symvers" "$build/"
# Holds the kernel's BTF and nothing else: modules get their own from it.
ln -s "$headers/vmlinux" "$build/vmlinux"

release=$(cat "$build/include/config/kernel.release")
if [ "$release" != "$abi" ]; then
	echo "the source makes kernel $release, the packages are of $abi"
	exit 1
fi
for option in CONFIG_RUST= CONFIG_RUSTC_VERSION=; do
	if ! grep -qxF "$(grep "^$option" "$headers/.config")" "$build/.config"; then
		echo "$option is not as in the packaged kernel: another compiler?"
		exit 1
	fi
done
sed -n 's/^EXPORT_SYMBOL_RUST_GPL(\(_R.*\));$/\1/p' "$build"/rust/exports_*_generated.h |
	sort -u > /tmp/built
cut -f2 "$headers/Module.symvers" | grep '^_R' | sort -u > /tmp/packaged
if ! cmp -s /tmp/built /tmp/packaged; then
	echo "$(comm -3 /tmp/built /tmp/packaged | wc -l) Rust symbols differ from the packaged kernel's"
	exit 1
fi
echo "all $(wc -l < /tmp/built) Rust symbols are those of the packaged kernel"
