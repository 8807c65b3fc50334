#!/bin/sh
# SPDX-License-Identifier: MIT
# libanonname.so exports what tests/tree/exports lists, symbol by symbol, each with its
# version, and nothing else; it needs libc and nothing else. The one with a malloc exports
# what tests/tree/exports-malloc lists besides, and needs mimalloc besides.
# usage: exports.sh   (in the build directory; srcdir: the source tree, default .)
list=${srcdir:-.}/tests/tree/exports
status=0

# look LIBRARY NEEDED LIST...
look() {
	library=$1 needs=$2
	shift 2
	# The 'A' is the version node itself.
	got=$(nm -D --defined-only --with-symbol-versions "$library" | awk '$2 != "A" { print $3 }' | LC_ALL=C sort)
	wanted=$(LC_ALL=C sort "$@")
	if [ "$got" != "$wanted" ]; then
		echo "exports: $library exports other symbols than $* list: $(printf '%s\n%s\n' "$got" "$wanted" | LC_ALL=C sort | uniq -u | tr '\n' ' ')" >&2
		status=1
	fi
	needed=$(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v -e '^libc\.so' -e '^ld-linux' -e "$needs")
	if [ -n "$needed" ]; then
		echo "exports: $library needs $needed" >&2
		status=1
	fi
}

look .libs/libanonname.so '^$' "$list"
[ ! -e malloc/.libs/libanonname.so ] || look malloc/.libs/libanonname.so '^libmimalloc\.so' "$list" "$list-malloc"
exit $status
