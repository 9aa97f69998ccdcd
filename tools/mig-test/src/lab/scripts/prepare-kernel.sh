# SPDX-License-Identifier: GPL-2.0
# Makes of the packages of a kernel in /opt/kbuild what boots and a build tree:
# prepare-kernel SERIES ABI CC
series=$1 abi=$2 cc=$3
image=/opt/kbuild/image
source=/opt/kbuild/source
build=/opt/kbuild/build
headers=$image/usr/src/linux-headers-$abi

echo "unpacking the packages"
mkdir "$image" "$source" "$build"
for package in /opt/kbuild/packages/*.deb; do
	dpkg-deb --extract "$package" "$image"
done
rm -r /opt/kbuild/packages

echo "unpacking the source of Linux $series"
# What modules are built with; without the rest it is half as large, and a third of the files. The
# patterns begin at the top of the source, because a folder may have a namesake below another.
top=linux-source-$series
tar -C "$source" --strip-components=1 -xf "$image/usr/src/$top.tar.xz" \
	--anchored --wildcards-match-slash \
	--exclude="$top/Documentation/*/*" --exclude="$top/arch/*/boot/dts" \
	--exclude="$top/drivers/*.c" --exclude="$top/drivers/gpu/drm/amd/*.h" \
	--exclude="$top/net/*.c" --exclude="$top/sound/*.c" \
	--exclude="$top/fs/*.c" --exclude="$top/tools/testing/*/*"

cp "$headers/.config" "$build/.config"
kmake() {
	make -j"$(nproc)" -C "$source" O="$build" CC="$cc" HOSTCC="${cc##*linux-gnu-}" \
		LOCALVERSION="${abi#"${abi%%[+-]*}"}" "$@"
}
kmake olddefconfig
kmake modules_prepare
cp "$headers/Module.symvers" "$build/"
# Holds the kernel's BTF and nothing else: modules get their own from it.
cp "$headers/vmlinux" "$build/"

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

# What boots, by its PVH entry: no translated processor has to decompress it.
boots=$image/usr/lib/modules/$abi
"$source/scripts/extract-vmlinux" "$boots/vmlinuz" > "$boots/vmlinux"

# What is left of the packages belongs to the root of the VM that boots them.
rm -r "$image/usr/src" "$image/usr/share"
ln -s usr/lib "$image/lib"
depmod --basedir "$image" "$abi"
