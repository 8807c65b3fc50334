#!/bin/sh
# SPDX-License-Identifier: MIT
# Every manual is set on 80 columns without a warning: no table wider than the line, no unknown macro.
# usage: manuals.sh   (in the build directory; srcdir: the source tree)
status=0

if ! command -v man >/dev/null || ! command -v groff >/dev/null; then
	echo "SKIP: no man or groff here"
	exit 77
fi
for page in "${srcdir:-.}"/doc/*.[1-9] doc/libanonname.7; do
	[ -f "$page" ] || continue
	warnings=$(MANWIDTH=80 LC_ALL=C.UTF-8 man --warnings -l "$page" 2>&1 >/dev/null)
	if [ -n "$warnings" ]; then
		echo "manuals: $page: $warnings" >&2
		status=1
	fi
done
exit $status
