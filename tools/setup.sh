#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Installs the few programs that must be on this machine: a compiler for mig-test, and mmdebstrap.
# Everything else lives in the lab. Does nothing, in no time, where nothing is missing. Arguments are
# further programs, each of a package of its name.
set -eu
oldest=1.85

at_least() {
	[ "$(printf '%s\n%s\n' "$oldest" "$1" | sort -V | head -n 1)" = "$oldest" ]
}

refuse() {
	echo "setup: $*" >&2
	exit 2
}

missing=
version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || version=
[ -n "$version" ] && at_least "$version" || missing="$missing cargo"
command -v gcc > /dev/null || missing="$missing gcc"
[ -e /usr/lib/x86_64-linux-gnu/libc.a ] || missing="$missing libc6-dev"
command -v mmdebstrap > /dev/null || missing="$missing mmdebstrap"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
for name in "$@"; do
	command -v "$name" > /dev/null || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

command -v apt-get > /dev/null ||
	refuse "missing:$missing (cargo $oldest or newer). Install that, this machine has no apt-get."
[ "$(id -u)" = 0 ] ||
	refuse "missing:$missing. Run this as root, or install that: apt-get install$missing."
apt-get -qq update ||
	refuse "the package lists could not be had. Check the network and apt's sources, then run this again."

packages=
for name in $missing; do
	if [ "$name" = cargo ]; then
		# Debian 12's cargo is too old; what it builds its browsers with is not.
		for name in cargo cargo-web none; do
			candidate=$(apt-cache policy "$name" | sed -n 's/^ *Candidate: //p')
			[ "$name" = none ] || ! at_least "${candidate:-0}" || break
		done
		[ "$name" != none ] ||
			refuse "this release has no cargo $oldest or newer. Install one, for instance with rustup."
		[ "$name" = cargo ] || name="cargo-web rustc-web"
	fi
	packages="$packages $name"
done
echo "setup: installing$packages"
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $packages > /dev/null ||
	refuse "apt-get could not install$packages. Its messages above say why; then run this again."
