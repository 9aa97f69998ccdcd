# SPDX-License-Identifier: GPL-2.0
# Fails and names the Rust files of /opt/source that are not formatted.
cd /opt/source
files=$(find . -path ./target -prune -o -name '*.rs' ! -name '*_generated.rs' -print0 |
	xargs -0 rustfmt --check -l --color never --config-path /opt/source/rustfmt.toml) || {
	# rustfmt follows modules, so it may name a file more than once.
	echo "$files" | sort -u
	exit 1
}
