#!/bin/sh
# SPDX-License-Identifier: MIT
# libanonname.so exports what tests/tree/exports lists, symbol by symbol, each with its
# version, and nothing else; it needs libc and nothing else.
# usage: exports.sh   (in the build directory; srcdir: the source tree, default .)
library=.libs/libanonname.so
list=${srcdir:-.}/tests/tree/exports
status=0

# The 'A' is the version node itself.
got=$(nm -D --defined-only --with-symbol-versions $library | awk '$2 != "A" { print $3 }' | LC_ALL=C sort)
if ! echo "$got" | diff "$list" - >&2; then
	echo "exports: > is exported and not in the list, < is in the list ($list) and not exported" >&2
	status=1
fi
needed=$(readelf -dW $library | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v -e '^libc\.so' -e '^ld-linux')
if [ -n "$needed" ]; then
	echo "exports: the library needs $needed" >&2
	status=1
fi
exit $status
