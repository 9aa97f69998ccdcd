# SPDX-License-Identifier: GPL-2.0
# Builds the debug kernel and its build tree in /opt/kbuild, of the package that is there:
# build-debug-kernel SERIES RELEASE
# RELEASE is the release that it gets, as uname -r prints it.
series=$1 release=$2
source=/opt/kbuild/source
build=/opt/kbuild/build

echo "unpacking the source"
mkdir "$source" "$build"
dpkg-deb --extract /opt/kbuild/packages/*.deb /opt/kbuild/packages
# The patterns begin at the top of the source, because a folder may have a namesake below another.
top=linux-source-$series
tar -C "$source" --strip-components=1 -xf "/opt/kbuild/packages/usr/src/$top.tar.xz" \
	--anchored --wildcards-match-slash \
	--exclude="$top/Documentation/*/*" --exclude="$top/arch/*/boot/dts" \
	--exclude="$top/drivers/gpu/drm/amd/*.[ch]" --exclude="$top/tools/testing/*/*"
rm -r /opt/kbuild/packages

kmake() {
	make -j"$(nproc)" -C "$source" O="$build" LLVM=1 LOCALVERSION="-${release#*-}" "$@"
}
# Until 7.2 is dropped: this is what turns CONFIG_SYSCTL on there.
[ "$series" != 7.2 ] || echo CONFIG_PROC_SYSCTL=y >> /opt/kbuild/debug.config
kmake KCONFIG_ALLCONFIG=/opt/kbuild/debug.config allnoconfig
missing=$(grep '^CONFIG_.*=[ym]$' /opt/kbuild/debug.config | grep -vxFf "$build/.config") || :
if [ -n "$missing" ]; then
	echo "error: the configuration lost" $missing
	exit 1
fi
kmake bzImage modules
found=$(cat "$build/include/config/kernel.release")
if [ "$found" != "$release" ]; then
	echo "error: the kernel is $found and not $release"
	exit 1
fi

# Modules are stripped of nothing: there are two of them. The kernel's own place for them is below lib.
kmake INSTALL_MOD_PATH=/opt/kbuild modules_install
cp "$build/arch/x86/boot/bzImage" /opt/kbuild/vmlinuz

echo "removing what modules are not built with"
find "$source/arch" "$source/drivers" "$source/fs" "$source/mm" "$source/net" "$source/sound" \
	\( -name '*.c' -o -name '*.S' \) -delete
find "$build" \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '.tmp_*' -o -name 'vmlinux*' \) \
	! -path "$build/scripts/*" ! -path "$build/tools/*" -type f -delete
