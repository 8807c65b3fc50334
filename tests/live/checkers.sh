#!/bin/bash
# SPDX-License-Identifier: MIT
# A small threaded program under the library and under valgrind, which finds nothing to say. Run from the build directory.

library=$PWD/.libs/libanonname.so
unset "${!ANONNAME_@}" LD_PRELOAD
command -v valgrind >/dev/null || { echo "SKIP: no valgrind here (apt-get install valgrind)"; exit 77; }
# The name of a thread is valgrind's own there.
ANONNAME_STACK=stack:%t LD_PRELOAD=$library valgrind -q --error-exitcode=9 \
	tests/live/styled styled:mmap stack:%t
status=$?
echo "valgrind: exit status $status"
[ "$status" = 0 ] || exit 1
