#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Makes the project a series of patches for a kernel's own tree; --help says more.
set -eu
place=drivers/vfio/mdev/rust
oldest=7002

usage() {
	cat <<END
usage: tools/patch-series.sh LINUX OUT [-- OPTION...]

Writes the SDK and its samples to the folder OUT as a series of patches that puts them into
$place of the kernel whose source is LINUX: an unpacked tarball, or a git
tree. LINUX is only read. It must be 7.2 or newer, and needs no configuration.

The files are those of this project as they are now, committed or not. Kbuild files are the same
in both trees. What only the project has use for stays here: cargo's files, host tests, mig-test.

Patches are from, and signed off by, the user that git knows here (git config user.name, user.email);
MAINTAINERS of the series names that user. OPTIONs are git format-patch's, for instance -v2 or --rfc.

To try the series, in LINUX, with the compilers of Rust for which \`make rustavailable\` succeeds:

	git am --empty=drop OUT/*.patch # in a tarball's tree: cat OUT/*.patch | patch -p1
	make defconfig                  # or a .config of yours
	scripts/config -e RUST -e SAMPLES -e SAMPLES_RUST -m VFIO -m VFIO_MDEV_RUST \\
		-m SAMPLE_RUST_VFIO_MDEV_MTTY -m SAMPLE_RUST_VFIO_MDEV_MGPU
	make olddefconfig
	grep VFIO_MDEV .config          # of one that is missing, Kconfig says what it depends on
	make                            # or, without the rest of the kernel:
	make prepare && make $place/

Before it is sent: scripts/checkpatch.pl and scripts/get_maintainer.pl of LINUX on OUT/*.patch.
END
}

refuse() {
	echo "patch-series: $*" >&2
	exit 2
}

case ${1-} in
-h | --help)
	usage
	exit 0
	;;
esac
[ $# -ge 2 ] || refuse "say LINUX, a kernel's source tree, and OUT, a folder for the patches (--help says more)."
linux=$1 out=$2
shift 2
[ $# = 0 ] || [ "$1" = -- ] || refuse "git format-patch's options follow a \"--\", and not \"$1\"."
[ $# = 0 ] || shift
command -v git > /dev/null || refuse "git is not installed, and makes the patches."
project=$(cd "$(dirname "$0")/.." && pwd)

# The kernel's tree.
edited="drivers/vfio/mdev/Kconfig drivers/vfio/mdev/Makefile MAINTAINERS"
for file in Makefile $edited; do
	[ -f "$linux/$file" ] || refuse "$linux has no $file: it is no source tree of a kernel."
done
number() {
	sed -n "s/^$1 = *//p" "$linux/Makefile"
}
version=$(number VERSION) level=$(number PATCHLEVEL)
release=$version.$level.$(number SUBLEVEL)$(number EXTRAVERSION)
[ "$((${version:-0} * 1000 + ${level:-0}))" -ge $oldest ] ||
	refuse "$linux is Linux $release; the SDK builds on 7.2 and newer."
[ ! -e "$linux/$place" ] || refuse "$linux has a $place already. Take a tree without the series."

# The folder for the patches: what an earlier call left in it is replaced, and nothing else.
mkdir -p "$out" || refuse "$out cannot be made."
out=$(cd "$out" && pwd)
other=$(find "$out" -mindepth 1 -maxdepth 1 ! -name '*[0-9][0-9][0-9][0-9]-*.patch' | head -n 1)
[ -z "$other" ] || refuse "$out has more in it than patches: ${other##*/}. Name a folder of its own."

# Whose patches they are.
ident=$(git -C "$project" var GIT_AUTHOR_IDENT 2> /dev/null) ||
	refuse "git knows no user here, to sign the patches off. Set one: git config user.name, user.email."
ident=${ident%>*}">"
GIT_AUTHOR_NAME=${ident% <*} GIT_AUTHOR_EMAIL=${ident##*<}
GIT_AUTHOR_EMAIL=${GIT_AUTHOR_EMAIL%>}
GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL
export GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL
base=
if [ -z "$(git -C "$linux" rev-parse --show-prefix 2> /dev/null || echo none)" ]; then
	base=$(git -C "$linux" rev-parse --verify --quiet HEAD) || base=
fi

# The patches are commits in a repository that holds what they edit and nothing else of the kernel's.
# Nobody's configuration of git may change what they look like.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
tree=$work/tree
mkdir "$tree"
git -C "$tree" -c init.defaultBranch=series init --quiet
for file in $edited; do
	mkdir -p "$tree/$(dirname "$file")"
	cp "$linux/$file" "$tree/$file"
done
git -C "$tree" add --all
git -C "$tree" commit --quiet --message "Linux $release"

# Prints what the series takes of some files and folders of the project: all but what builds leave
# behind, and what only the project has use for.
taken() {
	(cd "$project" && find "$@" \
		-type d \( -name tests -o -name proptest-regressions -o -name reproducers \
		-o -name '.tmp_*' \) -prune -o -type f \
		! -name '*.o' ! -name '*.ko' ! -name '*.mod' ! -name '*.mod.c' ! -name '*.rmeta' \
		! -name '*.rsi' ! -name '.*.cmd' ! -name '*_generated.*' ! -name modules.order \
		! -name Cargo.toml ! -name host.rs \
		! -name check-guide ! -name lab.md ! -name kernels.md -print) | LC_ALL=C sort
}

# add PATH...: takes these for the next patch.
add() {
	for path; do
		[ -e "$project/$path" ] || refuse "there is no $path. Name what there is, in $0."
	done
	taken "$@" | while read -r file; do
		mkdir -p "$tree/$place/$(dirname "$file")"
		cp "$project/$file" "$tree/$place/$file"
	done
}

# without NAME...: copies Kbuild and Kconfig, but for the samples of these names.
without() {
	folders=none symbols=none
	for name; do
		folders="$folders|$name"
		symbols="$symbols|SAMPLE_RUST_VFIO_MDEV_$(echo "${name%_rs}" | tr '[:lower:]' '[:upper:]')"
	done
	grep -Ev "drivers/($folders)|^CONFIG_($symbols) " "$project/Kbuild" > "$tree/$place/Kbuild"
	awk -v symbols="$symbols" '
		/^config / { skip = $2 ~ "^(" symbols ")$" }
		skip { next }
		/^$/ { blank = blank "\n"; next }
		{ printf "%s%s\n", blank, $0; blank = "" }' "$project/Kconfig" > "$tree/$place/Kconfig"
}

# patch SUBJECT: makes a patch of what has changed; its text is what is read.
patch() {
	{
		printf '%s\n\n' "$1"
		cat
	} > "$work/message"
	git -C "$tree" add --all --force
	! git -C "$tree" diff --cached --quiet || refuse "nothing is new in \"$1\". Remove it from $0."
	git -C "$tree" commit --quiet --signoff --file "$work/message"
}

add sdk/model/src
rm -r "$tree/$place/sdk/model/src/stream" "$tree/$place/sdk/model/src/stream.rs" \
	"$tree/$place/sdk/model/src/state.rs" "$tree/$place/sdk/model/src/v1.rs"
patch "vfio/mdev: rust: add a model of mediated devices" <<'END'
Much of what a driver of mediated devices does can be decided without a
kernel: what PCI configuration space shows, when INTx and MSI are
signalled, how an access to a device file is cut, which pages are dirty.

Put these decisions into a crate that uses core alone, allocates nothing
and forbids unsafe. It says what is to be done and leaves the doing to its
caller, so that it is tested on any machine.

Nothing uses the crate yet; it is built with the SDK, at the end.
END

add sdk/model/src uapi/mdev_stream.h
patch "vfio/mdev: rust: model migration states and the stream" <<'END'
Complete the model with what VFIO's migration protocols mean: the single
arcs on the way from one state to another, the registers of protocol v1,
and the stream that a device is moved in. The stream is a sequence of
records with a checksum, and can be read in pieces of any size.

The stream is an interface between hosts. Describe its format in a header.
END

add sdk/kernel/base sdk/kernel/bindings.h sdk/kernel/bindgen_parameters sdk/kernel/helpers.c \
	sdk/kernel/param.c sdk/kernel/param.h
patch "vfio/mdev: rust: add the SDK's bindings" <<'END'
The SDK is a module with a crate in folders; each folder uses those that
were added before it. The first one holds what the others need of C:
bindings of vfio.h, mdev.h, eventfd.h and some more that the kernel crate
does not bind, and inline functions as helpers.
END

add sdk/kernel/irq
patch "vfio/mdev: rust: add interrupts" <<'END'
A driver sets the level of one interrupt line. The SDK makes it INTx, with
automask and irqfds that unmask, or an MSI message; it implements
VFIO_DEVICE_SET_IRQS, and stops and starts the line for a migration.

An INTx that was signalled and not unmasked is signalled again at the
destination, because the line that user space has raised does not move.
END

add sdk/kernel/memory
patch "vfio/mdev: rust: add access to guest and device memory" <<'END'
Guest memory is read, written and pinned by IOVA. A pin is a value: it is
given back when it is dropped, and taken back, with a callback that stops
the hardware, when user space unmaps the memory. What the device writes is
noted in a log of dirty pages.

Device memory is behind a BAR, is mapped by user space, and notes the pages
that user space writes through page_mkwrite(), for a migration.
END

add sdk/kernel/driver
patch "vfio/mdev: rust: add the interface of a driver" <<'END'
Add the traits that a driver implements: Driver for an mdev from create to
remove, Operations for the device while it is open, and Migrate for its
state. Add what it is handed: the context of an open device, a writer of
records, an engine. A driver of these needs no unsafe.
END

add sdk/kernel/migration
patch "vfio/mdev: rust: add the migration session" <<'END'
One state machine and one stream serve both versions of VFIO's migration
protocol. A session asks the driver for its records and puts them into the
stream, or checks a stream and hands its records to the driver. Everything
is checked while the stream is written, so leaving RESUMING cannot fail
with a whole stream, and a bad one leaves the device unchanged.
END

add sdk/kernel/vfio
patch "vfio/mdev: rust: add VFIO's device, files and ioctls" <<'END'
Add struct vfio_device_ops, its ioctls, regions and mmap(), struct
vfio_migration_ops and vfio_log_ops. Protocol v1, which the kernel has
dropped, is a region and a front end of the same session: QEMU before 8.0
knows no other.
END

sed -i '$a\
\
source "'"$place"'/Kconfig"' "$tree/drivers/vfio/mdev/Kconfig"
sed -i '$a\
obj-$(CONFIG_VFIO_MDEV_RUST) += rust/' "$tree/drivers/vfio/mdev/Makefile"
add sdk/kernel sdk/driver.mk
without mtty_rs mgpu_rs
patch "vfio/mdev: rust: add mdev registration, and build the SDK" <<'END'
Add what registers drivers, parents and types with mdev, a virtual parent
for devices without hardware, and a macro that makes a module of a driver.

With that the SDK is complete. Build it as the module mdev_sdk. Its symbols
are exported as those of the kernel crate are; a hash of the source is part
of their names, so that a driver of another build is refused.
END

add drivers/mtty_rs
without mgpu_rs
patch "vfio/mdev: rust: add a serial card as a sample" <<'END'
Add samples/vfio-mdev/mtty.c in Rust: a card of one or two 16550 ports.
It migrates with its queues and interrupts while a guest uses it. One of
its types speaks the stream of mtty.c, in both directions.
END

add drivers/mgpu_rs uapi/mgpu.h
without
patch "vfio/mdev: rust: add a toy GPU as a sample" <<'END'
Add a device that has what a serial card has not: it reads commands from a
ring in the guest's memory, pins the memory that they name, has VRAM that
the guest maps, and a display. It migrates while it works, with PRE_COPY
and a log of dirty pages.
END

add Documentation
patch "vfio/mdev: rust: add documentation" <<'END'
Describe the design, the stream, both migration protocols, what is trusted,
how to use the devices with QEMU, and how a driver is written, with a small
one as the example.

What is said of a lab and of mig-test is about the project that the SDK
comes from, which tests it in VMs.
END

# MAINTAINERS: entries in the order of the alphabet, with the paths that the files have here.
section() {
	printf '%s\nM:\t%s\n' "$1" "$ident"
	awk -v title="$1" -v place="$place" '
		$0 == title { found = 1; next }
		found && /^$/ { exit }
		found { sub(/^F:\t/, "F:\t" place "/"); print }' "$project/MAINTAINERS"
}
enter() {
	section "$1" > "$work/section"
	[ "$(wc -l < "$work/section")" -gt 2 ] || refuse "MAINTAINERS has no section \"$1\"."
	LC_ALL=C awk -v title="$1" -v section="$work/section" '
		function put(line) {
			while ((getline line < section) > 0)
				print line
			done = 1
		}
		list && !done && was_blank && /^[0-9A-Z]/ && ($0 > title || $0 == "THE REST") {
			put()
			print ""
		}
		/^-+$/ && last == "Maintainers List" { list = 1 }
		{ print; was_blank = /^$/; last = $0 }
		END { if (!done) { print ""; put() } }' "$tree/MAINTAINERS" > "$work/maintainers"
	cp "$work/maintainers" "$tree/MAINTAINERS"
}
sdk="MDEV SDK FOR RUST"
samples="MDEV SDK SAMPLES (MTTY_RS, MGPU_RS)"
enter "$sdk"
enter "$samples"
patch "MAINTAINERS: add the SDK for mediated devices in Rust" <<'END'
Add entries for the SDK and for the samples.
END

# Nothing is forgotten.
taken Kbuild Kconfig sdk drivers uapi Documentation > "$work/wanted"
(cd "$tree/$place" && find . -type f | sed 's,^\./,,' | LC_ALL=C sort) > "$work/found"
missing=$(comm -23 "$work/wanted" "$work/found" | tr '\n' ' ')
[ -z "$missing" ] || refuse "no patch takes ${missing% }. Add it to one, in $0."

cat > "$work/cover" <<END
vfio/mdev: rust: SDK for mediated devices that migrate

This adds an SDK with which a driver of VFIO mediated devices is written in
safe Rust. The driver says what a guest sees and what the device's state
is. The SDK does mdev's sysfs, VFIO's files and ioctls, PCI configuration
space, interrupts, guest memory, the migration states and the stream.

Patches add the SDK from the ground up, and the last of it builds it; two
samples, the documentation and entries in MAINTAINERS follow. The tree
builds after each patch.

The source also builds out of tree, for two releases of the kernel. What
differs between them is in sdk/kernel/base/compat.rs, which one release
does not need. The options are modules only: the SDK has not been tried
built in.

The series is made for Linux $release.
${base:+
base-commit: $base}
END
git -C "$tree" config branch.series.description "$(cat "$work/cover")"
first=$(git -C "$tree" rev-list --max-parents=0 HEAD)
git -C "$tree" format-patch --quiet --cover-letter --cover-from-description=subject \
	--output-directory "$work/patches" "$@" "$first" ||
	refuse "git format-patch refused its options: see its message above."
find "$out" -mindepth 1 -maxdepth 1 -name '*[0-9][0-9][0-9][0-9]-*.patch' -delete
mv "$work"/patches/* "$out"
count=$(git -C "$tree" rev-list --count "$first..HEAD")
echo "patch-series: $count patches and a cover letter for Linux $release in $out"
